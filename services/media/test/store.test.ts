// The contract of media's rows, on SQLite and on MongoDB.
import { randomBytes } from 'node:crypto'
import { createHealth } from '@fieldline/service/health'
import { newId } from '@fieldline/service/ids'
import { createLogger } from '@fieldline/service/logger'
import { connectMongo } from '@fieldline/service/mongo'
import { openSqlite } from '@fieldline/service/sqlite'
import { describeWith } from '@fieldline/testing/describe-with'
import { expect, test } from '@jest/globals'
import { mongoMediaStore } from '../src/media.store.mongo.ts'
import { sqliteMediaStore } from '../src/media.store.sqlite.ts'
import { begun } from '../src/media.ts'
import { mediaStoreContract } from './store.contract.ts'

mediaStoreContract('sqlite', async () => {
  const db = openSqlite(':memory:')
  return { store: sqliteMediaStore(db), close: async () => db.close() }
})

test('sqlite: a row of the former release is used in no earlier conversation', async () => {
  const db = openSqlite(':memory:')
  const row = begun(newId(), 'rajesh', 'crop.jpg', 'image', new Date(0))
  await sqliteMediaStore(db).begin([row])
  db.exec('ALTER TABLE media DROP COLUMN earlier_conversation_ids; PRAGMA user_version = 1')
  expect(await sqliteMediaStore(db).load(row.id)).toEqual(row)
  db.close()
})

await describeWith('mongodb', 'rows of media', (url) => {
  test('mongodb: a row of the former release is used in no earlier conversation, and is reserved as any', async () => {
    const { store, connection, close } = await openMongo(url)
    const row = begun(newId(), 'rajesh', 'crop.jpg', 'image', new Date(0))
    await store.begin([row])
    await connection.collection('media').updateOne({}, { $unset: { earlierConversationIds: 1 } })
    expect(await store.load(row.id)).toEqual(row)
    const used = { ...row, conversationId: newId() }
    expect(await store.replace(row, used)).toBe(true)
    expect(await store.load(row.id)).toEqual(used)
    await close()
  })
  mediaStoreContract('mongodb', () => openMongo(url))
})

async function openMongo(url: string) {
  const log = createLogger({ logLevel: 'silent' }, 'test')
  const mongo = connectMongo(url, `media_${randomBytes(6).toString('hex')}`, { log, health: createHealth() })
  await mongo.start()
  await mongo.connected
  const store = mongoMediaStore(mongo.connection)
  await store.prepare()
  return {
    store,
    connection: mongo.connection,
    close: async () => {
      await mongo.connection.dropDatabase()
      await mongo.stop()
    },
  }
}
