// What every event bus promises: run by bus.test.ts against each adapter.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import {
  type BusOptions,
  type ConsumeOptions,
  type EventBus,
  namespaced,
  type OutgoingEvent,
  Poison,
  type Topology,
  Unavailable,
  Unroutable,
} from '../src/bus.ts'
import { gate, Inbox } from './inbox.ts'

/** An adapter under test: `connect` joins the namespace's broker, `erase` removes what the namespace left. */
export interface AdapterUnderTest {
  connect(options: BusOptions): Promise<EventBus>
  erase(topology: Topology): Promise<void>
}

export const retryDelaysMs = [20, 40]
let runs = 0

/** A topology of its own for each test: two queues, one for everything of `order.*`, one for `order.paid` too. */
export function freshTopology(): { topology: Topology; events: string; signals: string; all: string; paid: string } {
  const namespace = `bus-${process.pid}-${Date.now()}-${++runs}`
  const topology = namespaced(
    {
      exchanges: [
        { name: 'events', type: 'topic', durable: true },
        { name: 'signals', type: 'topic', durable: true },
      ],
      queues: [
        { name: 'all', kind: 'quorum', bindings: [{ exchange: 'events', keys: ['order.#'] }], deadLetter: 'all.dead' },
        { name: 'paid', kind: 'classic', bindings: [{ exchange: 'events', keys: ['*.paid'] }], deadLetter: 'paid.dead' },
      ],
    },
    namespace,
  )
  return { topology, events: `${namespace}.events`, signals: `${namespace}.signals`, all: `${namespace}.all`, paid: `${namespace}.paid` }
}

export const relaxed: ConsumeOptions<unknown> = { prefetch: 10, maxAttempts: 3, handlerTimeoutMs: 5_000 }

export function busContract(adapter: AdapterUnderTest): void {
  let names: ReturnType<typeof freshTopology>
  let buses: EventBus[]

  const connect = async (options: Partial<BusOptions> = {}) => {
    const bus = await adapter.connect({ topology: names.topology, name: 'contract', retryDelaysMs, ...options })
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
  const ids = (items: readonly { body: unknown }[]) => items.map(({ body }) => (body as { id: string }).id)

  beforeEach(() => {
    names = freshTopology()
    buses = []
  })
  afterEach(async () => {
    await Promise.all(buses.map((bus) => bus.close()))
    await adapter.erase(names.topology)
  })

  describe('publishing', () => {
    test('events arrive in the order of the calls, each confirmed', async () => {
      const bus = await connect()
      const inbox = new Inbox<{ body: unknown }>()
      await bus.consume(names.all, async (delivery) => inbox.push(delivery), { ...relaxed, prefetch: 1 })
      const sent = Array.from({ length: 200 }, (_, n) => `e${n}`)
      await Promise.all(sent.map((id) => bus.publish(event(id))))
      expect(ids(await inbox.first(200))).toEqual(sent)
    })

    test('an event that no queue takes is refused as unroutable, and its neighbours are not', async () => {
      const outcomes: string[] = []
      const bus = await connect({ metrics: { published: (outcome) => outcomes.push(outcome) } })
      await bus.consume(names.all, async () => undefined, relaxed)
      const results = await Promise.allSettled([
        bus.publish(event('a')),
        bus.publish(event('a', { routingKey: 'nobody.wants' })),
        bus.publish(event('b')),
      ])
      expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
      expect(results[1]).toMatchObject({ reason: expect.any(Unroutable) })
      expect(outcomes.sort()).toEqual(['confirmed', 'confirmed', 'unroutable'])
    })

    test('an exchange outside the topology is unroutable and disturbs nothing', async () => {
      const bus = await connect()
      await bus.consume(names.all, async () => undefined, relaxed)
      await expect(bus.publish(event('a', { exchange: 'no.such' }))).rejects.toBeInstanceOf(Unroutable)
      await bus.publish(event('b'))
    })

    test('a body without a JSON form is refused', async () => {
      const bus = await connect()
      await expect(bus.publish(event('a', { body: undefined }))).rejects.toBeInstanceOf(TypeError)
    })

    test('an event published before its consumer exists waits for it', async () => {
      const bus = await connect()
      const confirmed = bus.publish(event('early'))
      const inbox = new Inbox<{ body: unknown }>()
      await bus.consume(names.all, async (delivery) => inbox.push(delivery), relaxed)
      expect(ids(await inbox.first(1))).toEqual(['early'])
      await confirmed
    })

    test('headers, bytes, key and a valid carrier travel with the event, an invalid carrier does not', async () => {
      const bus = await connect()
      const inbox = new Inbox<{
        body: unknown
        headers: Readonly<Record<string, unknown>>
        raw: Buffer
        routingKey: string
        exchange: string
      }>()
      await bus.consume(names.all, async (delivery) => inbox.push(delivery), { ...relaxed, prefetch: 1 })
      const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
      await bus.publish(
        event('a', { body: '{"id":"a"}', headers: { 'x-people': '["u1"]', 'x-n': 3, 'x-flag': true }, carrier: { traceparent } }),
      )
      await bus.publish(event('b', { carrier: { traceparent: `00-${'0'.repeat(32)}-${'0'.repeat(16)}-00` } }))
      const [a, b] = await inbox.first(2)
      expect(a).toMatchObject({ exchange: names.events, routingKey: 'order.placed', body: { id: 'a' } })
      expect(a?.headers).toMatchObject({ 'x-people': '["u1"]', 'x-n': 3, 'x-flag': true, traceparent })
      expect(a?.raw.toString()).toBe('{"id":"a"}')
      expect(b?.headers).not.toHaveProperty('traceparent')
    })

    test('closing flushes what is outstanding, and refuses what comes after', async () => {
      const consumer = await connect()
      await consumer.consume(names.all, async () => undefined, relaxed)
      const bus = await connect()
      const outstanding = Array.from({ length: 50 }, (_, n) => bus.publish(event(`e${n}`)))
      const closed = bus.close()
      await expect(Promise.all(outstanding)).resolves.toHaveLength(50)
      await closed
      await expect(bus.publish(event('late'))).rejects.toBeInstanceOf(Unavailable)
      await expect(bus.writable()).rejects.toBeInstanceOf(Unavailable)
      expect(bus.state).toBe('down')
    })
  })

  describe('consuming', () => {
    test('a handler that fails is tried again later, its neighbours go on, and success ends it', async () => {
      const bus = await connect()
      const inbox = new Inbox<string>()
      await bus.consume(
        names.all,
        async ({ body, attempts, exchange, routingKey }) => {
          inbox.push(`${ids([{ body }])[0]}:${attempts}:${exchange === names.events}:${routingKey}`)
          if (ids([{ body }])[0] === 'shaky' && attempts < 3) throw new Error('not yet')
        },
        { ...relaxed, prefetch: 1 },
      )
      await Promise.all([bus.publish(event('shaky')), bus.publish(event('neighbour'))])
      expect(await inbox.first(4)).toEqual([
        'shaky:1:true:order.placed',
        'neighbour:1:true:order.placed',
        'shaky:2:true:order.placed',
        'shaky:3:true:order.placed',
      ])
      expect(await bus.deadLetters(names.all)).toBe(0)
    })

    test('what fails for good is dead after the last attempt, its neighbours are handled', async () => {
      const dead = new Inbox<string>()
      const bus = await connect({ metrics: { consumed: (queue, outcome) => dead.push(`${queue}:${outcome}`) } })
      await bus.consume(
        names.all,
        async ({ body }) => {
          if (ids([{ body }])[0] === 'poison') throw new Error('never')
        },
        relaxed,
      )
      await Promise.all([bus.publish(event('poison')), ...['a', 'b', 'c'].map((id) => bus.publish(event(id)))])
      await dead.until((items) => items.includes(`${names.all}:dead`) && items.filter((item) => item.endsWith(':done')).length === 3)
      expect(dead.items.filter((item) => item.endsWith(':retry'))).toHaveLength(2)
      expect(await bus.deadLetters(names.all)).toBe(1)
      expect(await bus.peekDead(names.all, 5)).toMatchObject([
        { body: '{"id":"poison"}', reason: 'never', exchange: names.events, routingKey: 'order.placed' },
      ])
    })

    test.each<[string, Partial<OutgoingEvent>]>([
      ['not JSON', { body: Buffer.from('{"id":') }],
      ['of the wrong shape', { body: { wrong: true } }],
      ['called poison by its handler', { body: { id: 'poison' } }],
    ])('an event that is %s is dead at once', async (_, more) => {
      const outcomes = new Inbox<string>()
      const bus = await connect({ metrics: { consumed: (_queue, outcome) => outcomes.push(outcome) } })
      const handled = new Inbox<string>()
      await bus.consume<{ id: string }>(
        names.all,
        async ({ body }) => {
          if (body.id === 'poison') throw new Poison('hopeless')
          handled.push(body.id)
        },
        {
          ...relaxed,
          parse: (body) => {
            if (typeof body !== 'object' || body === null || !('id' in body)) throw new Error('id is missing')
            return { id: String(body.id) }
          },
        },
      )
      await Promise.all([bus.publish(event('bad', more)), bus.publish(event('good'))])
      await outcomes.first(2)
      expect(outcomes.items.sort()).toEqual(['dead', 'done'])
      expect(handled.items).toEqual(['good'])
      expect(await bus.deadLetters(names.all)).toBe(1)
    })

    test('a handler that takes too long has failed', async () => {
      const bus = await connect()
      const attempts = new Inbox<number>()
      const never = gate()
      await bus.consume(
        names.all,
        async (delivery) => {
          attempts.push(delivery.attempts)
          if (delivery.attempts === 1) await never.passed
        },
        { ...relaxed, handlerTimeoutMs: 30 },
      )
      await bus.publish(event('slow'))
      expect(await attempts.first(2)).toEqual([1, 2])
      never.open()
    })

    test('dead letters put back are handled as if new', async () => {
      const outcomes = new Inbox<string>()
      const bus = await connect({ metrics: { consumed: (_queue, outcome) => outcomes.push(outcome) } })
      const handled = new Inbox<string>()
      let broken = true
      await bus.consume(
        names.all,
        async ({ body, attempts, routingKey }) => {
          if (broken) throw new Poison('broken')
          handled.push(`${ids([{ body }])[0]}:${attempts}:${routingKey}`)
        },
        { ...relaxed, prefetch: 1 },
      )
      await Promise.all(['a', 'b'].map((id) => bus.publish(event(id))))
      await outcomes.first(2)
      broken = false
      expect(await bus.replayDead(names.all, 1)).toBe(1)
      expect(await bus.replayDead(names.all, 10)).toBe(1)
      expect((await handled.first(2)).sort()).toEqual(['a:1:order.placed', 'b:1:order.placed'])
      expect(await bus.deadLetters(names.all)).toBe(0)
    })

    test('two consumers of one queue share its events, each handled once', async () => {
      const [one, two] = [await connect(), await connect()]
      const handled = new Inbox<{ by: string; body: unknown }>()
      const take = (bus: EventBus, by: string) =>
        bus.consume(names.all, async ({ body }) => handled.push({ by, body }), { ...relaxed, prefetch: 1 })
      await Promise.all([take(one, 'one'), take(two, 'two')])
      const sent = Array.from({ length: 40 }, (_, n) => `e${n}`)
      await Promise.all(sent.map((id) => one.publish(event(id))))
      await handled.first(40)
      expect(ids(handled.items).sort()).toEqual([...sent].sort())
      expect(new Set(handled.items.map(({ by }) => by))).toEqual(new Set(['one', 'two']))
    })

    test('each queue that is bound gets its own copy', async () => {
      const bus = await connect()
      const [all, paid] = [new Inbox<{ body: unknown }>(), new Inbox<{ body: unknown }>()]
      await bus.consume(names.all, async (delivery) => all.push(delivery), relaxed)
      await bus.consume(names.paid, async (delivery) => paid.push(delivery), relaxed)
      await Promise.all([bus.publish(event('placed')), bus.publish(event('paid', { routingKey: 'order.paid' }))])
      expect(ids(await all.first(2))).toEqual(['placed', 'paid'])
      expect(ids(await paid.first(1))).toEqual(['paid'])
    })

    test('stopping waits for the handler that runs, and takes nothing more', async () => {
      const bus = await connect()
      const [started, ended] = [new Inbox<string>(), new Inbox<string>()]
      const hold = gate()
      const consumer = await bus.consume(
        names.all,
        async ({ body }) => {
          started.push(ids([{ body }])[0] ?? '')
          await hold.passed
          ended.push('ended')
        },
        { ...relaxed, prefetch: 1 },
      )
      const published = Promise.all([bus.publish(event('first')), bus.publish(event('second'))])
      await started.first(1)
      const stopped = consumer.stop().then(() => ended.push('stopped'))
      hold.open()
      await stopped
      expect(ended.items).toEqual(['ended', 'stopped'])
      expect(started.items).toEqual(['first'])
      const rest = new Inbox<{ body: unknown }>()
      await bus.consume(names.all, async (delivery) => rest.push(delivery), relaxed)
      expect(ids(await rest.first(1))).toEqual(['second'])
      await published
    })
  })

  describe('listening', () => {
    const listenTo = (bus: EventBus, inbox: Inbox<{ body: unknown }>, prefetch = 100) =>
      bus.listen(
        [
          { exchange: names.events, keys: ['order.*'] },
          { exchange: names.signals, keys: ['#'] },
        ],
        (delivery) => {
          inbox.push(delivery)
          delivery.ack()
          delivery.ack()
        },
        { prefetch, onResubscribed: () => undefined },
      )

    test('two listeners get one copy of each event, in order, beside the durable queue', async () => {
      const [one, two] = [await connect(), await connect()]
      const [left, right, durable] = [new Inbox<{ body: unknown }>(), new Inbox<{ body: unknown }>(), new Inbox<{ body: unknown }>()]
      await Promise.all([
        listenTo(one, left),
        listenTo(two, right),
        one.consume(names.all, async (delivery) => durable.push(delivery), relaxed),
      ])
      const sent = Array.from({ length: 30 }, (_, n) => `e${n}`)
      await Promise.all(sent.map((id) => one.publish(event(id))))
      expect(ids(await left.first(30))).toEqual(sent)
      expect(ids(await right.first(30))).toEqual(sent)
      await durable.first(30)
    })

    test('a signal reaches every listener, and is no error when there is none', async () => {
      const bus = await connect()
      bus.signal(event('nobody', { exchange: names.signals, routingKey: 'typing.started' }))
      const inbox = new Inbox<{ body: unknown }>()
      await listenTo(bus, inbox)
      bus.signal(event('here', { exchange: names.signals, routingKey: 'typing.started' }))
      expect(ids(await inbox.first(1))).toEqual(['here'])
    })

    test('what is not acknowledged holds the rest back, at the prefetch', async () => {
      const bus = await connect()
      await bus.consume(names.all, async () => undefined, relaxed)
      const held: (() => void)[] = []
      const inbox = new Inbox<{ body: unknown }>()
      await bus.listen(
        [{ exchange: names.events, keys: ['#'] }],
        (delivery) => {
          held.push(() => delivery.ack())
          inbox.push(delivery)
        },
        { prefetch: 2, onResubscribed: () => undefined },
      )
      await Promise.all(['a', 'b', 'c', 'd'].map((id) => bus.publish(event(id))))
      await inbox.first(2)
      expect(ids(inbox.items)).toEqual(['a', 'b'])
      held[0]?.()
      expect(ids(await inbox.first(3))).toEqual(['a', 'b', 'c'])
      for (const ack of held) ack()
      expect(ids(await inbox.first(4))).toEqual(['a', 'b', 'c', 'd'])
    })

    test('a listener that throws, or reads a body that is not JSON, gets the next one', async () => {
      const bus = await connect()
      await bus.consume(names.all, async () => undefined, relaxed)
      const inbox = new Inbox<string>()
      await bus.listen(
        [{ exchange: names.events, keys: ['#'] }],
        (delivery) => {
          inbox.push(ids([delivery])[0] ?? '')
          delivery.ack()
        },
        { prefetch: 1, onResubscribed: () => undefined },
      )
      await Promise.all([bus.publish(event('bad', { body: 'no json' })), bus.publish(event('good'))])
      expect(await inbox.first(1)).toEqual(['good'])
    })

    test('a stopped listener gets nothing more', async () => {
      const bus = await connect()
      const [stopped, still] = [new Inbox<{ body: unknown }>(), new Inbox<{ body: unknown }>()]
      const consumer = await listenTo(bus, stopped)
      await listenTo(bus, still)
      await consumer.stop()
      bus.signal(event('late', { exchange: names.signals, routingKey: 'typing.started' }))
      await still.first(1)
      expect(stopped.items).toEqual([])
    })
  })

  test('an unknown queue or exchange is refused by name', async () => {
    const bus = await connect()
    await expect(bus.consume('no.such', async () => undefined, relaxed)).rejects.toThrow('no.such')
    const listening = bus.listen([{ exchange: 'no.such', keys: ['#'] }], () => undefined, { prefetch: 1, onResubscribed: () => undefined })
    await expect(listening).rejects.toThrow('no.such')
    expect(bus.state).toBe('up')
  })
}
