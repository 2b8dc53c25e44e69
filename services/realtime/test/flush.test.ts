// Frames of one turn leave in one write, in the order they were sent, also the last ones before a close.
import { createServer } from 'node:http'
import type { AddressInfo, Socket as TcpSocket } from 'node:net'
import { afterEach, expect, test } from '@jest/globals'
import { Server } from 'socket.io'
import { io, type Socket } from 'socket.io-client'
import type { EngineConnection } from '../src/confirm.ts'
import { flushOncePerTurn } from '../src/flush.ts'

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

async function pair(transport: 'websocket' | 'polling', gathered: boolean) {
  const http = createServer()
  const server = new Server(http, { perMessageDeflate: false })
  if (gathered) server.engine.on('connection', flushOncePerTurn)
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  ends.push(() => server.close())
  const client: Socket = io(`http://127.0.0.1:${(http.address() as AddressInfo).port}`, { transports: [transport], forceNew: true })
  ends.push(() => client.close())
  const connected = new Promise<void>((resolve) => client.once('connect', resolve))
  const socket = await new Promise<Parameters<Parameters<typeof server.on>[1]>[0]>((resolve) => server.once('connection', resolve))
  await connected
  return { client, socket }
}

/** System calls that write to this socket from now on. */
function countWrites(connection: EngineConnection): () => number {
  const tcp = connection.transport.socket?._socket as TcpSocket & {
    _writev: (...given: unknown[]) => void
    _write: (...given: unknown[]) => void
  }
  let writes = 0
  for (const method of ['_writev', '_write'] as const) {
    const own = tcp[method].bind(tcp)
    tcp[method] = (...given: unknown[]) => {
      writes += 1
      own(...given)
    }
  }
  return () => writes
}

async function writesFor(gathered: boolean): Promise<number> {
  const { client, socket } = await pair('websocket', gathered)
  const heard: number[] = []
  const all = new Promise<void>((resolve) =>
    client.on('number', (number: number) => {
      if (heard.push(number) === 3) resolve()
    }),
  )
  const writes = countWrites(socket.conn as unknown as EngineConnection)
  for (const number of [1, 2, 3]) socket.emit('number', number)
  await all
  expect(heard).toEqual([1, 2, 3])
  return writes()
}

test('three events of one turn are one write, where stock Socket.IO makes more', async () => {
  expect(await writesFor(true)).toBe(1)
  expect(await writesFor(false)).toBeGreaterThan(1)
})

test.each(['websocket', 'polling'] as const)('what was sent just before a close arrives before it, over %s', async (transport) => {
  const { client, socket } = await pair(transport, true)
  const heard: string[] = []
  client.on('last', (word: string) => heard.push(word))
  const closed = new Promise<void>((resolve) => client.once('disconnect', () => resolve()))
  socket.emit('last', 'words')
  socket.conn.close()
  await closed
  expect(heard).toEqual(['words'])
})

test('a connection that cannot be written to is closed, and holds up no other', async () => {
  const [broken, sound] = [await pair('websocket', true), await pair('websocket', true)]
  const heard = new Promise<string>((resolve) => sound.client.once('word', resolve))
  const gone = new Promise<void>((resolve) => broken.client.once('disconnect', () => resolve()))
  const { transport } = broken.socket.conn as unknown as { transport: { send(): void } }
  transport.send = () => {
    throw new Error('no way out')
  }
  broken.socket.emit('word', 'lost')
  sound.socket.emit('word', 'told')
  expect(await heard).toBe('told')
  await gone
})
