// What the memory bus promises beyond the contract: a confirm means handled, dead letters outlive the process, traces are carried by hand.
import { AsyncLocalStorage } from 'node:async_hooks'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { type Context, context, createContextKey, propagation, ROOT_CONTEXT } from '@opentelemetry/api'
import { type BusOptions, type EventBus, type OutgoingEvent, Poison, Unavailable } from '../src/bus.ts'
import { connectBus } from '../src/connect.ts'
import { freshTopology, relaxed, retryDelaysMs } from './bus.contract.ts'
import { gate, Inbox } from './inbox.ts'

let names: ReturnType<typeof freshTopology>
let buses: EventBus[]

const open = async (options: Partial<BusOptions> = {}) => {
  const bus = await connectBus(`memory:${names.all}`, { topology: names.topology, name: 'test', retryDelaysMs, ...options })
  buses.push(bus)
  return bus
}
const event = (id: string, more: Partial<OutgoingEvent> = {}): OutgoingEvent => ({
  exchange: names.events,
  routingKey: 'order.placed',
  id,
  body: { id },
  ...more,
})

beforeEach(() => {
  names = freshTopology()
  buses = []
})
afterEach(async () => {
  await Promise.all(buses.map((bus) => bus.close()))
})

test('an event is confirmed when its handlers have finished, not before', async () => {
  const bus = await open()
  const steps: string[] = []
  const [started, hold] = [new Inbox<string>(), gate()]
  await bus.consume(
    names.all,
    async () => {
      started.push('started')
      await hold.passed
      steps.push('handled')
    },
    relaxed,
  )
  const confirmed = bus.publish(event('a')).then(() => steps.push('confirmed'))
  await started.first(1)
  expect(steps).toEqual([])
  hold.open()
  await confirmed
  expect(steps).toEqual(['handled', 'confirmed'])
})

test('a retried event confirms after the retry that succeeds, a dead one once it is in the table', async () => {
  const bus = await open()
  await bus.consume(
    names.all,
    async ({ attempts, routingKey }) => {
      if (routingKey === 'order.dead') throw new Error('never')
      if (attempts < 3) throw new Error('not yet')
    },
    relaxed,
  )
  await Promise.all([bus.publish(event('shaky')), bus.publish(event('dead', { routingKey: 'order.dead' }))])
  expect(await bus.deadLetters(names.all)).toBe(1)
})

test('an event that nobody consumes is given up after a while, and not handed out later', async () => {
  const bus = await open({ confirmTimeoutMs: 30 })
  await expect(bus.publish(event('a'))).rejects.toThrow(`nobody consumes ${names.all}`)
  const inbox = new Inbox<unknown>()
  await bus.consume(names.all, async ({ body }) => inbox.push(body), relaxed)
  await bus.publish(event('b'))
  expect(inbox.items).toEqual([{ id: 'b' }])
})

test('closing does not wait for a consumer that has gone', async () => {
  const bus = await open({ closeTimeoutMs: 60_000 })
  const lost = bus.publish(event('a')).catch((error: unknown) => error)
  await bus.close()
  expect(await lost).toBeInstanceOf(Unavailable)
})

test('a long queue holds publishers at writable() until it is short again', async () => {
  const bus = await open()
  const hold = gate()
  await bus.consume(names.all, () => hold.passed, { ...relaxed, prefetch: 1 })
  const published = Array.from({ length: 1_001 }, (_, n) => bus.publish(event(`e${n}`)))
  let free = false
  const writable = bus.writable().then(() => {
    free = true
  })
  await new Promise(setImmediate)
  expect(free).toBe(false)
  hold.open()
  await writable
  await Promise.all(published)
})

test('subscribers share no object: what one does to its body, the other does not see', async () => {
  const bus = await open()
  const seen: unknown[] = []
  for (const queue of [names.all, names.paid]) {
    await bus.consume(
      queue,
      async ({ body }) => {
        seen.push(structuredClone(body))
        Object.assign(body as object, { spoilt: true })
      },
      relaxed,
    )
  }
  await bus.publish(event('a', { routingKey: 'order.paid' }))
  expect(seen).toEqual([{ id: 'a' }, { id: 'a' }])
})

test('dead letters outlive the process when a file is named', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bus-'))
  const deadLetterFile = join(folder, 'dead.db')
  const before = await open({ deadLetterFile })
  await before.consume(
    names.all,
    async () => {
      throw new Poison('hopeless')
    },
    relaxed,
  )
  await before.publish(event('a', { headers: { 'x-n': 1 } }))
  await before.close()
  const after = await open({ deadLetterFile })
  expect(await after.peekDead(names.all, 10)).toMatchObject([{ body: '{"id":"a"}', reason: 'hopeless', headers: { 'x-n': 1 } }])
  const inbox = new Inbox<unknown>()
  await after.consume(names.all, async ({ body }) => inbox.push(body), relaxed)
  expect(await after.replayDead(names.all, 10)).toBe(1)
  expect(inbox.items).toEqual([{ id: 'a' }])
  expect(await after.deadLetters(names.all)).toBe(0)
  await after.close()
  rmSync(folder, { recursive: true })
})

test('dead letters go to a file that is named later, those so far too', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bus-'))
  const deadLetterFile = join(folder, 'dead.db')
  const first = await open()
  const hopeless = async () => {
    throw new Poison('hopeless')
  }
  await first.consume(names.all, hopeless, relaxed)
  await first.publish(event('a'))
  const second = await open({ deadLetterFile })
  await first.publish(event('b'))
  await Promise.all([first.close(), second.close()])
  const after = await open({ deadLetterFile })
  expect((await after.peekDead(names.all, 10)).map(({ body }) => body)).toEqual(['{"id":"a"}', '{"id":"b"}'])
  await after.close()
  rmSync(folder, { recursive: true })
})

describe('with tracing on', () => {
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  const trace = createContextKey('trace')
  const storage = new AsyncLocalStorage<Context>()
  const activeTrace = () => context.active().getValue(trace)

  beforeAll(() => {
    context.setGlobalContextManager({
      active: () => storage.getStore() ?? ROOT_CONTEXT,
      with: (active, call, self, ...args) => storage.run(active, () => call.call(self, ...args)),
      bind: (_active, target) => target,
      enable: () => context as never,
      disable: () => context as never,
    })
    propagation.setGlobalPropagator({
      inject: (active, carrier, setter) => {
        const value = active.getValue(trace)
        if (typeof value === 'string') setter.set(carrier, 'traceparent', value)
      },
      extract: (active, carrier, getter) => active.setValue(trace, getter.get(carrier, 'traceparent')),
      fields: () => ['traceparent'],
    })
  })
  afterAll(() => {
    context.disable()
    propagation.disable()
  })

  test('handlers and listeners run in the trace stored with the event, and in none without one', async () => {
    const bus = await open()
    const [handled, heard] = [new Inbox<unknown>(), new Inbox<unknown>()]
    await bus.consume(names.all, async () => handled.push(activeTrace() ?? 'none'), { ...relaxed, prefetch: 1 })
    await bus.listen(
      [{ exchange: names.events, keys: ['#'] }],
      (delivery) => {
        heard.push(activeTrace() ?? 'none')
        delivery.ack()
      },
      { prefetch: 10, onResubscribed: () => undefined },
    )
    await context.with(ROOT_CONTEXT.setValue(trace, traceparent.replace('0af', '1af')), async () => {
      await bus.publish(event('stored', { carrier: { traceparent } }))
      await bus.publish(event('none', { carrier: {} }))
      await bus.publish(event('active'))
    })
    const expected = [traceparent, 'none', traceparent.replace('0af', '1af')]
    expect(await handled.first(3)).toEqual(expected)
    expect(await heard.first(3)).toEqual(expected)
  })
})
