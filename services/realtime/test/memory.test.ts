// What an idle socket must not keep: its handshake's request, with headers, on either transport (stack.md, "Idle memory").
import { createServer, type IncomingMessage, Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { asha, rajesh } from '@fieldline/testing/factories'
import { eventually } from '@fieldline/testing/until'
import { expect, test } from '@jest/globals'
import { io } from 'socket.io-client'
import { createEngine, releaseHandshake } from '../src/engine.ts'
import type { ChatSocket } from '../src/session.ts'
import { openHouse } from './house.ts'

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

/** Requests and upgrades of Socket.IO that any server of this process gets from now on. */
function watchRequests(): { readonly seen: WeakRef<IncomingMessage>[]; stop(): void } {
  const seen: WeakRef<IncomingMessage>[] = []
  const { emit } = Server.prototype
  Server.prototype.emit = function (this: Server, event: string, ...args: unknown[]) {
    const [request] = args as [IncomingMessage]
    if ((event === 'upgrade' || event === 'request') && request.url?.startsWith('/socket.io')) seen.push(new WeakRef(request))
    return Reflect.apply(emit, this, [event, ...args])
  } as typeof emit
  return {
    seen,
    stop: () => {
      Server.prototype.emit = emit
    },
  }
}

test.each([[['websocket']], [['polling', 'websocket']]])(
  'a connected socket keeps no request of its handshake in memory (%s)',
  async (transports) => {
    const house = await openHouse()
    const requests = watchRequests()
    try {
      const app = await house.replica()
      const id = house.conversation.create(rajesh, asha)
      const clients = await Promise.all(Array.from({ length: 10 }, () => house.client(app, rajesh, { transports })))
      await eventually(() => clients.every(({ socket }) => socket.io.engine.transport.name === 'websocket'))
      for (const client of clients) await client.join(id)
      expect(requests.seen.length).toBeGreaterThanOrEqual(clients.length)
      await eventually(async () => {
        await nextTurn()
        collect()
        return requests.seen.every((request) => request.deref() === undefined)
      })
      expect(clients.every(({ socket }) => socket.connected)).toBe(true)
    } finally {
      requests.stop()
      await house.stop()
    }
  },
)

test('admitted sockets share what is left of their handshakes, and listen for nothing that only polling tells', async () => {
  const http = createServer()
  const engine = createEngine(
    http,
    {
      socketPath: '/socket.io',
      packetBytes: 65_536,
      pingIntervalMs: 25_000,
      pingTimeoutMs: 20_000,
      connectTimeoutMs: 15_000,
      corsOrigins: [],
      nodeEnv: 'test',
      trustedProxies: 0,
      mostConnections: 10,
      mostUnauthenticated: 10,
    },
    () => 'r1',
    () => {
      throw new Error('nothing is refused here')
    },
  )
  const arrived: ChatSocket[] = []
  engine.io.on('connection', (socket) => {
    releaseHandshake(socket)
    arrived.push(socket)
  })
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`
  const clients = ['one', 'two'].map((token) => io(url, { transports: ['websocket'], forceNew: true, auth: { token } }))
  try {
    await eventually(() => arrived.length === clients.length)
    const [one, two] = arrived
    expect(one?.handshake).toBe(two?.handshake)
    expect(JSON.stringify(one?.handshake)).not.toMatch(/one|websocket/)
    for (const { conn } of arrived) expect([conn.transport.listenerCount('headers'), conn.listenerCount('upgrade')]).toEqual([0, 0])
  } finally {
    for (const client of clients) client.close()
    await engine.io.close()
  }
})
