// `npm run stats:measure`: how fast statistics are taken in and asked for, and whether a question grows with history outside its range. Bounded; cleans up.
// [-- --conversations 100000 --dense --events 30000] over DATABASE_URL (else an SQLite file of its own); the broker's part over AMQP_URL where given.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { connectBus } from '@fieldline/bus/connect'
import { parseDatabaseUrl } from '@fieldline/service/database-url'
import { createHealth } from '@fieldline/service/health'
import { silentLogger } from '@fieldline/service/logger'
import { createRegistry } from '@fieldline/service/metrics'
import { connectMongo } from '@fieldline/service/mongo'
import { createBatcher } from '../services/stats/src/batcher.ts'
import type { Entry } from '../services/stats/src/entries.ts'
import { createEventsConsumer, type Item } from '../services/stats/src/events.consumer.ts'
import { openFacts } from '../services/stats/src/facts.open.ts'
import type { Generation } from '../services/stats/src/facts.store.ts'
import { figures } from '../services/stats/src/figures.ts'
import { ingest, ingestInto } from '../services/stats/src/ingest.ts'
import { createStatsMetrics } from '../services/stats/src/metrics.ts'
import { readQuestion } from '../services/stats/src/question.ts'
import { rollUpGeneration } from '../services/stats/src/rollup.ts'

const { values } = parseArgs({
  options: {
    conversations: { type: 'string', default: '100000' },
    events: { type: 'string', default: '30000' },
    dense: { type: 'boolean', default: false },
  },
})
const conversations = Number(values.conversations)
const namespace = `measure-${process.pid}-`
const day = 86_400_000
const now = new Date(Math.floor(Date.now() / day) * day + day / 2)
const rangeDays = 30
const historyDays = values.dense ? rangeDays : 300
const agents = 50
const eventsEach = 10
const anAdmin = { id: 'admin', role: 'Admin' as const }

const folder = mkdtempSync(join(tmpdir(), 'stats-measure-'))
const databaseUrl = process.env.DATABASE_URL || `sqlite:${join(folder, 'stats.db')}`
const database = openFacts({ databaseUrl, namespace }, { log: silentLogger, health: createHealth() })
try {
  await database.start?.()
  const generation = await database.store.generation(await database.store.current())
  const inRange = Math.round((conversations * rangeDays) / historyDays)
  console.log(
    `database ${databaseUrl.split(':', 1)[0]}, ${conversations} conversations of ${eventsEach} events over ${historyDays} days, ${agents} agents`,
  )
  await takeIn(generation, 0, inRange, rangeDays, 0)
  const before = await ask(generation, `history of ${inRange * eventsEach} events, all in the range`)
  if (conversations > inRange) {
    await takeIn(generation, inRange, conversations, historyDays - rangeDays, rangeDays)
    const after = await ask(generation, `history of ${conversations * eventsEach} events, ${inRange * eventsEach} in the range`)
    console.log(
      `the same question after ${(conversations / inRange).toFixed(0)} times the history: ${(after / before).toFixed(2)} times as long (p50)`,
    )
  }
  if (process.env.AMQP_URL) await consume(process.env.AMQP_URL, Number(values.events))
} finally {
  await database.stop?.()
  rmSync(folder, { recursive: true })
  await dropDatabase()
}

/** Conversations `first` to `last`, spread evenly over `days` days that end `ago` days before now. */
async function takeIn(generation: Generation, first: number, last: number, days: number, ago: number): Promise<void> {
  const end = now.getTime() - ago * day
  const began = performance.now()
  let batch: Entry[] = []
  for (let number = first; number < last; number += 1) {
    const start = end - ((number - first + 1) / (last - first)) * days * day
    batch.push(...life(number, start, end))
    if (batch.length >= 500 || number === last - 1) {
      await ingestInto(generation, { entries: batch, uploads: [] })
      batch = []
    }
  }
  const written = performance.now()
  const quarters = await rollUpGeneration(generation)
  const events = (last - first) * eventsEach
  const rolled = performance.now()
  console.log(
    `took in ${events} events: ${rate(events, written - began)} events/s; ${quarters} quarters rolled up in ${((rolled - written) / 1_000).toFixed(1)} s`,
  )
}

function life(number: number, start: number, end: number): Entry[] {
  const conversationId = number.toString(16).padStart(24, '0')
  const id = `agent-${number % agents}`
  const wait = 1_000 + ((number * 7_919) % 600_000)
  const named = { id, role: 'Support' as const, firstName: 'Agent', lastName: String(number % agents), at: start }
  const at = (steps: number) => Math.min(end - 1, Math.floor(start + steps * wait))
  const say = (role: 'User' | 'Support', steps: number) =>
    ({ type: 'message', senderId: role === 'User' ? `farmer-${number}` : id, role, assignedId: id, status: 'open', at: at(steps) }) as const
  const steps = [
    { type: 'created', status: 'waiting', assignedId: null, waitingSince: at(0), at: at(0) },
    { type: 'assigned', toId: id, ended: false, waitingSince: null, at: at(1) },
    { type: 'status', from: 'waiting', to: 'open', reopened: false, waitingSince: null, at: at(1) },
    say('User', 1.1),
    say('Support', 2),
    say('User', 2.5),
    say('Support', 3),
    { type: 'read', at: at(3.1) },
    { type: 'status', from: 'open', to: 'resolved', reopened: false, waitingSince: null, at: at(4) },
    { type: 'status', from: 'resolved', to: 'closed', reopened: false, waitingSince: null, at: at(5) },
  ] as const
  return steps.map((step, index) => ({ conversationId, eventNo: index + 1, agents: index === 1 ? [named] : [], ...step }))
}

/** Asks for the last 30 days in a zone of whole hours and one of half hours, and prints how long it takes. Returns the median, ms. */
async function ask(generation: Generation, what: string): Promise<number> {
  const took: number[] = []
  for (let round = 0; round < 60; round += 1) {
    const question = readQuestion({ tz: ['UTC', 'Europe/Berlin', 'Asia/Kolkata'][round % 3] ?? 'UTC' }, anAdmin, now, 366)
    const began = performance.now()
    const view = await figures(generation, question, null, now)
    took.push(performance.now() - began)
    if (view.totals.created === 0) throw new Error('nothing was counted')
  }
  const sorted = took.toSorted((a, b) => a - b)
  const at = (part: number) => sorted[Math.floor(part * (sorted.length - 1))] ?? 0
  console.log(`30 days asked 60 times, ${what}: p50 ${at(0.5).toFixed(1)} ms, p95 ${at(0.95).toFixed(1)} ms`)
  return at(0.5)
}

/** Drains the same events from the same kind of queue: by stats, and by a consumer that only acknowledges. */
async function consume(url: string, events: number): Promise<void> {
  const topology = {
    exchanges: [{ name: `${namespace}events`, type: 'topic', durable: true }],
    queues: ['stats.events', 'bare'].map((queue) => ({
      name: `${namespace}.${queue}`,
      kind: 'quorum' as const,
      bindings: [{ exchange: `${namespace}events`, keys: [queue] }],
      deadLetter: `${namespace}.${queue}.dead`,
    })),
  } as const
  const bus = await connectBus(url, { topology, name: 'stats-measure' })
  try {
    const bare = await drain('bare', async (done) => {
      const consumer = await bus.consume(`${namespace}.bare`, async () => done(1), {
        prefetch: 500,
        maxAttempts: 1,
        handlerTimeoutMs: 60_000,
      })
      return () => consumer.stop()
    })
    const counted = await drain('stats.events', async (done) => {
      const metrics = createStatsMetrics(createRegistry('measure'))
      const batcher = createBatcher<Item>({
        most: 500,
        gatherMs: 0,
        pauseMs: 100,
        onAway: () => undefined,
        async handle(items) {
          await ingest(database.store, { entries: items.flatMap((item) => ('entry' in item ? [item.entry] : [])), uploads: [] })
          done(items.length)
        },
      })
      const options = { bus, batcher, metrics, namespace, prefetch: 500, maxAttempts: 1, now: () => new Date() }
      const consumer = createEventsConsumer(options)
      await consumer.start?.()
      return async () => consumer.stop?.()
    })
    console.log(`over the broker: ${counted} events/s counted, ${bare} events/s by a bare consumer: ${(counted / bare).toFixed(2)} of it`)
  } finally {
    await bus.close()
  }

  async function drain(queue: string, consumeWith: (done: (count: number) => void) => Promise<() => Promise<void>>): Promise<number> {
    let sent: Promise<void>[] = []
    for (let index = 0; index < events; index += 1) {
      const body = message(Math.floor(index / 20) + (queue === 'bare' ? 0 : conversations), (index % 20) + 1)
      sent.push(bus.publish({ exchange: `${namespace}events`, routingKey: queue, id: body.id, body, carrier: {} }))
      if (sent.length === 200) {
        await Promise.all(sent)
        sent = []
      }
    }
    await Promise.all(sent)
    const began = performance.now()
    let left = events
    const all = Promise.withResolvers<void>()
    const stop = await consumeWith((count) => {
      left -= count
      if (left <= 0) all.resolve()
    })
    await all.promise
    const took = performance.now() - began
    await stop()
    return rate(events, took)
  }
}

function message(conversation: number, eventno: number) {
  const id = (conversation + 10_000_000).toString(16).padStart(24, '0')
  const time = new Date(now.getTime() - 20_000 + eventno * 1_000).toISOString()
  const farmer = { id: `farmer-${conversation}`, role: 'User', firstName: 'F', lastName: '', phone: null }
  const common = {
    specversion: '1.0',
    id: `${id}-${eventno}`,
    source: 'conversation',
    time,
    datacontenttype: 'application/json',
    conversationid: id,
    eventno,
  }
  const state = {
    id,
    farmer,
    assigned: null,
    status: 'waiting',
    unread: [],
    lastMessage: null,
    lastSeq: eventno - 1,
    waitingSince: time,
    previousConversationId: null,
    createdAt: time,
    updatedAt: time,
  }
  if (eventno === 1) return { ...common, type: 'conversation.created', data: { conversation: state } }
  const { phone: _phone, ...sender } = farmer
  const said = {
    id: (conversation * 32 + eventno).toString(16).padStart(24, '0'),
    conversationId: id,
    seq: eventno - 1,
    sender,
    messageType: 'text',
    content: 'The leaves turn yellow from below.',
    media: null,
    clientMessageId: null,
    createdAt: time,
  }
  return {
    ...common,
    type: 'message.created',
    data: { message: said, farmerId: farmer.id, assignedId: null, status: 'waiting', sentTo: null },
  }
}

function rate(count: number, ms: number): number {
  return Math.round(count / (ms / 1_000))
}

async function dropDatabase(): Promise<void> {
  const target = parseDatabaseUrl(databaseUrl, namespace, 'stats')
  if (target.kind !== 'mongo') return
  const part = connectMongo(target.url, target.database, { log: silentLogger, health: createHealth() })
  await part.start()
  await part.connection.dropDatabase()
  await part.stop()
}
