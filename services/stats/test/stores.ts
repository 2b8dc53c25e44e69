// Every store that stats may stand on, empty, for one suite over all of them.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createHealth } from '@fieldline/service/health'
import { silentLogger } from '@fieldline/service/logger'
import { connectMongo } from '@fieldline/service/mongo'
import { backing } from '@fieldline/testing/backing'
import { afterAll, beforeAll, describe } from '@jest/globals'
import { openMongoFacts } from '../src/facts.store.mongo.ts'
import { openSqliteFacts } from '../src/facts.store.sqlite.ts'
import type { FactsStore } from '../src/facts.store.ts'

export interface OpenStores {
  /** A new, empty store; a second call with the same name is another replica's view of the same. */
  open(name: string): Promise<FactsStore>
}

const mongodb = await backing('mongodb')
const run = `stats-test-${process.pid}-${Date.now().toString(36)}`

/** One describe block a store; MongoDB's is skipped, loudly, where none answers. */
export function describeStores(title: string, tests: (stores: OpenStores, about: { slow: boolean }) => void): void {
  describe(`${title} (sqlite in memory)`, () => tests(inMemory(), { slow: false }))
  describe(`${title} (sqlite file)`, () => tests(inFiles(), { slow: true }))
  if (mongodb) describe(`${title} (mongodb)`, () => tests(inMongo(mongodb.url), { slow: true }))
  else describe.skip(`SKIPPED, no mongodb answers: ${title}`, () => tests(inMemory(), { slow: true }))
}

function inMemory(): OpenStores {
  const known = new Map<string, FactsStore>()
  return {
    async open(name) {
      const store = known.get(name) ?? openSqliteFacts(':memory:')
      known.set(name, store)
      return store
    },
  }
}

function inFiles(): OpenStores {
  const opened: { close(): Promise<void> }[] = []
  let folder = ''
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'stats-'))
  })
  afterAll(async () => {
    for (const store of opened) await store.close()
    await rm(folder, { recursive: true })
  })
  return {
    async open(name) {
      const store = openSqliteFacts(join(folder, `${name}.db`))
      opened.push(store)
      return store
    },
  }
}

function inMongo(url: string): OpenStores {
  const parts: ReturnType<typeof openMongoFacts>[] = []
  const names = new Set<string>()
  afterAll(async () => {
    for (const { part } of parts) await part.stop?.()
    for (const name of names) {
      const part = connectMongo(url, name, { log: silentLogger, health: createHealth() })
      await part.start()
      await part.connection.dropDatabase()
      await part.stop()
    }
  })
  return {
    async open(name) {
      const database = `${run}-${name}`.slice(0, 63)
      names.add(database)
      const opened = openMongoFacts(url, database, { log: silentLogger, health: createHealth() })
      parts.push(opened)
      await opened.part.start?.()
      return opened.store
    },
  }
}
