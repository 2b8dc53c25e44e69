// Databases of their own for store tests: SQLite in memory always, MongoDB where a server answers (MONGODB_URL, else its usual loopback port).
import { randomUUID } from 'node:crypto'
import { connect } from 'node:net'
import { createHealth } from '@fieldline/service/health'
import { silentLogger } from '@fieldline/service/logger'
import { connectMongo } from '@fieldline/service/mongo'
import { openSqlite } from '@fieldline/service/sqlite'
import { describe, test } from '@jest/globals'
import type { Connection } from 'mongoose'
import { indexPlaces, mongoPlaces } from '../src/assignment/places.store.mongo.ts'
import { sqlitePlaces } from '../src/assignment/places.store.sqlite.ts'
import type { PlacesStore } from '../src/assignment/places.ts'
import { indexConversations } from '../src/conversations/conversation.documents.mongo.ts'
import { mongoConversations } from '../src/conversations/conversation.store.mongo.ts'
import { sqliteConversations } from '../src/conversations/conversation.store.sqlite.ts'
import type { ConversationStore } from '../src/conversations/conversation.store.ts'
import { indexPeople, mongoPeople } from '../src/people/people.store.mongo.ts'
import { sqlitePeople } from '../src/people/people.store.sqlite.ts'
import type { PeopleStore } from '../src/people/people.store.ts'

export interface Stores {
  readonly conversations: ConversationStore
  readonly people: PeopleStore
  readonly places: PlacesStore
  /** Empties it. */
  clear(): Promise<void>
  close(): Promise<void>
}

/** Nothing takes events out of it here. */
const outboxLimit = 10_000

const mongoUrl = process.env.MONGODB_URL ?? 'mongodb://127.0.0.1:27017/'

/** Runs `suite` once for each database there is; a missing MongoDB is told loudly. */
export async function forEachDatabase(suite: (open: () => Promise<Stores>, rounds: number) => void): Promise<void> {
  describe('on SQLite', () => suite(openOnSqlite, 150))
  if (await answers(new URL(mongoUrl))) describe('on MongoDB', () => suite(openOnMongo, 40))
  else skipped()
}

function skipped(): void {
  describe.skip(`on MongoDB: SKIPPED, nothing answers at ${new URL(mongoUrl).host}`, () => test('skipped', () => undefined))
}

/** Runs `suite` on MongoDB alone, where one answers. */
export async function forMongo(suite: (open: typeof openOnMongo) => void): Promise<void> {
  if (await answers(new URL(mongoUrl))) describe('on MongoDB', () => suite(openOnMongo))
  else skipped()
}

async function openOnSqlite(): Promise<Stores> {
  const database = openSqlite(':memory:')
  const [people, places] = [sqlitePeople(database), sqlitePlaces(database)]
  const conversations = sqliteConversations(database, { outboxLimit })
  const tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").all()
  return {
    people,
    places,
    conversations,
    async clear() {
      database.exec(`PRAGMA foreign_keys = OFF; ${tables.map(({ name }) => `DELETE FROM ${name};`).join('')} PRAGMA foreign_keys = ON;`)
    },
    close: async () => database.close(),
  }
}

async function openOnMongo(): Promise<Stores & { connection: Connection }> {
  const mongo = connectMongo(mongoUrl, `assignment-${randomUUID().slice(0, 8)}`, { log: silentLogger, health: createHealth() })
  await mongo.start()
  await mongo.connected
  const { connection } = mongo
  await Promise.all([indexPeople(connection), indexPlaces(connection), indexConversations(connection)])
  return {
    connection,
    people: mongoPeople(connection),
    places: mongoPlaces(connection),
    conversations: mongoConversations(connection, { outboxLimit }),
    async clear() {
      for (const collection of (await connection.db?.collections()) ?? []) await collection.deleteMany({})
    },
    async close() {
      await connection.dropDatabase()
      await mongo.stop()
    },
  }
}

function answers({ hostname, port }: URL): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port: Number(port || 27_017), timeout: 1_000 })
    const end = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket
      .once('connect', () => end(true))
      .once('error', () => end(false))
      .once('timeout', () => end(false))
  })
}
