// Stats' database in MongoDB: a set of collections a generation. No transaction: every write is idempotent, and the order of writes makes a crash harmless.
import type { Health } from '@fieldline/service/health'
import type { Part } from '@fieldline/service/lifecycle'
import type { Logger } from '@fieldline/service/logger'
import { changeEach, connectMongo, isDuplicateKey, mongoCall } from '@fieldline/service/mongo'
import type { Connection, mongo } from 'mongoose'
import { blockRuns, blockStart, type Level, levels } from './blocks.ts'
import type { Entry, NamedAgent } from './entries.ts'
import type { FactsStore, Generation, Write } from './facts.store.ts'
import { packSketch } from './sketch.ts'
import { addFact, addKept, type Counts, durationNames, emptyCounts, emptySums, type KeptSums, type Sums } from './sums.ts'
import type { Fact, Head } from './tally.ts'

type FactRow = Fact & { _id: string }
type HeadRow = Omit<Head, 'conversationId'> & { _id: string }
interface EarlyRow {
  _id: string
  conversationId: string
  eventNo: number
  entry: Entry
  since: number
}
/** A quarter hour: dirty while `gen`, counted up by writers, is above what was rolled up. */
interface QuarterRow {
  _id: number
  gen: number
  dirty: boolean
}
/** `gen`: of the quarter when it was read, or the sum over the blocks below: it only grows, and equal means equal content. */
interface SumsRow {
  _id: string
  level: Level
  start: number
  scope: string
  gen: number
  counts: Counts
  durations: (readonly number[])[]
}
type AgentRow = Omit<NamedAgent, 'id'> & { _id: string; key: string }

const rooms = ['heads', 'facts', 'early', 'quarters', 'sums', 'agents'] as const

/** Collections of `database`, once connected; commands before that fail as UNAVAILABLE. */
export function openMongoFacts(url: string, database: string, options: { log: Logger; health: Health }): { store: FactsStore; part: Part } {
  const part = connectMongo(url, database, options)
  return { store: createMongoFacts(part.connection), part }
}

export function createMongoFacts(connection: Connection): FactsStore {
  const opened = new Map<number, Promise<Generation>>()
  const call = <T>(work: (db: mongo.Db) => Promise<T>): Promise<T> =>
    mongoCall(async () => {
      if (!connection.db) throw Object.assign(new Error('not connected'), { name: 'MongoNotConnectedError' })
      return work(connection.db)
    })
  const meta = (db: mongo.Db) => db.collection<{ _id: string; number: number }>('meta')
  const current = () => call(async (db) => (await meta(db).findOne({ _id: 'current' }))?.number ?? 1)
  return {
    current,
    generations: () =>
      call(async (db) => {
        const names = await db.listCollections({}, { nameOnly: true }).toArray()
        const numbers = names.flatMap(({ name }) => /^(?:heads|facts)_(\d+)$/.exec(name)?.[1] ?? []).map(Number)
        return [...new Set(numbers)].sort((a, b) => a - b)
      }),
    generation(number) {
      const known = opened.get(number) ?? call((db) => openGeneration(db, number, call))
      opened.set(number, known)
      // A failed opening is tried anew by the next who asks.
      known.catch(() => opened.delete(number))
      return known
    },
    swap: (from, to) =>
      call(async (db) => {
        try {
          const { matchedCount, upsertedCount } = await meta(db).updateOne(
            { _id: 'current', number: from },
            { $set: { number: to } },
            { upsert: from === 1 },
          )
          return matchedCount + upsertedCount === 1
        } catch (error) {
          if (isDuplicateKey(error)) return false
          throw error
        }
      }),
    drop: async (number) => {
      if ((await current()) === number) throw new Error('the generation in use cannot be dropped')
      opened.delete(number)
      await call(async (db) => {
        for (const room of rooms) await db.collection(`${room}_${number}`).drop()
      })
    },
  }
}

type Call = <T>(work: (db: mongo.Db) => Promise<T>) => Promise<T>

async function openGeneration(db: mongo.Db, n: number, call: Call): Promise<Generation> {
  const facts = db.collection<FactRow>(`facts_${n}`)
  const heads = db.collection<HeadRow>(`heads_${n}`)
  const early = db.collection<EarlyRow>(`early_${n}`)
  const quarters = db.collection<QuarterRow>(`quarters_${n}`)
  const sums = db.collection<SumsRow>(`sums_${n}`)
  const agents = db.collection<AgentRow>(`agents_${n}`)
  const timed = { ms: { $gte: 0 } }
  await facts.createIndexes([
    { key: { at: 1 }, name: 'at' },
    { key: { conversationId: 1, eventNo: 1 }, name: 'conversation' },
    { key: { at: 1, ms: 1 }, name: 'samples', partialFilterExpression: timed },
    { key: { agentId: 1, at: 1 }, name: 'agent', partialFilterExpression: timed },
    { key: { kind: 1, agentId: 1, at: 1 }, name: 'media', partialFilterExpression: { kind: 'media' } },
  ])
  await heads.createIndexes([{ key: { status: 1, agentId: 1, waitingSince: 1 }, name: 'status' }])
  await early.createIndexes([
    { key: { conversationId: 1, eventNo: 1 }, name: 'conversation' },
    { key: { since: 1 }, name: 'since' },
  ])
  await quarters.createIndexes([{ key: { dirty: 1 }, name: 'dirty' }])
  await sums.createIndexes([
    { key: { level: 1, scope: 1, start: 1 }, name: 'scope' },
    { key: { level: 1, start: 1 }, name: 'start' },
  ])

  async function markDirty(starts: Iterable<number>): Promise<void> {
    const marks = [...starts].map((start) => ({
      updateOne: { filter: { _id: start }, update: { $inc: { gen: 1 }, $set: { dirty: true } }, upsert: true },
    }))
    await upsert(quarters, marks)
  }

  async function write(batch: Write): Promise<string[]> {
    const since = Date.now()
    if (batch.early.length > 0) {
      const rows = batch.early.map((entry) => ({ ...keyed(entry, `${entry.conversationId}:${entry.eventNo}`), entry, since }))
      await bulk(() => early.insertMany(rows, { ordered: false }))
    }
    if (batch.facts.length > 0) {
      const rows = batch.facts.map((fact) => ({ ...fact, _id: `${fact.conversationId}:${fact.eventNo}:${fact.kind}` }))
      await bulk(() => facts.insertMany(rows, { ordered: false }))
      await markDirty(new Set(batch.facts.map(({ at }) => blockStart(at, 0))))
    }
    await nameAgents(batch.agents)
    return moveHeads(batch.moves)
  }

  async function moveHeads(moves: Write['moves']): Promise<string[]> {
    if (moves.length === 0) return []
    const begun = moves.filter(({ from }) => from === 0).map(({ head: { conversationId: _id, ...rest } }) => ({ _id, ...rest }))
    const moving = moves
      .filter(({ from }) => from > 0)
      .map(({ from, head: { conversationId: _id, ...rest } }) => ({ filter: { _id, eventNo: from }, fields: { $literal: rest } }))
    const steps = [
      ...begun.map((document) => ({ insertOne: { document } })),
      ...chunksOf(moving, 100).map((some) => ({ updateMany: changeEach(some) })),
    ] as mongo.AnyBulkWriteOperation<HeadRow>[]
    let moved = 0
    await bulk(async () => {
      const result = await heads.bulkWrite(steps, { ordered: false })
      moved = result.matchedCount + result.insertedCount
    })
    if (moved === moves.length) return []
    const found = await headsOf(moves.map(({ head }) => head.conversationId))
    return moves.filter(({ head }) => found.get(head.conversationId)?.eventNo !== head.eventNo).map(({ head }) => head.conversationId)
  }

  async function nameAgents(named: readonly NamedAgent[]): Promise<void> {
    const steps = named.map(({ id: _id, ...rest }) => {
      const key = JSON.stringify([rest.role, rest.firstName, rest.lastName])
      const filter = { _id, $or: [{ at: { $lt: rest.at } }, { at: rest.at, key: { $lt: key } }] }
      return { updateOne: { filter, update: { $set: { ...rest, key } }, upsert: true } }
    })
    await upsert(agents, steps)
  }

  async function headsOf(ids: readonly string[]): Promise<Map<string, Head>> {
    const rows = await heads.find({ _id: { $in: [...ids] } }).toArray()
    return new Map(rows.map(({ _id, ...head }) => [_id, { conversationId: _id, ...head }]))
  }

  async function eachFact(from: number, to: number, visit: (fact: Fact) => void): Promise<void> {
    for await (const fact of facts.find({ at: { $gte: from, $lt: to } }, { batchSize: 5_000 })) visit(fact)
  }

  async function readSums(level: Level, starts: readonly number[], scope: string | null): Promise<SumsRow[]> {
    const rows = await sums
      .find({ level, start: among(level, starts), ...(scope === null ? {} : { scope }) }, { batchSize: 50_000 })
      .toArray()
    const wanted = new Set(starts)
    return rows.filter(({ start }) => wanted.has(start))
  }

  /** What is to be kept, by level, start and scope. */
  async function keep(rows: readonly Omit<SumsRow, '_id'>[]): Promise<void> {
    const steps = rows.map((row) => ({
      updateOne: {
        filter: { _id: `${row.level}:${row.start}:${row.scope}`, gen: { $lt: row.gen } },
        update: { $set: row },
        upsert: true,
      },
    }))
    await upsert(sums, steps)
  }

  /** Adds up these quarters of one day from their facts. */
  async function rollUpQuarters(marks: readonly QuarterRow[]): Promise<void> {
    const scopes = new Map(marks.map(({ _id }) => [_id, new Map<string, Sums>()]))
    for (const { from, to } of blockRuns(
      marks.map(({ _id }) => _id),
      0,
    )) {
      await eachFact(from, to, (fact) => addFact(scopes.get(blockStart(fact.at, 0)) ?? new Map(), fact))
    }
    await keep(marks.flatMap(({ _id, gen }) => [...(scopes.get(_id) ?? [])].map(([scope, kept]) => rowOf(0, _id, scope, gen, kept))))
  }

  /** Adds up these blocks from the ones below. */
  async function rollUpFrom(below: Level, level: Level, starts: readonly number[]): Promise<void> {
    const parts = starts.flatMap((start) =>
      Array.from({ length: levels[level] / levels[below] }, (_, index) => start + index * levels[below]),
    )
    const blocks = new Map<string, { start: number; scope: string; gen: number; sums: Sums }>()
    for (const row of await readSums(below, parts, null)) {
      const start = blockStart(row.start, level)
      const key = `${start}:${row.scope}`
      const into = blocks.get(key) ?? { start, scope: row.scope, gen: 0, sums: emptySums() }
      blocks.set(key, into)
      into.gen += row.gen
      addKept(into.sums, keptOf(row))
    }
    await keep([...blocks.values()].map(({ start, scope, gen, sums: kept }) => rowOf(level, start, scope, gen, kept)))
  }

  async function rollUp(starts: readonly number[]): Promise<void> {
    for (const quarterStarts of Map.groupBy(starts, (start) => blockStart(start, 2)).values()) {
      const marks = await quarters.find({ _id: { $in: quarterStarts }, dirty: true }).toArray()
      const [first] = marks
      if (!first) continue
      await rollUpQuarters(marks)
      await rollUpFrom(0, 1, [...new Set(marks.map(({ _id }) => blockStart(_id, 1)))])
      await rollUpFrom(1, 2, [blockStart(first._id, 2)])
      // Marked anew meanwhile: it stays dirty.
      const clean = marks.map(({ _id, gen }) => ({ updateOne: { filter: { _id, gen }, update: { $set: { dirty: false } } } }))
      await quarters.bulkWrite(clean, { ordered: false })
    }
  }

  return {
    number: n,
    heads: (ids) => call(() => headsOf(ids)),
    early: (ids) =>
      call(async () => {
        const rows = await early
          .find({ conversationId: { $in: [...ids] } })
          .sort({ conversationId: 1, eventNo: 1 })
          .toArray()
        return Map.groupBy(
          rows.map(({ entry }) => entry),
          ({ conversationId }) => conversationId,
        )
      }),
    write: (batch) => call(() => write(batch)),
    release: (done) =>
      call(async () => {
        const steps = done.map(({ conversationId, upTo }) => ({ deleteMany: { filter: { conversationId, eventNo: { $lte: upTo } } } }))
        if (steps.length > 0) await early.bulkWrite(steps, { ordered: false })
      }),
    gaps: (before, limit) =>
      call(async () => {
        const rows = await early
          .aggregate<{ _id: string; earliest: number; since: number }>([
            { $match: { since: { $lt: before } } },
            { $group: { _id: '$conversationId', earliest: { $min: '$eventNo' }, since: { $min: '$since' } } },
            { $sort: { since: 1 } },
            { $limit: limit },
          ])
          .toArray()
        const known = await headsOf(rows.map(({ _id }) => _id))
        return rows.map(({ _id, earliest, since }) => ({ conversationId: _id, after: known.get(_id)?.eventNo ?? 0, earliest, since }))
      }),
    postpone: (conversationId, since) => call(async () => void (await early.updateMany({ conversationId }, { $set: { since } }))),
    waitingEntries: () => call(() => early.countDocuments()),
    dirty: () =>
      call(async () => {
        const rows = await quarters.find({ dirty: true }, { projection: { _id: 1 }, batchSize: 50_000 }).toArray()
        return rows.map(({ _id }) => _id).sort((a, b) => a - b)
      }),
    rollUp: (starts) => call(() => rollUp(starts)),
    counts: (level, starts, scope) =>
      call(async () => {
        const projection = { _id: 0, start: 1, counts: 1 }
        const rows = await sums.find({ level, scope, start: among(level, starts) }, { projection, batchSize: 50_000 }).toArray()
        const wanted = new Set(starts)
        return rows.filter(({ start }) => wanted.has(start))
      }),
    sums: (level, starts, scope) =>
      call(async () => (await readSums(level, starts, scope)).map((row) => ({ start: row.start, scope: row.scope, sums: keptOf(row) }))),
    lifetime: (scope, exceptDays) =>
      call(async () => {
        const total = (name: string) => ({ $sum: `$counts.${name}` })
        const names = {
          resolved: total('resolved'),
          reopened: total('reopened'),
          closed: total('closed'),
          closedResolved: total('closedResolved'),
        }
        const [row] = await sums
          .aggregate<Counts>([{ $match: { level: 2, scope, start: { $nin: [...exceptDays] } } }, { $group: { _id: null, ...names } }])
          .toArray()
        const { resolved, reopened, closed, closedResolved } = row ?? emptyCounts()
        return { resolved, reopened, closed, closedResolved }
      }),
    eachFact: ({ from, to }, visit) => call(() => eachFact(from, to, visit)),
    samples: ({ from, to }, agentId) =>
      call(async () => {
        const filter = { at: { $gte: from, $lt: to }, ms: { $gte: 0 }, ...(agentId === null ? {} : { agentId }) }
        const rows = await facts.find(filter, { projection: { _id: 0, kind: 1, agentId: 1, first: 1, ms: 1 }, batchSize: 10_000 }).toArray()
        return rows.map(({ kind, agentId: of, first, ms }) => ({ kind, agentId: of, first, ms: ms ?? 0 }))
      }),
    uploads: ({ from, to }, agentId) => call(() => facts.find({ kind: 'media', agentId, at: { $gte: from, $lt: to } }).toArray()),
    now: () =>
      call(async () => {
        const queued = { $cond: [{ $eq: ['$waitingSince', null] }, 0, 1] }
        const [[waiting], open] = await Promise.all([
          heads
            .aggregate<{ count: number; queued: number; oldest: number | null }>([
              { $match: { status: 'waiting' } },
              { $group: { _id: null, count: { $sum: 1 }, queued: { $sum: queued }, oldest: { $min: '$waitingSince' } } },
            ])
            .toArray(),
          heads
            .aggregate<{ _id: string | null; count: number }>([
              { $match: { status: 'open' } },
              { $group: { _id: '$agentId', count: { $sum: 1 } } },
            ])
            .toArray(),
        ])
        return {
          waiting: waiting?.count ?? 0,
          open: open.map(({ _id, count }) => ({ agentId: _id, count })),
          queue: { length: waiting?.queued ?? 0, oldestSince: waiting?.oldest ?? null },
        }
      }),
    agents: (ids) =>
      call(async () =>
        (await agents.find({ _id: { $in: [...ids] } }).toArray()).map(({ _id, key: _key, ...rest }) => ({ id: _id, ...rest })),
      ),
    factsOf: (conversationId) =>
      call(async () => {
        const rows = await facts.find({ conversationId }).sort({ eventNo: 1, kind: 1 }).toArray()
        return rows.map(({ _id, ...fact }) => fact)
      }),
    headCount: () => call(() => heads.countDocuments()),
    keptDays: () => call(async () => (await sums.distinct('start', { level: 2 })).sort((a, b) => a - b)),
    copyUploads: (from) =>
      call(async () => {
        const source = db.collection<FactRow>(`facts_${from}`)
        let copied = 0
        let page: FactRow[] = []
        const flush = async () => {
          if (page.length === 0) return
          await bulk(() => facts.insertMany(page, { ordered: false }))
          await markDirty(new Set(page.map(({ at }) => blockStart(at, 0))))
          copied += page.length
          page = []
        }
        for await (const row of source.find({ kind: 'media' })) if (page.push(row) === 1_000) await flush()
        await flush()
        return copied
      }),
  }
}

/**
 * Upserts whose filters let only an older row be replaced. One that runs into a row was either late, or both replicas inserted at once: tried once
 * more it finds the row, and replaces it if it is older; what it runs into then is newer.
 */
async function upsert<Row extends mongo.Document>(
  rows: mongo.Collection<Row>,
  steps: readonly mongo.AnyBulkWriteOperation<Row>[],
): Promise<void> {
  const write = (some: readonly mongo.AnyBulkWriteOperation<Row>[]) => bulk(() => rows.bulkWrite(some, { ordered: false }))
  if (steps.length === 0) return
  const again = await write(steps)
  if (again.length > 0) await write(again.flatMap((index) => steps[index] ?? []))
}

function chunksOf<Item>(items: readonly Item[], size: number): Item[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, index) => items.slice(index * size, (index + 1) * size))
}

/** Runs an unordered bulk write in which a key that exists already is no failure. Returns the places of those. */
async function bulk(work: () => Promise<unknown>): Promise<number[]> {
  try {
    await work()
    return []
  } catch (error) {
    const failed = isDuplicateKey(error) ? writeErrors(error) : undefined
    if (!failed || failed.some(({ code }) => code !== 11_000)) throw error
    return failed.map(({ index }) => index)
  }
}

function writeErrors(error: unknown): { code: number; index: number }[] {
  const list: unknown = typeof error === 'object' && error !== null && 'writeErrors' in error ? error.writeErrors : []
  return (Array.isArray(list) ? list : [list]) as { code: number; index: number }[]
}

/** Where most of a range is asked for, reading the range costs less than looking for each block; the rest is left out by the caller. */
function among(level: Level, starts: readonly number[]): { $gte: number; $lt: number } | { $in: number[] } {
  const runs = blockRuns(starts, level)
  const from = runs[0]?.from ?? 0
  const to = runs.at(-1)?.to ?? 0
  return to - from <= 2 * starts.length * levels[level] ? { $gte: from, $lt: to } : { $in: [...starts] }
}

function rowOf(level: Level, start: number, scope: string, gen: number, { counts, durations }: Sums): Omit<SumsRow, '_id'> {
  return { level, start, scope, gen, counts, durations: durationNames.map((name) => packSketch(durations[name])) }
}

function keyed({ conversationId, eventNo }: Entry, _id: string) {
  return { _id, conversationId, eventNo }
}

function keptOf({ counts, durations }: SumsRow): KeptSums {
  return { counts, sketch: (name) => durations[durationNames.indexOf(name)] ?? [] }
}
