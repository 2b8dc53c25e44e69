// What the commands around stats (rebuild, verify, replay of dead letters) have in common: configuration, store and feed.
import { loadConfig } from '@fieldline/service/config'
import { createHealth } from '@fieldline/service/health'
import { createInternalTokens } from '@fieldline/service/internal'
import { createLogger } from '@fieldline/service/logger'
import { createPeer } from '@fieldline/service/peer'
import { fields } from './config.ts'
import { type FactsPart, openFacts } from './facts.open.ts'
import { createFeed, type Feed } from './feed.ts'

const { databaseUrl, namespace, internalSecrets, conversationUrl, logLevel } = fields

/** Runs `work` with the service's own store and the log it may ask; closes both. @throws ConfigError, AppError UNAVAILABLE */
export async function withStore<T>(env: NodeJS.ProcessEnv, work: (store: FactsPart['store'], feed: Feed) => Promise<T>): Promise<T> {
  const config = loadConfig({ databaseUrl, namespace, internalSecrets, conversationUrl, logLevel }, env)
  const log = createLogger({ logLevel: config.logLevel, readyLine: true }, 'stats-command')
  const internalTokens = createInternalTokens({ secrets: config.internalSecrets, name: 'stats' })
  const conversation = createPeer({ name: 'conversation', url: config.conversationUrl, internalTokens, log })
  const database = openFacts(config, { log, health: createHealth() })
  try {
    await database.start?.()
    return await work(database.store, createFeed(conversation))
  } finally {
    await conversation.stop?.()
    await database.stop?.()
  }
}

/** @returns the code to exit with: a failure is one sentence on stderr and 1 */
export async function runCommand(command: () => Promise<number>): Promise<number> {
  try {
    return await command()
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    return 1
  }
}
