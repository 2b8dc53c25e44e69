// What the RabbitMQ adapter promises through an outage, a broker that blocks, and a wrong topology. Cuts happen in the test's own proxy.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { connect } from 'amqplib'
import { type BusOptions, type BusState, type EventBus, Nacked, type OutgoingEvent, Unavailable } from '../src/bus.ts'
import { connectBus } from '../src/connect.ts'
import { declareTopology, eraseTopology } from '../src/rabbit-topology.ts'
import { freshTopology, relaxed, retryDelaysMs } from './bus.contract.ts'
import { gate, Inbox } from './inbox.ts'
import { rabbitUrl } from './rabbit-server.ts'
import { TcpProxy } from './tcp-proxy.ts'

const url = await rabbitUrl()
const suite = url === null ? describe.skip : describe
const broker = url ?? 'amqp://127.0.0.1:5672'

suite(url === null ? 'SKIPPED: no RabbitMQ at AMQP_URL or 127.0.0.1:5672' : 'the bus over RabbitMQ, disturbed', () => {
  let names: ReturnType<typeof freshTopology>
  let proxy: TcpProxy
  let buses: EventBus[]

  const open = async (at: string, options: Partial<BusOptions> = {}) => {
    const bus = await connectBus(at, { topology: names.topology, name: 'test', retryDelaysMs, closeTimeoutMs: 500, ...options })
    buses.push(bus)
    return bus
  }
  const proxied = () => {
    const address = new URL(broker)
    address.hostname = '127.0.0.1'
    address.port = String(proxy.port)
    return address.href
  }
  const states = (bus: EventBus) => {
    const inbox = new Inbox<BusState>()
    bus.onState(inbox.push)
    return inbox
  }
  const event = (id: string, more: Partial<OutgoingEvent> = {}): OutgoingEvent => ({
    exchange: names.events,
    routingKey: 'order.placed',
    id,
    body: { id },
    ...more,
  })
  const idOf = ({ body }: { body: unknown }) => (body as { id: string }).id

  beforeEach(async () => {
    names = freshTopology()
    buses = []
    proxy = new TcpProxy(new URL(broker))
    await proxy.open()
  })
  afterEach(async () => {
    await Promise.all(buses.map((bus) => bus.close()))
    await proxy.close()
    await eraseTopology(broker, names.topology, retryDelaysMs)
  })

  test('with the broker out of reach it connects as down, says why, and comes up by itself', async () => {
    await proxy.close()
    const bus = await open(proxied())
    expect(bus.state).toBe('down')
    expect(bus.reason).toContain('ECONNREFUSED')
    await expect(bus.publish(event('a'))).rejects.toBeInstanceOf(Unavailable)
    const writable = bus.writable()
    const told = states(bus)
    const inbox = new Inbox<string>()
    await bus.consume(names.all, async (delivery) => inbox.push(idOf(delivery)), relaxed)
    await proxy.open()
    await told.until((items) => items.includes('up'))
    expect(bus.reason).toBeNull()
    await writable
    await bus.publish(event('b'))
    expect(await inbox.first(1)).toEqual(['b'])
  })

  test('after a cut it is down, then back: consumers and listeners too, and listeners know they missed something', async () => {
    let reconnects = 0
    const bus = await open(proxied(), { metrics: { reconnected: () => reconnects++ } })
    const [consumed, heard, resubscribed] = [new Inbox<string>(), new Inbox<string>(), new Inbox<string>()]
    await bus.consume(names.all, async (delivery) => consumed.push(idOf(delivery)), relaxed)
    await bus.listen(
      [{ exchange: names.events, keys: ['#'] }],
      (delivery) => {
        heard.push(idOf(delivery))
        delivery.ack()
      },
      { prefetch: 10, onResubscribed: () => resubscribed.push('again') },
    )
    await bus.publish(event('before'))
    await heard.first(1)
    expect(resubscribed.items).toEqual([])
    const told = states(bus)
    proxy.cut()
    await told.first(2)
    expect(told.items).toEqual(['down', 'up'])
    await resubscribed.first(1)
    await bus.publish(event('after'))
    expect(await heard.first(2)).toEqual(['before', 'after'])
    await consumed.until((items) => items.includes('after'))
    expect(reconnects).toBe(1)
  })

  test('what is in flight at a cut is rejected as unavailable, and arrives once it is published again', async () => {
    const bus = await open(proxied())
    proxy.stall(true)
    const inFlight = Promise.allSettled(Array.from({ length: 20 }, (_, n) => bus.publish(event(`e${n}`))))
    const told = states(bus)
    proxy.stall(false)
    proxy.cut()
    for (const outcome of await inFlight) expect(outcome).toMatchObject({ status: 'rejected', reason: expect.any(Unavailable) })
    await told.until((items) => items.includes('up'))
    await Promise.all(Array.from({ length: 20 }, (_, n) => bus.publish(event(`e${n}`))))
    const inbox = new Inbox<string>()
    await bus.consume(names.all, async (delivery) => inbox.push(idOf(delivery)), relaxed)
    await inbox.until((items) => new Set(items).size === 20)
  })

  test('an event whose consumer dies before its acknowledgement is delivered again', async () => {
    const dying = await open(proxied())
    const surviving = await open(broker)
    const started = new Inbox<string>()
    const never = gate()
    await dying.consume(
      names.all,
      async (delivery) => {
        started.push(idOf(delivery))
        await never.passed
      },
      relaxed,
    )
    await surviving.publish(event('a'))
    await started.first(1)
    const again = new Inbox<string>()
    await surviving.consume(
      names.all,
      async (delivery) => again.push(`${idOf(delivery)}:${delivery.redelivered}:${delivery.attempts}`),
      relaxed,
    )
    await proxy.close()
    expect(await again.first(1)).toEqual(['a:true:1'])
    never.open()
  })

  test('a failed event that cannot be passed on during an outage is not lost', async () => {
    const bus = await open(proxied())
    const attempts = new Inbox<string>()
    const fail = gate()
    await bus.consume(
      names.all,
      async (delivery) => {
        attempts.push(idOf(delivery))
        await fail.passed
        if (delivery.attempts === 1 && attempts.items.length < 3) throw new Error('at the worst moment')
      },
      relaxed,
    )
    await bus.publish(event('a'))
    await attempts.first(1)
    const told = states(bus)
    proxy.cut()
    fail.open()
    await told.until((items) => items.includes('up'))
    await attempts.until((items) => items.length >= 3)
    expect(await bus.deadLetters(names.all)).toBe(0)
  })

  test('a broker that stops reading holds publishers at writable() and refuses the careless: memory stays flat, then all of it drains', async () => {
    const bus = await open(proxied(), { closeTimeoutMs: 5_000 })
    const body = { id: 'x', filler: 'x'.repeat(4_000) }
    proxy.stall(true)
    const written: Promise<void>[] = []
    while (written.length < 9_000 && (await hasRoomNow(bus))) written.push(bus.publish(event('x', { body })))
    expect(written.length).toBeLessThan(9_000)
    const careless = Array.from({ length: 10_001 - written.length }, () => bus.publish(event('x', { body: '{}' })))
    await expect(careless.pop()).rejects.toBeInstanceOf(Unavailable)
    const freed = bus.writable()
    proxy.stall(false)
    await freed
    await expect(Promise.all([...written, ...careless])).resolves.toHaveLength(10_000)
  })

  test('an event without a confirm in time is given up as unavailable', async () => {
    const bus = await open(proxied(), { confirmTimeoutMs: 100 })
    proxy.stall(true)
    await expect(bus.publish(event('a'))).rejects.toThrow('no confirm within 100 ms')
    proxy.stall(false)
  })

  test('a queue that exists with other arguments is told loudly: error logged, state down, reason readable; put right, it comes up', async () => {
    const connection = await connect(broker)
    const channel = await connection.createChannel()
    await channel.assertQueue(names.all, { durable: true, arguments: { 'x-queue-type': 'classic' } })
    const errors = new Inbox<string>()
    const quiet = () => undefined
    const bus = await open(broker, {
      log: { debug: quiet, info: quiet, warn: quiet, error: (_fields: unknown, text?: string) => errors.push(text ?? '') },
    })
    expect(bus.state).toBe('down')
    expect(bus.reason).toContain('PRECONDITION_FAILED')
    expect(errors.items).toEqual(['a queue or exchange exists with other arguments: remove it or restore them'])
    const told = states(bus)
    await channel.deleteQueue(names.all)
    await connection.close()
    await told.until((items) => items.includes('up'))
  })

  test('a consumer whose queue is removed declares it again and goes on', async () => {
    const bus = await open(broker)
    const inbox = new Inbox<string>()
    await bus.consume(names.all, async (delivery) => inbox.push(idOf(delivery)), relaxed)
    const told = states(bus)
    const connection = await connect(broker)
    const channel = await connection.createChannel()
    await channel.deleteQueue(names.all)
    await told.until((items) => items.includes('up'))
    await declareTopology(channel, names.topology)
    await connection.close()
    await bus.publish(event('a'))
    expect(await inbox.first(1)).toEqual(['a'])
  })

  test('an event the broker refuses to keep is told as nacked', async () => {
    const bus = await open(broker)
    const connection = await connect(broker)
    const channel = await connection.createChannel()
    const { queue } = await channel.assertQueue('', { exclusive: true, arguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' } })
    await channel.bindQueue(queue, names.events, 'order.refused')
    const refused = { routingKey: 'order.refused' }
    await bus.publish(event('a', refused))
    await expect(bus.publish(event('b', refused))).rejects.toBeInstanceOf(Nacked)
    await connection.close()
  })

  test('an event that kills its consumer each time ends among the dead letters, not in a loop and not dropped', async () => {
    const bus = await open(broker)
    const connection = await connect(broker)
    const channel = await connection.createChannel()
    await channel.consume(names.all, (message) => message !== null && channel.nack(message, false, true))
    const dead = new Inbox<string>()
    await channel.consume(`${names.all}.dead`, (message) => dead.push(message?.content.toString() ?? ''))
    await bus.publish(event('killer'))
    expect(await dead.first(1)).toEqual(['{"id":"killer"}'])
    await connection.close()
  })

  test('signals are dropped and counted while the broker is away', async () => {
    let dropped = 0
    await proxy.close()
    const bus = await open(proxied(), { metrics: { signalDropped: () => dropped++ } })
    bus.signal(event('s', { exchange: names.signals, routingKey: 'typing.started' }))
    expect(dropped).toBe(1)
  })

  test('closing ends in time though the broker no longer answers', async () => {
    const bus = await open(proxied())
    proxy.stall(true)
    const lost = bus.publish(event('a')).catch((error: unknown) => error)
    const begun = performance.now()
    await bus.close()
    expect(performance.now() - begun).toBeLessThan(5_000)
    expect(await lost).toBeInstanceOf(Unavailable)
  })
})

/** Whether `writable` resolves within this turn. */
async function hasRoomNow(bus: EventBus): Promise<boolean> {
  const later = new Promise<boolean>((resolve) => setImmediate(() => resolve(false)))
  return Promise.race([bus.writable().then(() => true), later])
}
