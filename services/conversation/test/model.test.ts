// Random commands of several people at once against two replicas' commands on one store: whatever comes, the books agree (spec 3 and 4).
import { AppError } from '@fieldline/contracts/errors'
import type { ConversationEvent } from '@fieldline/contracts/events'
import type { ConversationId, MessageId } from '@fieldline/contracts/ids'
import type { Message } from '@fieldline/contracts/messages'
import type { PersonSummary } from '@fieldline/contracts/people'
import { newId } from '@fieldline/service/ids'
import { silentLogger } from '@fieldline/service/logger'
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { createCommands } from '../src/conversations/commands.ts'
import type { ConversationStore } from '../src/conversations/conversation.store.ts'
import { type Conversation, type Entry, nothing, stateOf } from '../src/conversations/conversation.ts'
import { createCurrent } from '../src/conversations/current.ts'
import { assign, changeStatus } from '../src/conversations/lifecycle.ts'
import { createHistory } from '../src/messages/history.ts'
import { read, readingSide, readOf } from '../src/messages/marks.ts'
import { createSend } from '../src/messages/send.ts'
import { forEachDatabase } from './assignment-databases.ts'
import { asha, meena, rajesh, sita, vikram } from './people-of-tests.ts'

const people = { rajesh, sita, asha, vikram, meena }
const who = fc.constantFrom(...(Object.keys(people) as (keyof typeof people)[]))
const farmers = [rajesh, sita] as const
const of = fc.nat({ max: 1 })
const at = fc.nat({ max: 1 })
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ does: fc.constant('say' as const), at, of, who, key: fc.option(fc.constantFrom('a', 'b', 'c')) }) },
  {
    weight: 2,
    arbitrary: fc.record({ does: fc.constant('read' as const), at, of, who, share: fc.double({ min: 0, max: 1, noNaN: true }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      does: fc.constant('status' as const),
      at,
      of,
      who,
      to: fc.constantFrom('waiting' as const, 'resolved' as const, 'closed' as const),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ does: fc.constant('assign' as const), at, of, agent: fc.constantFrom('asha' as const, 'vikram' as const) }),
  },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('create' as const), at, of }) },
)
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never
/** Steps of one round run at once. */
const story = fc.record({
  rounds: fc.array(fc.array(step, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 5 }),
  faults: fc.array(fc.constantFrom('none' as const, 'none' as const, 'answer lost' as const, 'not written' as const, 'no log' as const), {
    maxLength: 12,
  }),
})

const person = (it: PersonSummary) => ({ ...it, iat: 1, exp: null })

function replica(store: ConversationStore, published: Entry[]) {
  const clock = { now: () => new Date() }
  const relay = promptRelay(published)
  const commands = createCommands({ store, clock, log: silentLogger, relay: () => relay, freed: () => undefined })
  const current = createCurrent({ store, commands, clock })
  const assignment = {
    drained: async () => undefined,
    kick: () => undefined,
    reserve: async () => newId(),
    release: async () => undefined,
    cancel: async () => undefined,
    farmerWrote: () => undefined,
  }
  const send = createSend({ store, commands, current, assignment, reserveMedia: () => Promise.reject(new Error('no media here')) })
  return { store, commands, current, send, history: createHistory(store) }
}

/** A relay whose broker confirms at once; what is done leaves its outbox with the next command. */
function promptRelay(published: Entry[]): ReturnType<Parameters<typeof createCommands>[0]['relay']> {
  const offered = new Set<string>()
  const done = new Set<string>()
  return {
    offer(outbox) {
      const fresh = outbox.filter(({ event }) => !offered.has(event.id))
      for (const { event } of fresh) offered.add(event.id)
      published.push(...fresh)
    },
    logged(entries) {
      for (const { event } of entries) if (offered.has(event.id)) done.add(event.id)
    },
    isDone: ({ event }) => done.has(event.id),
    left: () => undefined,
  }
}

function faulty(store: ConversationStore, faults: string[]): ConversationStore {
  const away = () => new AppError('UNAVAILABLE', 'away')
  return {
    ...store,
    async commit(before, next, entries, leaving) {
      const fault = faults.shift()
      if (fault === 'not written') throw away()
      const outcome = await store.commit(before, next, entries, leaving)
      if (fault === 'answer lost') throw away()
      return outcome
    },
    async append(entries) {
      if (faults[0] === 'no log') {
        faults.shift()
        throw away()
      }
      return store.append(entries)
    },
  }
}

await forEachDatabase((open, rounds) => {
  test('numbers have no gap, counters equal a recount, events equal state, a farmer has one unclosed conversation, a key one message', async () => {
    const stores = await open()
    try {
      await fc.assert(
        fc.asyncProperty(story, async ({ rounds: told, faults }) => {
          await stores.clear()
          const published: Entry[] = []
          const replicas = [
            replica(stores.conversations, published),
            replica(faulty(stores.conversations, [...faults]), published),
          ] as const
          const said = new Map<string, Set<string>>()
          for (const farmer of farmers) await replicas[0].current.ensure(farmer)
          for (const steps of told) await Promise.all(steps.map((one) => run(one, replicas, said).catch(refused)))
          await check(replicas[0], said)
        }),
        { numRuns: Math.ceil(rounds / 3) },
      )
    } finally {
      await stores.close()
    }
  }, 90_000)
})

async function run(
  step: Step,
  replicas: readonly [ReturnType<typeof replica>, ReturnType<typeof replica>],
  said: Map<string, Set<string>>,
): Promise<void> {
  const { current, commands, send, history } = replicas[step.at as 0 | 1]
  const farmer = farmers[step.of as 0 | 1]
  const { conversation } = await current.ensure(farmer)
  const { id } = conversation
  if (step.does === 'say') {
    const sender = people[step.who]
    const key = step.key && `${step.key}-${farmer.id}`
    const { message } = await send(
      { conversationId: id, messageType: 'text', content: `by ${sender.id}`, ...(key ? { clientMessageId: key } : {}) },
      person(sender),
    )
    if (key) {
      const name = JSON.stringify([sender.id, key, id])
      said.set(name, (said.get(name) ?? new Set()).add(message.id))
    }
  }
  if (step.does === 'read') {
    const reader = people[step.who]
    await commands.execute(id, {
      async decide(it, now) {
        const side = readingSide(it, reader)
        const seq = Math.ceil(it.lastSeq * step.share)
        if (side === null || seq <= it.marks[side].seq) return nothing(it)
        const [message] = await history.messages(it, seq, seq)
        const found = message && (await history.message(it, message.id))
        if (!found) throw new Error(`there is no message ${seq}`)
        return read(
          it,
          {
            reader,
            upTo: { seq, farmerMessages: found.farmerMessages },
            covered: await history.unreadBy(it, side, it.marks[side].seq, seq, 50),
          },
          now,
        )
      },
    })
  }
  if (step.does === 'status')
    await commands.execute(id, { decide: (it, now) => changeStatus(it, { to: step.to, by: people[step.who], reason: null }, now) })
  if (step.does === 'assign') {
    const agent = people[step.agent]
    await commands.execute(id, {
      decide: (it, now) => assign(it, { agent, placeToken: newId(), reason: 'reassigned', note: null, by: 'meena' }, now),
    })
  }
}

async function check(
  { store, history, current }: ReturnType<typeof replica>,
  said: ReadonlyMap<string, ReadonlySet<string>>,
): Promise<void> {
  for (const ids of said.values()) expect(ids.size).toBe(1)
  const all = (await store.walk(null, 1_000)).map(({ conversationId }) => conversationId)
  const unclosed = new Map<string, number>()
  const messageIds = new Set<MessageId>()
  for (const id of all) {
    const it = (await store.load(id)) as Conversation
    if (it.status !== 'closed') unclosed.set(it.farmer.id, (unclosed.get(it.farmer.id) ?? 0) + 1)
    const messages = await history.messages(it, 1, it.lastSeq)
    const events = await history.events(it, 0, 10_000)
    expect(messages.map(({ seq }) => seq)).toEqual(Array.from({ length: it.lastSeq }, (_, n) => n + 1))
    expect(events.map(({ eventno }) => eventno)).toEqual(Array.from({ length: it.eventNo }, (_, n) => n + 1))
    for (const message of messages) expect(messageIds.size).not.toBe(messageIds.add(message.id).size)
    recount(it, messages)
    replay(it, events)
  }
  for (const farmer of farmers) {
    expect(unclosed.get(farmer.id) ?? 0).toBeLessThanOrEqual(1)
    const newest = (await current.find(farmer.id)) as Conversation
    const earlier: ConversationId[] = []
    for (let it: Conversation | null = newest; it; it = it.previousConversationId && (await store.load(it.previousConversationId)))
      earlier.push(it.id)
    expect(earlier).toHaveLength((await store.list({ scope: { kind: 'farmer', id: farmer.id } }, 'activity', { limit: 100 })).length)
  }
}

/** Counters and marks against the messages themselves. */
function recount(it: Conversation, messages: readonly Message[]): void {
  const byFarmer = messages.filter(({ sender }) => sender.id === it.farmer.id)
  const byOthers = messages.filter(({ sender }) => sender.id !== it.farmer.id)
  expect(it.farmerMessages).toBe(byFarmer.length)
  expect(it.unread).toEqual({
    support: byFarmer.filter((message) => readOf(it, message) === null).length,
    farmer: byOthers.filter((message) => readOf(it, message) === null).length,
  })
}

/** What the events told is what the conversation is. */
function replay(it: Conversation, events: readonly ConversationEvent[]): void {
  let status = 'waiting'
  let assigned: string | null = null
  let lastSeq = 0
  const read = { farmer: 0, support: 0 }
  for (const event of events) {
    if (event.type === 'conversation.assigned') {
      expect(event.data.from?.id ?? null).toBe(assigned)
      assigned = event.data.to?.id ?? null
    }
    if (event.type === 'conversation.status-changed') {
      expect(event.data.from).toBe(status)
      status = event.data.to
    }
    if (event.type === 'conversation.read') {
      expect(event.data.fromSeq).toBe(read[event.data.side])
      read[event.data.side] = event.data.upToSeq
    }
    if (event.type === 'message.created') {
      expect(event.data.message.seq).toBe(++lastSeq)
      expect(event.data.status).toBe(status)
      expect(event.data.assignedId).toBe(assigned)
    }
  }
  expect({ status, assigned, lastSeq }).toEqual({ status: it.status, assigned: it.assigned?.person.id ?? null, lastSeq: it.lastSeq })
  expect(read).toEqual({ farmer: it.marks.farmer.seq, support: it.marks.support.seq })
  const last = events.findLast((event) => event.type !== 'message.created')
  if (last && last === events.at(-1) && 'conversation' in last.data) expect(last.data.conversation).toEqual(stateOf(it))
}

function refused(error: unknown): void {
  if (!(error instanceof AppError) || error.code === 'INTERNAL') throw error
}
