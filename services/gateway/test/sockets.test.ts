// Socket.IO through the gateway: both transports, two replicas, and everybody who leaves early.
import { once } from 'node:events'
import { connect } from 'node:net'
import { eventually } from '@fieldline/testing/until'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { io, type Socket } from 'socket.io-client'
import { replica, type TestReplica } from './support/replica.ts'
import { gateway, type Stage } from './support/stage.ts'

let north: TestReplica
let south: TestReplica
let stage: Stage
const clients: Socket[] = []

beforeEach(async () => {
  north = await replica('north')
  south = await replica('south')
  stage = await gateway({ REALTIME_URL: `${north.url},${south.url}` })
})
afterEach(async () => {
  for (const client of clients.splice(0)) client.disconnect()
  await stage.stop()
  await Promise.all([north.stop(), south.stop()])
})

function dial(transports: string[], options: Record<string, unknown> = {}, { url } = stage): Socket {
  const client = io(url, {
    transports,
    forceNew: true,
    reconnectionDelay: 50,
    reconnectionDelayMax: 100,
    auth: { token: 't' },
    ...options,
  })
  clients.push(client)
  return client
}
const connected = (client: Socket) =>
  client.connected ? Promise.resolve() : new Promise<void>((resolve) => client.once('connect', resolve))
const ask = (client: Socket, text: string): Promise<{ name: string; text: string; transport: string }> =>
  client.timeout(5_000).emitWithAck('echo', text)

describe.each([['polling'], ['websocket']])('over %s', (transport) => {
  test('eight clients are spread over both replicas, and each stays with its own', async () => {
    const eight = Array.from({ length: 8 }, () => dial([transport], { upgrade: false }))
    await Promise.all(eight.map(connected))
    const names = await Promise.all(eight.map(async (client) => (await ask(client, 'a')).name))
    expect(new Set(names)).toEqual(new Set(['north', 'south']))
    for (let round = 0; round < 3; round += 1) {
      const again = await Promise.all(eight.map(async (client, index) => (await ask(client, `round ${round} ${index}`)).name))
      expect(again).toEqual(names)
    }
  })

  test('the replica is told the address and the agent of the client, and none of its forged headers', async () => {
    const client = dial([transport], {
      extraHeaders: { 'x-forwarded-for': '9.9.9.9', 'x-user-id': 'admin', authorization: 'Bearer x', 'user-agent': 'phone/1' },
    })
    await connected(client)
    const [headers] = [...north.handshakes, ...south.handshakes]
    expect(headers).toMatchObject({ 'x-forwarded-for': '127.0.0.1', 'user-agent': 'phone/1' })
    expect(headers).not.toHaveProperty('x-user-id')
    expect(headers).not.toHaveProperty('authorization')
  })

  test('a client whose replica dies comes back by itself, on the other one', async () => {
    const client = dial([transport])
    await connected(client)
    const first = (await ask(client, 'a')).name
    const dying = first === 'north' ? north : south
    const gone = once(client as never, 'disconnect')
    await dying.stop()
    await gone
    await connected(client)
    expect((await ask(client, 'b')).name).not.toBe(first)
  })
})

test('a client that begins with polling upgrades to a WebSocket at the replica that owns its session', async () => {
  const four = Array.from({ length: 4 }, () => dial(['polling', 'websocket']))
  await Promise.all(
    four.map(async (client) => {
      await connected(client)
      if (client.io.engine.transport.name !== 'websocket') await new Promise((resolve) => client.io.engine.once('upgrade', resolve))
    }),
  )
  const answers = await Promise.all(four.map((client) => ask(client, 'x')))
  expect(answers.map(({ transport }) => transport)).toEqual(Array(4).fill('websocket'))
  expect(new Set(answers.map(({ name }) => name)).size).toBe(2)
})

test('a session id of a replica nobody knows gets 400, so that the client starts anew', async () => {
  const polled = await fetch(`${stage.url}/socket.io/?EIO=4&transport=polling&sid=gone.abcdef`)
  expect(polled.status).toBe(400)
  expect(await polled.json()).toEqual({ code: 1, message: 'Session ID unknown' })
  expect(await rawUpgrade('/socket.io/?EIO=4&transport=websocket&sid=gone.abcdef')).toMatch(/^HTTP\/1.1 400 /)
})

test.each([
  ['a session nobody has', '&sid=gone.abcdef', 'Session ID unknown'],
  ['no session', '', 'Bad handshake method'],
])('a body for %s is refused before it has arrived', async (_what, query, reason) => {
  const { port } = new URL(stage.url)
  const line = connect(Number(port), '127.0.0.1')
  line.write(`POST /socket.io/?EIO=4&transport=polling${query} HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n40`)
  const [answer] = (await once(line, 'data')) as [Buffer]
  line.destroy()
  expect(answer.toString()).toMatch(/^HTTP\/1.1 400 /)
  expect(answer.toString()).toContain(reason)
})

test('replicas behind a headless name are found, and one that comes later too', async () => {
  const port = Number(new URL(north.url).port)
  const named = await gateway({ REALTIME_URL: `dns+http://localhost:${port}` })
  const polled = async () => (await fetch(`${named.url}/socket.io/?EIO=4&transport=polling`)).text()
  expect(await polled()).toContain('"sid":"north.')
  await north.stop()
  north = await replica('newborn', port)
  await eventually(async () => (await polled()).includes('"sid":"newborn.'))
  await named.stop()
})

test('a replica that left its headless name gets no new sessions and keeps the ones it has, polling too, until it answers no more', async () => {
  const { port } = new URL(north.url)
  let addresses = [{ address: '127.0.0.1', family: 4 }]
  let looked = 0
  const lookup = async () => {
    looked += 1
    if (addresses.length === 0) throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' })
    return addresses
  }
  const named = await gateway({ REALTIME_URL: `dns+http://realtime:${port}` }, { lookup })
  const counted = (state: string, count: number) => metric('fieldline_gateway_realtime_replicas', count, named, `state="${state}"`)
  const handshake = async () => (await fetch(`${named.url}/socket.io/?EIO=4&transport=polling`)).status
  const client = dial(['polling'], {}, named)
  await connected(client)
  const session = client.io.engine.id

  // Nobody listens at the one that is left.
  addresses = [{ address: '::1', family: 6 }]
  await counted('draining', 1)
  expect(await handshake()).toBe(503)
  // A name server's trouble makes it no newcomer.
  addresses = []
  const before = looked
  await eventually(() => looked >= before + 3)
  expect(await handshake()).toBe(503)
  expect(await ask(client, 'still here')).toMatchObject({ name: 'north', transport: 'polling' })
  expect(client.io.engine.id).toBe(session)

  await north.stop()
  await counted('draining', 0)
  await counted('away', 1)
  await named.stop()
})

test('a replica that drains gets no new sessions and keeps the ones it has', async () => {
  const clients = Array.from({ length: 4 }, () => dial(['websocket']))
  await Promise.all(clients.map(connected))
  const ofNorth = (await Promise.all(clients.map(async (client) => [(await ask(client, 'a')).name, client] as const))).filter(
    ([name]) => name === 'north',
  )
  expect(ofNorth.length).toBeGreaterThan(0)
  north.ready = false
  await metric('fieldline_gateway_realtime_replicas', 1, stage, 'state="draining"')
  const later = Array.from({ length: 6 }, () => dial(['websocket']))
  await Promise.all(later.map(connected))
  const names = await Promise.all(later.map(async (client) => (await ask(client, 'b')).name))
  expect(new Set(names)).toEqual(new Set(['south']))
  for (const [, client] of ofNorth) expect((await ask(client, 'c')).name).toBe('north')
})

test('without a ready replica a handshake gets 503 with Retry-After, on both transports', async () => {
  await Promise.all([north.stop(), south.stop()])
  const polled = await fetch(`${stage.url}/socket.io/?EIO=4&transport=polling`)
  expect(polled.status).toBe(503)
  expect(polled.headers.get('retry-after')).toBe('1')
  expect(await polled.json()).toMatchObject({ success: false, code: 'UNAVAILABLE' })
  expect(await rawUpgrade('/socket.io/?EIO=4&transport=websocket')).toMatch(/^HTTP\/1.1 503 [\s\S]*retry-after: 1/)
})

test('a refused upgrade ends the connection, so that nothing after it reaches the replica', async () => {
  const answer = await rawUpgrade('/socket.io/?EIO=4&transport=carrier-pigeon', 'GET /internal/replica HTTP/1.1\r\nHost: x\r\n\r\n')
  expect(answer).toMatch(/^HTTP\/1.1 400 /)
  expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1)
})

test('an upgrade to anything but Socket.IO is no upgrade', async () => {
  expect(await rawUpgrade('/api/v1/chat/conversations')).toMatch(/^HTTP\/1.1 401 /)
  expect(await rawUpgrade('/socket.io/../internal/replica')).toMatch(/^HTTP\/1.1 400 /)
})

test('clients that cut the line at any moment leave nothing behind, and the others notice nothing', async () => {
  const steady = dial(['websocket'])
  await connected(steady)
  const cuts = Array.from({ length: 60 }, async (_, index) => {
    const { hostname, port } = new URL(stage.url)
    const socket = connect(Number(port), hostname)
    socket.on('error', () => undefined)
    await once(socket, 'connect')
    socket.write(upgradeRequest('/socket.io/?EIO=4&transport=websocket'))
    if (index % 3 === 0) socket.resetAndDestroy()
    else if (index % 3 === 1) socket.destroy()
    else {
      await once(socket, 'data')
      socket.write(Buffer.from([0x81, 0xff, 0, 0]))
      socket.resetAndDestroy()
    }
  })
  await Promise.all(cuts)
  expect((await ask(steady, 'still here')).text).toBe('still here')
  await metric('fieldline_gateway_websockets', 1)
})

test('web pages of configured origins may poll; others are not told so', async () => {
  const url = `${stage.url}/socket.io/?EIO=4&transport=polling`
  const mine = await fetch(url, { headers: { origin: 'http://localhost:3000' } })
  expect(mine.headers.get('access-control-allow-origin')).toBe('http://localhost:3000')
  const foreign = await fetch(url, { headers: { origin: 'https://evil.example' } })
  expect(foreign.headers.get('access-control-allow-origin')).toBeNull()
  const preflight = await fetch(url, {
    method: 'OPTIONS',
    headers: { origin: 'http://localhost:3000', 'access-control-request-method': 'POST' },
  })
  expect(preflight.status).toBe(204)
})

test('stopping the gateway ends every WebSocket and every waiting poll', async () => {
  const both = [dial(['websocket'], { reconnection: false }), dial(['polling'], { reconnection: false })]
  await Promise.all(both.map(connected))
  const gone = both.map((client) => new Promise<string>((resolve) => client.once('disconnect', resolve)))
  await stage.stop()
  expect(await Promise.all(gone)).toEqual(['transport close', 'transport error'])
})

function upgradeRequest(path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`
}

/** Everything the gateway says to an upgrade until it ends the connection. */
async function rawUpgrade(path: string, then = ''): Promise<string> {
  const { hostname, port } = new URL(stage.url)
  const socket = connect(Number(port), hostname)
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
    if (path.startsWith('/api')) socket.end()
  })
  socket.on('error', () => undefined)
  socket.write(upgradeRequest(path) + then)
  await once(socket, 'close')
  return text
}

async function metric(name: string, value: number, { url } = stage, label = ''): Promise<void> {
  const line = new RegExp(`^${name}\\{[^}]*${label}[^}]*\\} ${value}$`, 'm')
  await eventually(async () => line.test(await (await fetch(`${url}/metrics`)).text()))
}
