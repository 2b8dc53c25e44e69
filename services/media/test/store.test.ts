// The contract of media's rows, on SQLite and on MongoDB.
import { randomBytes } from 'node:crypto'
import { createHealth } from '@fieldline/service/health'
import { createLogger } from '@fieldline/service/logger'
import { connectMongo } from '@fieldline/service/mongo'
import { openSqlite } from '@fieldline/service/sqlite'
import { describeWith } from '@fieldline/testing/describe-with'
import { mongoMediaStore } from '../src/media.store.mongo.ts'
import { sqliteMediaStore } from '../src/media.store.sqlite.ts'
import { mediaStoreContract } from './store.contract.ts'

mediaStoreContract('sqlite', async () => {
  const db = openSqlite(':memory:')
  return { store: sqliteMediaStore(db), close: async () => db.close() }
})

await describeWith('mongodb', 'rows of media', (url) => {
  mediaStoreContract('mongodb', async () => {
    const log = createLogger({ logLevel: 'silent' }, 'test')
    const mongo = connectMongo(url, `media_${randomBytes(6).toString('hex')}`, { log, health: createHealth() })
    await mongo.start()
    await mongo.connected
    const store = mongoMediaStore(mongo.connection)
    await store.prepare()
    return {
      store,
      close: async () => {
        await mongo.connection.dropDatabase()
        await mongo.stop()
      },
    }
  })
})
