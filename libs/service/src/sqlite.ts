// The one way services open SQLite: durable at every commit, migrated by version, statements prepared once.
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { AppError } from '@fieldline/contracts/errors'

/** @param file a path, or `:memory:` @throws AppError UNAVAILABLE when the file cannot be opened */
export function openSqlite(file: string): DatabaseSync {
  if (file !== ':memory:') mkdirSync(dirname(file), { recursive: true })
  const db = new DatabaseSync(file, { timeout: 5_000, enableForeignKeyConstraints: true })
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON;')
  return db
}

/** Brings the schema to the last step, each step once and in a transaction. Steps are only ever added at the end. */
export function migrate(db: DatabaseSync, steps: readonly string[]): void {
  transaction(db, () => {
    const row = db.prepare('PRAGMA user_version').get()
    const version = Number(row?.user_version ?? 0)
    if (version > steps.length) throw new Error(`the database is at version ${version}, this program knows ${steps.length}`)
    for (const step of steps.slice(version)) db.exec(step)
    db.exec(`PRAGMA user_version = ${steps.length}`)
  })
}

/** All of `fn` or nothing. It takes the write lock at once, so no reader inside finds itself too late to write. */
export function transaction<T>(db: DatabaseSync, fn: () => T): T {
  if (db.isTransaction) throw new Error('a transaction is running already')
  db.exec('BEGIN IMMEDIATE')
  try {
    const result = fn()
    if (result instanceof Promise) throw new Error('a transaction cannot wait')
    db.exec('COMMIT')
    return result
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK')
    throw error
  }
}

const statements = new WeakMap<DatabaseSync, Map<string, StatementSync>>()

/** The statement of this text, prepared once a database. Texts are constants: values go in as parameters. */
export function prepared(db: DatabaseSync, sql: string): StatementSync {
  const known = statements.get(db) ?? new Map<string, StatementSync>()
  statements.set(db, known)
  const statement = known.get(sql) ?? db.prepare(sql)
  known.set(sql, statement)
  return statement
}

/** SQLITE_CONSTRAINT_PRIMARYKEY, _UNIQUE and _ROWID. */
export function isUniqueViolation(error: unknown): boolean {
  return [1_555, 2_067, 2_579].includes(codeOf(error))
}

/** UNAVAILABLE for a locked, full or unreadable file; every other error as it is. */
export function mapSqliteError(error: unknown): unknown {
  const busyLockedIoFullCantOpen = [5, 6, 10, 13, 14]
  if (!busyLockedIoFullCantOpen.includes(codeOf(error) & 0xff)) return error
  return new AppError('UNAVAILABLE', 'The database is not available now', { cause: error })
}

function codeOf(error: unknown): number {
  return Error.isError(error) && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode : 0
}
