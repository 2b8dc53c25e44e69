// The contract of the presence store, for each adapter.
import { randomBytes } from 'node:crypto'
import { createHealth } from '@fieldline/service/health'
import { silentLogger } from '@fieldline/service/logger'
import { describeWith } from '@fieldline/testing/describe-with'
import { describe } from '@jest/globals'
import mongoose from 'mongoose'
import { openPresenceMongo } from '../src/presence/presence.store.mongo.ts'
import { openPresenceSqlite } from '../src/presence/presence.store.sqlite.ts'
import { presenceStoreContract } from './presence.store.contract.ts'

describe('SQLite', () => {
  presenceStoreContract(async () => {
    const store = openPresenceSqlite(':memory:')
    return { store, end: async () => store.stop?.() }
  })
})

await describeWith('mongodb', 'MongoDB', (url) => {
  presenceStoreContract(async () => {
    const database = `rt${randomBytes(5).toString('hex')}_presence`
    const store = openPresenceMongo(url, database, { log: silentLogger, health: createHealth() })
    await store.start?.()
    return {
      store,
      end: async () => {
        await store.stop?.()
        const connection = await mongoose.createConnection(url, { dbName: database }).asPromise()
        await connection.dropDatabase()
        await connection.close()
      },
    }
  })
})
