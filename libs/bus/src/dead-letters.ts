// The memory bus's dead letters: a table in SQLite, so that they outlive the process (in memory if no file is named).
import { DatabaseSync } from 'node:sqlite'
import type { DeadLetter } from './bus.ts'

export interface StoredDeadLetter extends Omit<DeadLetter, 'body'> {
  readonly id: string
  readonly body: Buffer
}

export class DeadLetters {
  #database: DatabaseSync
  #file: string | undefined

  constructor(file: string | undefined) {
    this.#file = file
    this.#database = opened(file)
  }

  /** From now on they are kept in this file, those so far too. Once they are in a file they stay there. */
  keepIn(file: string): void {
    if (this.#file !== undefined) return
    const inMemory = this.#database
    this.#file = file
    this.#database = opened(file)
    for (const row of inMemory.prepare('SELECT queue, id, exchange, routing_key, headers, body, reason, at FROM dead_letters').all()) {
      this.#database
        .prepare('INSERT INTO dead_letters (queue, id, exchange, routing_key, headers, body, reason, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)')
        .run(...Object.values(row))
    }
    inMemory.close()
  }

  /** On disk when it returns. */
  add(queue: string, { id, exchange, routingKey, headers, body, reason }: StoredDeadLetter): void {
    this.#database
      .prepare('INSERT INTO dead_letters (queue, id, exchange, routing_key, headers, body, reason, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)')
      .run(queue, id, exchange, routingKey, JSON.stringify(headers), body, reason, new Date().toISOString())
  }

  count(queue: string): number {
    return Number(this.#database.prepare('SELECT count(*) AS count FROM dead_letters WHERE queue = ?').get(queue)?.count ?? 0)
  }

  /** The oldest of a queue, with the number that removes each. */
  oldest(queue: string, limit: number): (StoredDeadLetter & { readonly number: number })[] {
    const rows = this.#database.prepare('SELECT * FROM dead_letters WHERE queue = ? ORDER BY number LIMIT ?').all(queue, limit)
    return rows.map((row) => ({
      number: Number(row.number),
      id: String(row.id),
      exchange: String(row.exchange),
      routingKey: String(row.routing_key),
      headers: JSON.parse(String(row.headers)) as Record<string, unknown>,
      body: Buffer.from(row.body as Uint8Array),
      reason: String(row.reason),
    }))
  }

  remove(number: number): void {
    this.#database.prepare('DELETE FROM dead_letters WHERE number = ?').run(number)
  }

  close(): void {
    this.#database.close()
  }
}

function opened(file: string | undefined): DatabaseSync {
  const database = new DatabaseSync(file ?? ':memory:')
  database.exec(`
    PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000;
    CREATE TABLE IF NOT EXISTS dead_letters (
      number INTEGER PRIMARY KEY, queue TEXT NOT NULL, id TEXT NOT NULL, exchange TEXT NOT NULL, routing_key TEXT NOT NULL,
      headers TEXT NOT NULL, body BLOB NOT NULL, reason TEXT NOT NULL, at TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS dead_letters_by_queue ON dead_letters (queue, number);`)
  return database
}
