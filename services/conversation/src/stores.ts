// The stores of this service, on the database that the URL names.
import { parseDatabaseUrl } from '@fieldline/service/database-url'
import type { Health } from '@fieldline/service/health'
import type { Part } from '@fieldline/service/lifecycle'
import type { Logger } from '@fieldline/service/logger'
import { connectMongo } from '@fieldline/service/mongo'
import { openSqlite } from '@fieldline/service/sqlite'
import { indexPlaces, mongoPlaces } from './assignment/places.store.mongo.ts'
import { sqlitePlaces } from './assignment/places.store.sqlite.ts'
import type { PlacesStore } from './assignment/places.ts'
import { indexConversations } from './conversations/conversation.documents.mongo.ts'
import { mongoConversations } from './conversations/conversation.store.mongo.ts'
import { sqliteConversations } from './conversations/conversation.store.sqlite.ts'
import type { ConversationStore } from './conversations/conversation.store.ts'
import { indexPeople, mongoPeople } from './people/people.store.mongo.ts'
import { sqlitePeople } from './people/people.store.sqlite.ts'
import type { PeopleStore } from './people/people.store.ts'

export interface Stores extends Part {
  readonly conversations: ConversationStore
  readonly people: PeopleStore
  readonly places: PlacesStore
}

export function openStores(
  config: { databaseUrl: string; namespace: string; outboxLimit: number },
  { log, health }: { log: Logger; health: Health },
): Stores {
  const { outboxLimit } = config
  const target = parseDatabaseUrl(config.databaseUrl, config.namespace, 'conversation')
  if (target.kind === 'sqlite') {
    const database = openSqlite(target.file)
    health.dependency('sqlite').up()
    return {
      name: 'sqlite',
      conversations: sqliteConversations(database, { outboxLimit }),
      people: sqlitePeople(database),
      places: sqlitePlaces(database),
      stop: async () => database.close(),
    }
  }
  const mongo = connectMongo(target.url, target.database, { log, health })
  const { connection } = mongo
  // Unready until the indexes are there: a first query without one could take the database down with it.
  const indexes = health.dependency('indexes')
  async function prepare(): Promise<void> {
    await mongo.connected
    await Promise.all([indexConversations(connection), indexPeople(connection), indexPlaces(connection)])
    indexes.up()
  }
  let ended = false
  async function prepareUntilDone(): Promise<void> {
    for (let pause = 500; !ended; pause = Math.min(pause * 2, 10_000)) {
      try {
        return await prepare()
      } catch (error) {
        if (ended) return
        log.warn({ err: error }, 'indexes could not be made yet')
        await new Promise((resolve) => setTimeout(resolve, pause).unref())
      }
    }
  }
  return {
    name: 'mongodb',
    conversations: mongoConversations(connection, { outboxLimit }),
    people: mongoPeople(connection),
    places: mongoPlaces(connection),
    async start() {
      await mongo.start()
      const prepared = prepareUntilDone()
      // A database that is there is prepared before doors open.
      await Promise.race([prepared, new Promise((resolve) => setTimeout(resolve, 3_000).unref())])
    },
    async stop() {
      ended = true
      await mongo.stop()
    },
  }
}
