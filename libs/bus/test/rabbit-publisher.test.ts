// How the publisher answers a broker that says it blocks, on a channel that answers to the test (a real alarm would stop everyone's broker).
import { EventEmitter } from 'node:events'
import { Duplex } from 'node:stream'
import { expect, test } from '@jest/globals'
import type { Channel, ChannelModel } from 'amqplib'
import { Unavailable, Unroutable } from '../src/bus.ts'
import { RabbitPublisher } from '../src/rabbit-publisher.ts'

async function opened(confirmTimeoutMs: number) {
  let dropped = 0
  const publisher = new RabbitPublisher({ metrics: { signalDropped: () => dropped++ }, confirmTimeoutMs })
  const confirms: ((refusal: Error | null) => void)[] = []
  const written: object[] = []
  const socket = new CountingSocket()
  const waiting: Buffer[] = []
  const channel = Object.assign(new EventEmitter(), {
    publish: (...[, , content, properties, confirm]: [string, string, Buffer, object, (refusal: Error | null) => void]) => {
      written.push(properties)
      // As amqplib does: what was published reaches the socket, piece by piece, in one `setImmediate` that the next tick asks for.
      if (waiting.push(content) === 1)
        process.nextTick(() => setImmediate(() => waiting.splice(0).forEach((each) => void socket.write(each))))
      return confirms.push(confirm) > 0
    },
  })
  const model = Object.assign(new EventEmitter(), { createConfirmChannel: async () => channel, connection: { stream: socket } })
  await publisher.open(model as unknown as ChannelModel, channel as unknown as Channel, () => undefined)
  return { publisher, model, channel, socket, written, confirms, dropped: () => dropped }
}

/** Counts what would be system calls: one write each, or one for all that came while it was corked. */
class CountingSocket extends Duplex {
  calls = 0
  override _read(): void {}
  override _write(_chunk: unknown, _encoding: BufferEncoding, written: () => void): void {
    this.calls += 1
    written()
  }
  override _writev(_chunks: unknown, written: () => void): void {
    this.calls += 1
    written()
  }
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

test('while the broker blocks, writable waits, signals are dropped and nothing is given up; unblocked, it goes on', async () => {
  const { publisher, model, confirms, dropped } = await opened(20)
  model.emit('blocked', 'low on memory')
  let outcome = 'pending'
  const sent = publisher.send('events', 'a.b', Buffer.from('{}'), { messageId: '1' }).then(() => {
    outcome = 'confirmed'
  })
  let free = false
  const writable = publisher.writable().then(() => {
    free = true
  })
  publisher.signal('signals', 'typing', Buffer.from('{}'), {})
  expect(dropped()).toBe(1)
  // Past the confirm's time by the clock that the publisher uses.
  const end = performance.now() + 80
  while (performance.now() < end) await turn()
  expect({ outcome, free }).toEqual({ outcome: 'pending', free: false })
  model.emit('unblocked')
  await writable
  confirms[0]?.(null)
  await sent
  expect(outcome).toBe('confirmed')
  publisher.lost(new Error('end of the test'))
})

test('a lost connection rejects what is unconfirmed, once, and refuses what comes next', async () => {
  const { publisher, confirms } = await opened(1_000)
  const sent = publisher.send('events', 'a.b', Buffer.from('{}'), { messageId: '1' })
  publisher.lost(new Error('cut'))
  confirms[0]?.(new Error('channel closed'))
  await expect(sent).rejects.toThrow('lost before the confirm: cut')
  await expect(publisher.send('events', 'a.b', Buffer.from('{}'), { messageId: '2' })).rejects.toBeInstanceOf(Unavailable)
})

test('of an event in flight twice, only the write that was returned is unroutable, though both confirms come together', async () => {
  const { publisher, channel, written, confirms } = await opened(1_000)
  const twice = ['a.routed', 'a.lost'].map((key) => publisher.send('events', key, Buffer.from('{}'), { messageId: 'same' }))
  channel.emit('return', { properties: written[1] })
  for (const confirm of confirms) confirm(null)
  await expect(twice[0]).resolves.toBeUndefined()
  await expect(twice[1]).rejects.toBeInstanceOf(Unroutable)
  publisher.lost(new Error('end of the test'))
})

test('events of one turn leave in one write, those of the next in another', async () => {
  const { publisher, socket, confirms } = await opened(1_000)
  for (const calls of [1, 2]) {
    const sent = ['1', '2', '3'].map((messageId) => publisher.send('events', 'a.b', Buffer.from('{}'), { messageId }))
    await turn()
    await turn()
    expect(socket.calls).toBe(calls)
    for (const confirm of confirms.splice(0)) confirm(null)
    await Promise.all(sent)
  }
  publisher.lost(new Error('end of the test'))
})
