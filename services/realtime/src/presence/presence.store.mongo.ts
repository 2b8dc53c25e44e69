// Presence in MongoDB: a document a person, written conditionally on its stamp; what queries ask for stands beside the document.
import type { Health } from '@fieldline/service/health'
import { newId } from '@fieldline/service/ids'
import type { Logger } from '@fieldline/service/logger'
import { connectMongo, isDuplicateKey, mongoCall } from '@fieldline/service/mongo'
import { type mongo as driver, Schema } from 'mongoose'
import type { EndedDevice, Idle, PresenceStore, Stored, Unannounced, Walk } from './presence.store.ts'
import { liveDevices, type Presence, records } from './presence.ts'

interface PersonRow {
  _id: string
  stamp: string
  document: Presence
  idle: boolean
  unannounced: boolean
  ended: boolean
  instances: string[]
}
interface InstanceRow {
  _id: string
  counter: number
  dead: boolean
}

const personSchema = new Schema<PersonRow>(
  {
    _id: String,
    stamp: String,
    document: Schema.Types.Mixed,
    idle: Boolean,
    unannounced: Boolean,
    ended: Boolean,
    instances: [String],
  },
  { versionKey: false, minimize: false },
)
  .index({ idle: 1 }, { partialFilterExpression: { idle: true } })
  .index({ unannounced: 1 }, { partialFilterExpression: { unannounced: true } })
  .index({ ended: 1 }, { partialFilterExpression: { ended: true } })
  .index({ instances: 1 })
const instanceSchema = new Schema<InstanceRow>({ _id: String, counter: Number, dead: Boolean }, { versionKey: false })

export function openPresenceMongo(url: string, database: string, options: { log: Logger; health: Health }): PresenceStore {
  const mongo = connectMongo(url, database, options)
  const people = mongo.connection.model<PersonRow>('Presence', personSchema, 'presence')
  const instances = mongo.connection.model<InstanceRow>('Instance', instanceSchema, 'instances')
  mongo.connected
    .then(() => people.createIndexes())
    .catch((error: unknown) => options.log.warn({ err: error }, 'indexes of presence could not be made'))
  // The driver's collection: casting each device of each document is most of what mongoose would do here, and filters and rows are all our own.
  const documents = mongo.connection.collection<PersonRow>('presence')
  const find = (filter: driver.Filter<PersonRow>, limit: number) =>
    mongoCall(async () => (await documents.find(filter, { projection: { stamp: 1, document: 1 }, limit }).toArray()).map(stored))
  const byIds = (ids: readonly string[]) => find({ _id: { $in: [...ids] } }, ids.length)
  /** One cursor, and no sort: an index of one flag stands in the order of the documents, where each keeps its place however often it is written. */
  async function* walk<Found>(
    filter: driver.Filter<PersonRow>,
    projection: driver.Document,
    batchSize: number,
    foundOf: (row: PersonRow) => Found[],
  ): Walk<Found> {
    const cursor = await mongoCall(async () => documents.find(filter, { projection, batchSize }))
    try {
      while (await mongoCall(() => cursor.hasNext())) yield cursor.readBufferedDocuments().flatMap(foundOf)
    } finally {
      await cursor.close()
    }
  }

  return {
    name: 'presence store',
    exclusive: false,
    start: () => mongo.start(),
    stop: () => mongo.stop(),
    async load(personIds) {
      return personIds.length === 0 ? [] : byIds(personIds)
    },
    async save(changes) {
      if (changes.length === 0) return new Set()
      const rows = changes.map(({ before, after }) => ({ before, row: rowOf(after) }))
      const clean = await mongoCall(() => writeAll(rows))
      if (clean) return new Set()
      const stamps = new Map((await byIds(rows.map(({ row }) => row._id))).map(({ presence, stamp }) => [presence.personId, stamp]))
      return new Set(rows.filter(({ row }) => stamps.get(row._id) !== row.stamp).map(({ row }) => row._id))
    },
    idle: (atOnce) => walk({ idle: true }, { 'document.epoch': 1 }, atOnce, idleOf),
    unannounced: (atOnce) => walk({ unannounced: true }, { 'document.version': 1 }, atOnce, unannouncedOf),
    records: (atOnce) => walk({ ended: true }, { 'document.devices.id': 1, 'document.devices.instance': 1 }, atOnce, endedOf),
    ofInstance: (instance, limit) => find({ instances: instance }, limit),
    register: (instance) =>
      mongoCall(async () => {
        await instances.updateOne({ _id: instance }, { $setOnInsert: { counter: 1, dead: false } }, { upsert: true })
      }),
    beat: (instance) =>
      mongoCall(async () => (await instances.updateOne({ _id: instance, dead: false }, { $inc: { counter: 1 } })).matchedCount === 1),
    instances: () => mongoCall(async () => (await instances.find().lean()).map(({ _id, counter }) => ({ id: _id, counter }))),
    declareDead: (instance, counter) =>
      mongoCall(async () => (await instances.updateOne({ _id: instance, counter }, { $set: { dead: true } })).matchedCount === 1),
    remove: (instance) =>
      mongoCall(async () => {
        await instances.deleteOne({ _id: instance, dead: true })
      }),
  }

  /** True when every one was written. */
  async function writeAll(rows: readonly { before: Stored | null; row: PersonRow }[]): Promise<boolean> {
    try {
      const done = await documents.bulkWrite(
        rows.map(({ before, row }) =>
          before ? { replaceOne: { filter: { _id: row._id, stamp: before.stamp }, replacement: row } } : { insertOne: { document: row } },
        ),
        { ordered: false },
      )
      return done.matchedCount + done.insertedCount === rows.length
    } catch (error) {
      if (isDuplicateKey(error)) return false
      throw error
    }
  }
}

function rowOf(presence: Presence): PersonRow {
  const live = liveDevices(presence)
  return {
    _id: presence.personId,
    stamp: newId(),
    document: presence,
    idle: presence.online && live.length === 0,
    unannounced: presence.version !== presence.announcedVersion,
    ended: records(presence).length > 0,
    instances: [...new Set(live.flatMap(({ instance }) => (instance === null ? [] : [instance])))],
  }
}

function idleOf({ _id, document: { epoch } }: PersonRow): Idle[] {
  return [{ personId: _id, epoch }]
}
function unannouncedOf({ _id, document: { version } }: PersonRow): Unannounced[] {
  return [{ personId: _id, version }]
}
function endedOf({ _id, document }: PersonRow): EndedDevice[] {
  return records(document).map(({ id }) => ({ personId: _id, id }))
}

function stored({ stamp, document }: Pick<PersonRow, 'stamp' | 'document'>): Stored {
  return { stamp, presence: document }
}
