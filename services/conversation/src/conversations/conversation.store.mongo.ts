// Conversations in MongoDB: a document each with its outbox, the log, the keys of senders, the farmers' slots.
import { type Status, statuses } from '@fieldline/contracts/conversations'
import { AppError } from '@fieldline/contracts/errors'
import type { ConversationId, MessageId } from '@fieldline/contracts/ids'
import { newId } from '@fieldline/service/ids'
import { changeEach, isDuplicateKey } from '@fieldline/service/mongo'
import type { Connection, mongo } from 'mongoose'
import { collectionOf } from '../people/collection.mongo.ts'
import {
  type ConversationDocument,
  entryOf,
  fromDocument,
  type KeyDocument,
  type LogDocument,
  logId,
  type SlotDocument,
  toDocument,
  toLog,
  toWaiting,
  type WaitingEntry,
} from './conversation.documents.mongo.ts'
import type { Committed, ConversationStore, KnownKey, ListOrder, ListPosition } from './conversation.store.ts'
import type { Conversation, Entry } from './conversation.ts'
import { gathered } from './gathered.ts'
import { keysOf } from './keys.ts'
import { createLargeCounts } from './large-counts.ts'
import { merged, notWaiting, type Part, partsOf, sorted } from './list.ts'

/** @param outboxLimit events that may wait in one conversation's outbox. Uses the connection's own concerns (majority, primary). */
export function mongoConversations(connection: Connection, { outboxLimit }: { outboxLimit: number }): ConversationStore {
  const inConversations = collectionOf<ConversationDocument>(connection, 'conversations')
  const inLog = collectionOf<LogDocument>(connection, 'log')
  const inKeys = collectionOf<KeyDocument>(connection, 'keys')
  const inSlots = collectionOf<SlotDocument>(connection, 'slots')

  const total = createLargeCounts()
  const find = async (filter: mongo.Filter<ConversationDocument>, sort: mongo.Sort, limit: number) =>
    (
      await inConversations((all) =>
        all
          .find(filter, { projection: { outbox: 0 } })
          .sort(sort)
          .limit(limit)
          .toArray(),
      )
    ).map(fromDocument)
  const logged = async (filter: mongo.Filter<LogDocument>, sort: mongo.Sort, limit: number) =>
    (await inLog((log) => log.find(filter).sort(sort).limit(limit).toArray())).map(entryOf)

  // Each of these goes with others of its kind: one round trip, and one sync of the journal, for many conversations.
  const commitOne = gathered<Write, Committed | Error>(async (writes) => {
    const outcomes = await commitAll(statementsOf(writes, outboxLimit))
    return writes.map((write) => outcomes.get(write) as Committed | Error)
  })
  const logAll = gathered<LogDocument[], true>(async (each) => {
    await inLog((log) => ignoringDuplicates(() => log.insertMany(each.flat(), { ordered: false })))
    return each.map(() => true)
  }, unhurried)
  const keepAll = gathered<KeyDocument[], true>(async (each) => {
    await inKeys((keys) => ignoringDuplicates(() => keys.insertMany(each.flat(), { ordered: false })))
    return each.map(() => true)
  }, unhurried)
  const keyOf = gathered<string, KnownKey | null>(async (hashes) => {
    const found = await inKeys((keys) => keys.find({ _id: { $in: [...hashes] } }).toArray())
    const known = new Map(found.map(({ _id, at: _at, ...key }) => [_id, key]))
    return hashes.map((hash) => known.get(hash) ?? null)
  })

  async function commitAll(statements: readonly Statement[]): Promise<Map<Write, Committed | Error>> {
    const writes = statements.flatMap((statement) => statement.writes)
    if (writes.length === 0) return new Map()
    let refused = new Map<number, Error>()
    let inAll = 0
    try {
      const operations = statements.map(({ operation }) => operation)
      inAll = (await inConversations((all) => all.bulkWrite(operations, { ordered: false }))).matchedCount
      if (inAll === writes.length) return new Map(writes.map((write) => [write, 'committed']))
    } catch (error) {
      // The database refused some of them; the others went in.
      refused = refusedOf(error)
      if (refused.size === 0) throw error
      inAll = Number.NaN
    }
    const outcomes = await whatBecameOf(writes, inAll)
    for (const [index, fault] of refused) {
      const { writes: its = [] } = statements[index] ?? {}
      const notIn = its.filter((write) => outcomes.get(write) === 'full')
      // A statement for several ends at the document it is refused for: who is not in goes alone, and the fault is its own's.
      const told =
        its.length === 1 ? its.map((write) => [write, fault] as const) : await commitAll(notIn.map((write) => alone(write, outboxLimit)))
      for (const [write, outcome] of told) outcomes.set(write, outcome)
    }
    return outcomes
  }

  /** Which of several writes got in, where `inAll` did and not all; NaN: it is not known how many. */
  async function whatBecameOf(writes: readonly Write[], inAll: number): Promise<Map<Write, Committed | Error>> {
    const projection = { version: 1, lastWrite: 1, 'outbox.id': 1 }
    const ids = writes.map(({ next }) => next.id)
    const stored = await inConversations((all) => all.find({ _id: { $in: ids } }, { projection }).toArray())
    const byId = new Map(stored.map((each) => [each._id, each]))
    const versionOf = (id: ConversationId) => byId.get(id)?.version ?? 0
    // Where others have written since, only an event can tell, and not which try of its command pushed it. It is in the outbox, or in the log already.
    const overwritten = writes.filter(({ next }) => versionOf(next.id) > next.version)
    const firsts = overwritten.map(({ before }) => logId(before.id, before.eventNo + 1))
    const inTheLog = () => inLog((log) => log.find({ _id: { $in: firsts } }, { projection: { 'event.id': 1 } }).toArray())
    const logged = firsts.length > 0 ? await inTheLog() : []
    const there = new Set([...stored.flatMap(({ outbox = [] }) => outbox.map(({ id }) => id)), ...logged.map(({ event }) => event.id)])
    const told = writes.map((write) => {
      const { id, before, next, entries } = write
      if (versionOf(before.id) === before.version) return [write, 'full'] as const
      if (versionOf(next.id) === next.version) return [write, byId.get(next.id)?.lastWrite === id ? 'committed' : 'conflict'] as const
      return [write, entries[0] && there.has(entries[0].event.id) ? 'perhaps' : 'conflict'] as const
    })
    const unsure = told.filter(([, each]) => each === 'perhaps').length
    const unseen = inAll - told.filter(([, each]) => each === 'committed').length
    const unknown = () => new AppError('UNAVAILABLE', 'The outcome of the write is unknown')
    const ofPerhaps = () => (unseen === 0 ? 'conflict' : unseen === unsure ? 'committed' : unknown())
    return new Map(told.map(([write, each]) => [write, each === 'perhaps' ? ofPerhaps() : each]))
  }

  return {
    async load(id) {
      const found = await inConversations((all) => all.findOne({ _id: id }))
      return found && fromDocument(found)
    },

    async insert(next, entries) {
      try {
        await inConversations((all) => all.insertOne({ ...toDocument(next), outbox: entries.map(toWaiting) }))
        return true
      } catch (error) {
        if (isDuplicateKey(error)) return false
        throw error
      }
    },

    async commit(before, next, entries, leaving = []) {
      const outcome = await commitOne({ id: newId(), before, next, entries, leaving })
      if (typeof outcome !== 'string') throw outcome
      return outcome
    },

    async bump(id, version) {
      return (await inConversations((all) => all.updateOne({ _id: id, version }, { $inc: { version: 1 } }))).matchedCount === 1
    },

    async append(entries) {
      if (entries.length === 0) return
      const at = new Date()
      const keys = keysOf(entries).map(({ hash, ...known }) => ({ _id: hash, ...known, at }))
      await Promise.all([logAll(entries.map(toLog)), keys.length > 0 && keepAll(keys)])
    },

    async forget(entries) {
      if (entries.length === 0) return
      // One statement for all: an event's id is in one outbox only.
      const ids = [...new Set(entries.map(({ event }) => event.conversationid))]
      const gone = { id: { $in: entries.map(({ event }) => event.id) } }
      await inConversations((all) =>
        all.updateMany({ _id: { $in: ids } }, { $pull: { outbox: gone } } as mongo.UpdateFilter<ConversationDocument>),
      )
    },

    async unpublished(before, limit) {
      const filter = { 'outbox.time': { $lt: before } } as mongo.Filter<ConversationDocument>
      return (
        await inConversations((all) =>
          all
            .find(filter, { projection: { _id: 1 } })
            .limit(limit)
            .toArray(),
        )
      ).map(({ _id }) => _id)
    },

    messages: (conversationId, from, to) => logged({ conversationId, seq: { $gte: from, $lt: to + 1 } }, { seq: 1 }, to - from + 1),

    async messagesOf(conversationId, side, after, upTo, limit) {
      // `side` stands in the index, so that what the reader wrote in between costs no document.
      const found = await inLog((log) =>
        log
          .find({ conversationId, seq: { $gte: after + 1, $lt: upTo + 1 }, side }, { projection: { _id: 0, seq: 1, messageId: 1 } })
          .sort({ seq: -1 })
          .limit(limit)
          .toArray(),
      )
      return found.reverse().map(({ seq, messageId }) => ({ id: messageId as MessageId, seq: seq as number }))
    },

    async message(conversationId, messageId) {
      return (await logged({ conversationId, messageId, seq: { $gt: 0 } }, { seq: 1 }, 1))[0] ?? null
    },

    entries: (conversationId, after, limit) =>
      logged({ _id: { $gt: logId(conversationId, after), $lt: `${conversationId};` } }, { _id: 1 }, limit),

    async assignments(conversationId, limit) {
      return (await logged({ conversationId, assignment: true }, { eventNo: -1 }, limit)).reverse()
    },

    key: (hash) => keyOf(hash),

    async slot(farmerId) {
      const found = await inSlots((slots) => slots.findOne({ _id: farmerId }))
      return found && { conversationId: found.conversationId, previousConversationId: found.previousConversationId }
    },

    async moveSlot(farmerId, from, to) {
      if (from !== null) {
        const change = { $set: { conversationId: to, previousConversationId: from } }
        return (await inSlots((slots) => slots.updateOne({ _id: farmerId, conversationId: from }, change))).matchedCount === 1
      }
      try {
        await inSlots((slots) => slots.insertOne({ _id: farmerId, conversationId: to, previousConversationId: null }))
        return true
      } catch (error) {
        if (isDuplicateKey(error)) return false
        throw error
      }
    },

    async list(filter, order, { limit, after, above }) {
      const parts = partsOf(filter).map((part) =>
        find({ ...partFilter(part), ...behind(order, after), ...newerThan(above) }, sorting[order], limit),
      )
      return merged(await Promise.all(parts), order, limit)
    },

    async nth(filter, order, n) {
      const key = order === 'activity' ? 'activityAt' : 'waitingKey'
      const parts = partsOf(filter).map(async (part) => {
        const found = await inConversations((all) =>
          all
            .find(partFilter(part), { projection: { [key]: 1 } })
            .sort(sorting[order])
            .limit(n)
            .toArray(),
        )
        return found.map((document): ListPosition => ({ key: document[key], id: document._id }))
      })
      return sorted(await Promise.all(parts), order)[n - 1] ?? null
    },

    async count(filter) {
      const counts = Object.fromEntries(statuses.map((status) => [status, 0])) as Record<Status, number>
      await Promise.all(
        partsOf(filter).map(async (part) => {
          const filter = partFilter(part)
          counts[part.status] += await total(JSON.stringify(filter), () => inConversations((all) => all.countDocuments(filter)))
        }),
      )
      return counts
    },

    async heads(ids) {
      const found = await inConversations((all) =>
        all.find({ _id: { $in: [...ids] } }, { projection: { eventNo: 1, lastSeq: 1 } }).toArray(),
      )
      return found.map(({ _id, eventNo, lastSeq }) => ({ conversationId: _id, eventNo, lastSeq }))
    },

    async walk(after, limit) {
      const filter = after === null ? {} : { _id: { $gt: after } }
      const found = await inConversations((all) =>
        all
          .find(filter, { projection: { eventNo: 1 } })
          .sort({ _id: 1 })
          .limit(limit)
          .toArray(),
      )
      return found.map(({ _id, eventNo }) => ({ conversationId: _id, eventNo }))
    },

    waiting(after, limit) {
      // Both ends of the key in one condition, and no alternatives: then every server reads the index from where the page begins.
      const page = { status: 'waiting' as const, waitingKey: { $gte: after?.at ?? '', $lt: notWaiting } }
      const seen = after ? { $nor: [{ waitingKey: after.at, _id: { $lte: after.id } }] } : {}
      return find({ ...page, ...seen }, { waitingKey: 1, _id: 1 }, limit)
    },

    openOf: (agentId, limit, after) =>
      find({ 'assigned.person.id': agentId, status: 'open', ...(after ? { _id: { $gt: after } } : {}) }, { _id: 1 }, limit),
    async emptySince(before, limit) {
      const waiting = await find({ status: 'waiting', lastSeq: 0, waitingKey: { $lt: before } }, { waitingKey: 1 }, limit)
      if (waiting.length === limit) return waiting
      const open = await find({ status: 'open', lastSeq: 0, 'assigned.at': { $lt: before } }, { 'assigned.at': 1 }, limit - waiting.length)
      return [...waiting, ...open]
    },
    resolvedSince: (before, limit) => find({ status: 'resolved', resolvedAt: { $lt: before } }, { resolvedAt: 1 }, limit),
  }
}

/** Nobody waits for the log: the outbox has it until then. */
const unhurried = { lingerMs: 20, most: 256 }

interface Write {
  /** Of this try: a command's events are the same at each. */
  id: string
  before: Conversation
  next: Conversation
  entries: readonly Entry[]
  leaving: readonly Entry[]
}

/** One of a bulk, for one write or for several. */
interface Statement {
  readonly writes: readonly Write[]
  readonly operation: mongo.AnyBulkWriteOperation<ConversationDocument>
}

/** An outbox that holds more than this is written by a statement of its own: several in one must stay far below 16 MB. */
const mostShared = 4

/** Small writes share a statement: a statement is what the database syncs its journal for, and plans. */
function statementsOf(writes: readonly Write[], outboxLimit: number): Statement[] {
  // Of several for one document each looks at its own version: what a statement gives a document it gives by its id.
  const shared = new Set<ConversationId>()
  const mayShare = (write: Write) => outboxOf(write).length <= mostShared && shared.size < shared.add(write.next.id).size
  const { true: sharing = [], false: single = [] } = Object.groupBy(writes, (write) => String(mayShare(write)))
  const one = sharing.length > 1 ? [together(sharing, outboxLimit)] : sharing.map((write) => alone(write, outboxLimit))
  return [...one, ...single.map((write) => alone(write, outboxLimit))]
}

function alone(write: Write, outboxLimit: number): Statement {
  const $set = changes(write)
  const outbox = outboxOf(write)
  const update = write.leaving.length > 0 ? { $set: { ...$set, outbox } } : { $set, $push: { outbox: { $each: outbox } } }
  return { writes: [write], operation: { updateOne: { filter: filterOf(write, outboxLimit), update } } }
}

function together(writes: readonly Write[], outboxLimit: number): Statement {
  const changed = writes.map((write) => {
    const outbox = { $literal: outboxOf(write) }
    const pushed = { $concatArrays: [{ $ifNull: ['$outbox', []] }, outbox] }
    const fields = { $mergeObjects: [{ $literal: changes(write) }, { outbox: write.leaving.length > 0 ? outbox : pushed }] }
    return { filter: filterOf(write, outboxLimit), fields }
  })
  return { writes, operation: { updateMany: changeEach(changed) } as Statement['operation'] }
}

/** The cap stands in the write's own filter: no reader has to have seen how full the outbox is. */
function filterOf({ before, next, entries, leaving }: Write, outboxLimit: number) {
  return { _id: next.id, version: before.version, [`outbox.${outboxLimit - entries.length + leaving.length}`]: { $exists: false } }
}

/** What the outbox is to hold where something leaves it; else what comes to it. */
function outboxOf({ next, entries, leaving }: Write): WaitingEntry[] {
  if (leaving.length === 0) return entries.map(toWaiting)
  // At this version the stored outbox holds nothing that isn't in `next` or leaving: entries are added with a new version only.
  const gone = new Set(leaving.map(({ event }) => event.id))
  return next.outbox.filter(({ event }) => !gone.has(event.id)).map(toWaiting)
}

/** Fields of the state that are others than before; what never changes is left out. */
function changes({ id, before, next }: Write): Partial<ConversationDocument> {
  const [was, is] = [toDocument(before), toDocument(next)]
  const changed = Object.entries(is).filter(([name, value]) => value !== was[name as keyof ConversationDocument])
  return { ...Object.fromEntries(changed), lastWrite: id }
}

function partFilter({ farmerId, assignedId, status, queued }: Part): mongo.Filter<ConversationDocument> {
  return {
    status,
    ...(farmerId === undefined ? {} : { 'farmer.id': farmerId }),
    ...(assignedId === undefined ? {} : { 'assigned.person.id': assignedId }),
    ...(queued ? { waitingKey: { $lt: notWaiting } } : {}),
  }
}

const sorting: Readonly<Record<ListOrder, mongo.Sort>> = { activity: { activityAt: -1, _id: -1 }, waitingSince: { waitingKey: 1, _id: 1 } }

function behind(order: ListOrder, after: ListPosition | undefined): mongo.Filter<ConversationDocument> {
  if (!after) return {}
  const { key, id } = after as { key: string; id: ConversationId }
  return order === 'activity'
    ? { $or: [{ activityAt: { $lt: key } }, { activityAt: key, _id: { $lt: id } }] }
    : { $or: [{ waitingKey: { $gt: key } }, { waitingKey: key, _id: { $gt: id } }] }
}

function newerThan(above: string | undefined): mongo.Filter<ConversationDocument> {
  return above === undefined ? {} : { activityAt: { $gt: above } }
}

/** "Exists already" is what a repeated write hopes to hear. */
async function ignoringDuplicates(write: () => Promise<unknown>): Promise<void> {
  try {
    await write()
  } catch (error) {
    const isOther = [...refusedOf(error).values()].some((fault) => !isDuplicateKey(fault))
    if (isOther || !isDuplicateKey(error)) throw error
  }
}

/** What the database refused of a bulk, by its place in it; empty where the whole of it failed. */
function refusedOf(error: unknown): Map<number, Error> {
  const faults: unknown = Error.isError(error) && 'writeErrors' in error ? error.writeErrors : undefined
  if (!Array.isArray(faults)) return new Map()
  return new Map(faults.map(({ index, code, errmsg }) => [Number(index), Object.assign(new Error(String(errmsg)), { code })]))
}
