// Agents' places in MongoDB: a document an agent, every change one conditional write.
import { isDuplicateKey } from '@fieldline/service/mongo'
import type { Connection, mongo } from 'mongoose'
import { collectionOf } from '../people/collection.mongo.ts'
import type { Place, ReserveMode } from './assignment.ts'
import { idleSince, type PlacesStore, type StoredAgent } from './places.ts'

type AgentDocument = Omit<StoredAgent, 'id' | 'active'> & {
  _id: string
  active: Place[]
  iat: number
  presenceVersion: number
  /** There while `announcedVersion` is behind `version`, so that a sparse index finds those few. */
  unannounced?: true
}

/** Makes what the queries below need; harmless where it is there already. */
export function indexPlaces(connection: Connection): Promise<void> {
  return collectionOf<AgentDocument>(
    connection,
    'places',
  )(async (agents) => {
    await agents.createIndexes([
      { key: { agent: 1, online: 1, available: 1 } },
      { key: { 'active.since': 1 } },
      { key: { unannounced: 1 }, sparse: true },
    ])
  })
}

/** Uses the connection's own concerns (majority). @throws AppError UNAVAILABLE from every method while there is no connection */
export function mongoPlaces(connection: Connection): PlacesStore {
  const withAgents = collectionOf<AgentDocument>(connection, 'places')
  const list = async (filter: mongo.Filter<AgentDocument>, limit = 0) =>
    (await withAgents((agents) => agents.find(filter).limit(limit).toArray())).map(fromDocument)
  /** True if `filter` still held when the change was written. */
  const change = async (filter: mongo.Filter<AgentDocument>, update: mongo.UpdateFilter<AgentDocument> | mongo.Document[]) =>
    (await withAgents((agents) => agents.updateOne(filter, update))).matchedCount === 1

  return {
    async enrol({ id, agent, iat }, now) {
      const move = () => change({ _id: id, iat: { $lt: iat } }, { $set: { agent, iat } })
      if ((await move()) || !agent) return
      try {
        await withAgents((agents) => agents.insertOne({ _id: id, ...newcomer(), iat, idleSince: now }))
      } catch (error) {
        if (!isDuplicateKey(error)) throw error
        // It was there, or came a moment ago, perhaps by an older token.
        await move()
      }
    },

    presence({ id, online, version }, now) {
      return change({ _id: id, presenceVersion: { $lt: version } }, [
        {
          $set: {
            online,
            presenceVersion: version,
            offlineSince: online ? null : { $cond: ['$online', now, { $ifNull: ['$offlineSince', now] }] },
            idleSince: online ? { $cond: ['$online', '$idleSince', now] } : '$idleSince',
          },
        },
      ])
    },

    async choose(id, available, now) {
      await change(
        { _id: id, agent: true, available: !available },
        { $set: { available, unannounced: true, chosenAt: now, ...(available ? { idleSince: now } : {}) }, $inc: { version: 1 } },
      )
      return (await list({ _id: id, agent: true }))[0] ?? null
    },

    async announced(id, version) {
      await change({ _id: id, announcedVersion: { $lt: version } }, { $set: { announcedVersion: version } })
      await change({ _id: id, version }, { $unset: { unannounced: true } })
    },

    unannounced: (limit) => list({ unannounced: true }, limit),

    reserve(id, place, mode, capacity) {
      return change({ _id: id, ...conditions(mode, capacity) }, { $push: { active: place } })
    },

    release(id, token, now) {
      return change({ _id: id, 'active.token': token }, { $pull: { active: { token } }, $set: { idleSince: now } })
    },

    cancel(id, token) {
      return change({ _id: id, 'active.token': token }, { $pull: { active: { token } } })
    },

    find: (ids) => (ids.length === 0 ? Promise.resolve([]) : list({ _id: { $in: [...ids] } })),
    free: (capacity) => list(conditions('automatic', capacity)),
    holding: (before) => list({ 'active.since': { $lt: before } }),
  }
}

const newcomer = () => ({
  agent: true,
  online: false,
  presenceVersion: 0,
  offlineSince: null,
  available: true,
  version: 0,
  announcedVersion: 0,
  chosenAt: null,
  active: [],
})

/** Room is a last place that isn't there yet: `active.4` for five. */
function conditions(mode: ReserveMode, capacity: number): mongo.Filter<AgentDocument> {
  return {
    agent: true,
    ...(mode === 'automatic' ? { online: true, available: true } : {}),
    ...(mode === 'force' ? {} : { [`active.${capacity - 1}`]: { $exists: false } }),
  }
}

function fromDocument(document: AgentDocument): StoredAgent {
  return {
    id: document._id,
    agent: document.agent,
    online: document.online,
    offlineSince: document.offlineSince,
    available: document.available,
    version: document.version,
    announcedVersion: document.announcedVersion,
    chosenAt: document.chosenAt,
    active: document.active,
    idleSince: idleSince(document.idleSince, document.active),
  }
}
