// The relay: order per conversation through every refusal, nothing forgotten before its confirm, memory flat while the broker is away, the dead's left-overs taken.
import { type BusState, type EventBus, Nacked, type OutgoingEvent, Unavailable, Unroutable } from '@fieldline/bus/bus'
import type { ConversationId } from '@fieldline/contracts/ids'
import { newId } from '@fieldline/service/ids'
import { silentLogger } from '@fieldline/service/logger'
import { createRegistry } from '@fieldline/service/metrics'
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { createCommands } from '../src/conversations/commands.ts'
import { type Conversation, type Entry, numbered } from '../src/conversations/conversation.ts'
import { create } from '../src/conversations/lifecycle.ts'
import { say } from '../src/messages/message.ts'
import { createRelay } from '../src/outbox.ts'
import { forEachDatabase } from './assignment-databases.ts'
import { after, noon, rajesh, saying } from './people-of-tests.ts'
import { eventually } from './service.ts'

const clock = { now: () => new Date() }

/** A conversation with so many events in its outbox, the first being its creation. */
function withOutbox(events: number): Conversation {
  const decision = create({ id: newId() as ConversationId, farmer: rajesh, previousConversationId: null }, noon)
  let it = numbered(decision, { commandId: newId(), now: noon }).next
  for (let n = 1; n < events; n += 1) it = after(say(it, saying(rajesh, `m${n}`), noon))
  return it
}

type Outcome = 'confirm' | 'nack' | 'lost' | 'unroutable'

/** A broker that answers as told, in its own time; down, it refuses at once. */
function broker(outcomes: Outcome[] = []) {
  const told: { conversation: string; eventno: number; outcome: Outcome }[] = []
  const listeners = new Set<(state: BusState) => void>()
  let state: BusState = 'up'
  let blocked: { promise: Promise<void>; resolve: () => void } | null = null
  let pending = 0
  let mostPending = 0
  const bus = {
    get state() {
      return state
    },
    onState(listener: (state: BusState) => void) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    writable: () => blocked?.promise ?? Promise.resolve(),
    async publish({ headers }: OutgoingEvent) {
      if (state === 'down') throw new Unavailable('down')
      const outcome = outcomes.shift() ?? 'confirm'
      told.push({ conversation: String(headers?.['x-conversation']), eventno: Number(headers?.['x-eventno']), outcome })
      pending += 1
      mostPending = Math.max(mostPending, pending)
      await new Promise((resolve) => setImmediate(resolve))
      pending -= 1
      if (outcome === 'nack') throw new Nacked('no')
      if (outcome === 'lost') throw new Unavailable('lost before the confirm')
      if (outcome === 'unroutable') throw new Unroutable('nobody')
    },
  }
  return {
    bus: bus as unknown as EventBus,
    told,
    get mostPending() {
      return mostPending
    },
    set(next: BusState) {
      state = next
      for (const listener of listeners) listener(next)
    },
    block() {
      blocked = Promise.withResolvers<void>()
    },
    unblock() {
      blocked?.resolve()
      blocked = null
    },
  }
}

function relayOf(served: ReturnType<typeof broker>, conversations: Conversation[] = [], forgetAfterMs = 1) {
  const forgotten: Entry[] = []
  const stored = new Map(conversations.map((it) => [it.id, it]))
  const store = {
    load: async (id: ConversationId) => stored.get(id) ?? null,
    async forget(entries: readonly Entry[]) {
      forgotten.push(...entries)
      for (const { event } of entries) {
        const it = stored.get(event.conversationid)
        if (it) stored.set(it.id, { ...it, outbox: it.outbox.filter((one) => one.event.id !== event.id) })
      }
    },
    unpublished: async (_before: string, limit: number) =>
      [...stored.values()]
        .filter(({ outbox }) => outbox.length > 0)
        .slice(0, limit)
        .map(({ id }) => id),
  }
  const relay = createRelay({
    store,
    bus: served.bus,
    clock,
    log: silentLogger,
    registry: createRegistry('test'),
    namespace: '',
    settle: async (outbox) => offer(outbox),
    forgotten: () => undefined,
    forgetAfterMs,
    sweepMs: 20,
    orphanedAfterMs: 0,
  })
  /** As commands do where the log takes everything. */
  function offer(outbox: readonly Entry[]): void {
    relay.offer(outbox)
    relay.logged(outbox)
  }
  return { relay: { ...relay, offer }, bare: relay, forgotten, stored }
}

const gate = () => Promise.withResolvers<void>()
const firsts = (told: { conversation: string; eventno: number }[], id: string) => {
  const seen = new Set<number>()
  for (const { conversation, eventno } of told) if (conversation === id) seen.add(eventno)
  return [...seen]
}
const upTo = (n: number) => Array.from({ length: n }, (_, index) => index + 1)

test('events leave their outbox after their confirm, and are published once where nothing goes wrong', async () => {
  const served = broker()
  const it = withOutbox(30)
  const { relay, forgotten } = relayOf(served)
  for (let n = 1; n <= 30; n += 1) relay.offer(it.outbox.slice(0, n))
  await eventually(() => forgotten.length === 30)
  expect(served.told.map(({ eventno }) => eventno)).toEqual(upTo(30))
  await relay.stop()
})

test('an event leaves its outbox when it is both confirmed and in the log, whichever comes first', async () => {
  const it = withOutbox(2)
  const served = broker()
  const { bare: relay, forgotten } = relayOf(served)
  const [first, second] = it.outbox as [Entry, Entry]
  relay.logged([first])
  expect(relay.isDone(first)).toBe(false)
  relay.offer([first, second])
  await eventually(() => relay.isDone(first))
  await eventually(() => served.told.length === 2)
  expect(relay.isDone(second)).toBe(false)
  // It is not published again while it waits for the log.
  relay.offer([second])
  relay.logged([second])
  expect(relay.isDone(second)).toBe(true)
  await eventually(() => forgotten.length === 2)
  expect(served.told.map(({ eventno }) => eventno)).toEqual([1, 2])
  await relay.stop()
})

test('what is done waits for a command to take it along, and leaves by a write of its own where none comes', async () => {
  const it = withOutbox(3)
  const { relay, forgotten } = relayOf(broker(), [], 60_000)
  relay.offer(it.outbox)
  await eventually(() => it.outbox.every(relay.isDone))
  relay.left(it.outbox.slice(0, 2))
  expect(forgotten).toEqual([])
  await relay.stop()
  expect(forgotten).toEqual(it.outbox.slice(2))
})

describe('order', () => {
  test('whatever is lost on the way: first occurrences come in order, and all come', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom<Outcome>('confirm', 'lost'), { maxLength: 12 }),
        fc.integer({ min: 1, max: 10 }),
        fc.array(fc.nat({ max: 9 }), { maxLength: 6 }),
        async (outcomes, events, offers) => {
          // A lost channel takes with it all that was on it: from the first loss on, what was under way is lost too.
          const first = outcomes.indexOf('lost')
          const served = broker(
            first === -1 ? [] : [...outcomes.slice(0, first), ...Array<Outcome>(Math.max(events - first, 1)).fill('lost')],
          )
          const it = withOutbox(events)
          const { relay, forgotten } = relayOf(served)
          for (const n of offers) relay.offer(it.outbox.slice(0, n + 1))
          relay.offer(it.outbox)
          await eventually(() => new Set(forgotten.map(({ event }) => event.id)).size === events)
          expect(firsts(served.told, it.id)).toEqual(upTo(events))
          await relay.stop()
        },
      ),
      { numRuns: 15 },
    )
  }, 30_000)

  test('after a refusal it begins at the head again', async () => {
    const served = broker(['confirm', 'nack', 'confirm'])
    const it = withOutbox(4)
    const { relay, forgotten } = relayOf(served)
    relay.offer(it.outbox.slice(0, 3))
    await eventually(() => served.told.length === 3)
    relay.offer(it.outbox)
    await eventually(() => forgotten.length === 4)
    expect(served.told.map(({ eventno }) => eventno)).toEqual([1, 2, 3, 2, 4])
    await relay.stop()
  })

  test('another replica’s event found below goes before ours', async () => {
    const served = broker()
    const it = withOutbox(3)
    const { relay, forgotten } = relayOf(served)
    served.set('down')
    await relay.start()
    relay.offer(it.outbox.slice(2))
    relay.offer(it.outbox)
    served.set('up')
    await eventually(() => forgotten.length === 3)
    expect(firsts(served.told, it.id)).toEqual([1, 2, 3])
    await relay.stop()
  })

  test('a conversation that is refused holds up no other', async () => {
    const served = broker(['unroutable'])
    const [stuck, free] = [withOutbox(1), withOutbox(5)]
    const { relay, forgotten } = relayOf(served)
    relay.offer(stuck.outbox)
    await eventually(() => served.told.length === 1)
    relay.offer(free.outbox)
    await eventually(() => forgotten.length === 5)
    // The unroutable one is still in its outbox.
    expect(forgotten.some(({ event }) => event.conversationid === stuck.id)).toBe(false)
    await relay.stop()
  })
})

test('while the broker is away little is held; what was not is found again when it is back', async () => {
  const served = broker()
  served.set('down')
  const all = Array.from({ length: 300 }, () => withOutbox(10))
  const { relay, forgotten } = relayOf(served, all)
  await relay.start()
  for (const it of all) relay.offer(it.outbox)
  expect(served.told).toEqual([])
  served.set('up')
  await eventually(() => new Set(forgotten.map(({ event }) => event.id)).size === 3_000, 'all', 20_000)
  for (const it of all) expect(firsts(served.told, it.id)).toEqual(upTo(10))
  await relay.stop()
}, 30_000)

test('a broker that blocks is not written to, and unconfirmed events are bounded', async () => {
  const served = broker()
  served.block()
  const all = Array.from({ length: 150 }, () => withOutbox(10))
  const { relay, forgotten } = relayOf(served)
  for (const it of all) relay.offer(it.outbox)
  await new Promise((resolve) => setImmediate(resolve))
  expect(served.told).toEqual([])
  served.unblock()
  await eventually(() => forgotten.length === 1_500)
  expect(served.mostPending).toBeLessThanOrEqual(512 + 10)
  await relay.stop()
})

test('what a dead process left is published at the start, by whoever starts', async () => {
  const served = broker()
  const left = withOutbox(3)
  const { relay, stored } = relayOf(served, [left])
  await relay.start()
  await eventually(() => stored.get(left.id)?.outbox.length === 0)
  expect(firsts(served.told, left.id)).toEqual([1, 2, 3])
  await relay.stop()
})

test('what a late write put back into an outbox leaves it again, and is not published again', async () => {
  const served = broker()
  const it = withOutbox(3)
  const { relay, stored } = relayOf(served, [it])
  relay.offer(it.outbox)
  await eventually(() => stored.get(it.id)?.outbox.length === 0)
  stored.set(it.id, it)
  await relay.start()
  await eventually(() => stored.get(it.id)?.outbox.length === 0)
  expect(served.told.map(({ eventno }) => eventno)).toEqual(upTo(3))
  await relay.stop()
})

test('a stop hands over what is held, if the broker takes it', async () => {
  const served = broker()
  const it = withOutbox(20)
  const { relay, forgotten } = relayOf(served)
  relay.offer(it.outbox)
  await relay.stop()
  expect(forgotten).toHaveLength(20)
})

await forEachDatabase((open) => {
  test('a command that loaded what the relay was taking out does not put it back', async () => {
    const stores = await open()
    const { load, unpublished, forget, insert, append } = stores.conversations
    const [begun, first, taken, others] = [gate(), gate(), gate(), gate()]
    let writes = 0
    const relay = createRelay({
      store: {
        load,
        unpublished,
        async forget(entries) {
          writes += 1
          begun.resolve()
          await (writes === 1 ? first : others).promise
          await forget(entries)
        },
      },
      forgotten: () => taken.resolve(),
      settle: (outbox) => commands.settle(outbox),
      ...{ bus: broker().bus, clock, log: silentLogger, registry: createRegistry('test'), namespace: '' },
      ...{ forgetAfterMs: 1, sweepMs: 60_000, orphanedAfterMs: 60_000 },
    })
    const commands = createCommands({ store: stores.conversations, clock, log: silentLogger, relay: () => relay, freed: () => undefined })
    const finish = (entry: Entry) => {
      relay.offer([entry])
      relay.logged([entry])
      return eventually(() => relay.isDone(entry))
    }
    try {
      const it = withOutbox(2)
      await insert(it, it.outbox)
      await append(it.outbox)
      const [leavesNow, leavesLater] = it.outbox as [Entry, Entry]
      await finish(leavesNow)
      await begun.promise
      await finish(leavesLater)

      const { entries } = await commands.execute(it.id, {
        async decide(loaded, now) {
          expect(loaded.outbox).toEqual(it.outbox)
          first.resolve()
          await taken.promise
          return say(loaded, saying(rajesh, 'hello'), now)
        },
      })
      expect((await load(it.id))?.outbox).toEqual(entries)
    } finally {
      others.resolve()
      await relay.stop()
      await commands.idle()
      await stores.close()
    }
  })
})
