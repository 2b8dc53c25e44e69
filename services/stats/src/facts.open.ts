// Which store DATABASE_URL names, opened, with its readiness.
import { dirname, join } from 'node:path'
import { parseDatabaseUrl } from '@fieldline/service/database-url'
import type { Health } from '@fieldline/service/health'
import type { Part } from '@fieldline/service/lifecycle'
import type { Logger } from '@fieldline/service/logger'
import { openMongoFacts } from './facts.store.mongo.ts'
import { openSqliteFacts } from './facts.store.sqlite.ts'
import type { FactsStore } from './facts.store.ts'

export interface FactsPart extends Part {
  readonly store: FactsStore
  /** Beside an SQLite database: where the memory bus keeps dead letters. */
  readonly deadLetterFile: string | undefined
}

/** @throws Error for an URL that names no database; AppError UNAVAILABLE for a file that can't be opened */
export function openFacts(config: { databaseUrl: string; namespace: string }, { log, health }: { log: Logger; health: Health }): FactsPart {
  const target = parseDatabaseUrl(config.databaseUrl, config.namespace, 'stats')
  if (target.kind === 'mongo') {
    const { store, part } = openMongoFacts(target.url, target.database, { log, health })
    return { ...part, store, deadLetterFile: undefined }
  }
  const store = openSqliteFacts(target.file)
  health.dependency('sqlite', { check: () => store.ping() })
  const deadLetterFile = target.file === ':memory:' ? undefined : join(dirname(target.file), 'dead-letters.db')
  return { name: 'sqlite', store, deadLetterFile, stop: () => store.close() }
}
