import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { AppError } from '@fieldline/contracts/errors'
import { testInternalSecret } from '@fieldline/testing/factories'
import { freePort } from '@fieldline/testing/ports'
import { eventually } from '@fieldline/testing/until'
import { afterEach, describe, expect, test } from '@jest/globals'
import { z } from 'zod'
import { createHealth } from '../src/health.ts'
import { createInternalTokens } from '../src/internal.ts'
import { silentLogger } from '../src/logger.ts'
import { createRegistry } from '../src/metrics.ts'
import { createPeer, type Peer, type PeerOptions } from '../src/peer.ts'
import { withRequestId } from '../src/request-context.ts'

const internalTokens = createInternalTokens({ secrets: [testInternalSecret], name: 'realtime' })
const ends: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

type Handler = (req: IncomingMessage, res: ServerResponse) => void
async function upstream(handler: Handler, port = 0): Promise<{ url: string; port: number; end: () => void }> {
  const server: Server = createServer(handler)
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const end = () => {
    server.close()
    server.closeAllConnections()
  }
  ends.push(end)
  const bound = (server.address() as AddressInfo).port
  return { url: `http://127.0.0.1:${bound}`, port: bound, end }
}

function peerOf(url: string, more: Partial<PeerOptions> = {}): Peer {
  const peer = createPeer({
    name: 'conversation',
    url,
    internalTokens,
    log: silentLogger,
    timeoutMs: 1_000,
    breaker: { leastCalls: 4, resetMs: 200 },
    ...more,
  })
  ends.push(() => peer.stop?.())
  return peer
}

async function failure(work: Promise<unknown>): Promise<AppError> {
  try {
    await work
  } catch (error) {
    if (error instanceof AppError) return error
    throw error
  }
  throw new Error('it was answered')
}
const answer =
  (status: number, body: unknown, headers = {}): Handler =>
  (_req, res) =>
    void res.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))

describe('a call to another service', () => {
  test('carries the caller’s token or else a service’s, the query, the body and the request id', async () => {
    const seen: { url?: string | undefined; authorization?: string | undefined; id?: unknown; body: string }[] = []
    const { url } = await upstream((req, res) => {
      let body = ''
      req.on('data', (chunk) => {
        body += chunk
      })
      req.on('end', () => {
        seen.push({ url: req.url, authorization: req.headers.authorization, id: req.headers['x-request-id'], body })
        res.end('{"data":1}')
      })
    })
    const peer = peerOf(`${url}/base/`)
    const got = await withRequestId('r-1', () =>
      peer.call({
        method: 'POST',
        path: '/x',
        query: { a: 1, b: undefined, c: ['d', 'e&'] },
        body: { hi: 1 },
        token: 'person',
        schema: z.object({ data: z.number() }),
      }),
    )
    expect(got).toEqual({ status: 200, body: { data: 1 } })
    await peer.call({ method: 'GET', path: '/y' })
    expect(seen[0]).toEqual({ url: '/base/x?a=1&c=d&c=e%26', authorization: 'Bearer person', id: 'r-1', body: '{"hi":1}' })
    expect(internalTokens.verify(String(seen[1]?.authorization).slice(7))).toBe('realtime')
  })

  test('brings a refusal back as it was meant', async () => {
    const { url } = await upstream(
      answer(409, { success: false, code: 'CONVERSATION_CLOSED', message: 'It is closed', details: [{ field: 'x', message: 'y' }] }),
    )
    expect(await failure(peerOf(url).call({ method: 'GET', path: '/' }))).toMatchObject({
      code: 'CONVERSATION_CLOSED',
      message: 'It is closed',
      status: 409,
      retryable: false,
      details: [{ field: 'x' }],
    })
    const limited = await upstream(answer(429, { code: 'RATE_LIMITED', message: 'Slow down' }, { 'retry-after': '9' }))
    expect(await failure(peerOf(limited.url).call({ method: 'GET', path: '/' }))).toMatchObject({ code: 'RATE_LIMITED', retryAfter: 9 })
  })

  test('that finds nobody, nobody in time, or a fault is UNAVAILABLE or INTERNAL, never a foreign text', async () => {
    const nobody = await failure(peerOf(`http://127.0.0.1:${await freePort()}`).call({ method: 'POST', path: '/' }))
    expect(nobody).toMatchObject({ code: 'UNAVAILABLE', retryAfter: 1 })
    const hanging = await upstream(() => undefined)
    const began = performance.now()
    expect(await failure(peerOf(hanging.url, { timeoutMs: 150 }).call({ method: 'POST', path: '/' }))).toMatchObject({
      code: 'UNAVAILABLE',
    })
    expect(performance.now() - began).toBeLessThan(1_000)
    const dripping = await upstream((_req, res) => void res.write('{'))
    expect(await failure(peerOf(dripping.url, { timeoutMs: 150 }).call({ method: 'POST', path: '/' }))).toMatchObject({
      code: 'UNAVAILABLE',
    })
    const faulty = await upstream(answer(500, { code: 'INTERNAL', message: 'hunter2' }))
    expect((await failure(peerOf(faulty.url).call({ method: 'POST', path: '/' }))).message).toBe('Internal server error')
  })

  test('is tried once more where it may be, and only there', async () => {
    let calls = 0
    const { url } = await upstream((req, res) => {
      calls += 1
      if (calls % 2 === 1) req.socket.destroy()
      else res.end('{}')
    })
    const peer = peerOf(url, { breaker: { leastCalls: 100 } })
    expect((await peer.call({ method: 'GET', path: '/' })).status).toBe(200)
    expect(calls).toBe(2)
    expect((await peer.call({ method: 'POST', path: '/', body: {}, idempotent: true })).status).toBe(200)
    expect(calls).toBe(4)
    expect((await failure(peer.call({ method: 'POST', path: '/', body: {} }))).code).toBe('UNAVAILABLE')
    expect(calls).toBe(5)
  })

  test('of another shape than agreed, or with our own token refused, is a fault of ours', async () => {
    const { url } = await upstream(answer(200, { data: 'x' }))
    await expect(peerOf(url).call({ method: 'GET', path: '/', schema: z.object({ data: z.number() }) })).rejects.not.toBeInstanceOf(
      AppError,
    )
    const closed = await upstream(answer(401, { code: 'UNAUTHENTICATED', message: 'no' }))
    await expect(peerOf(closed.url).call({ method: 'GET', path: '/' })).rejects.not.toBeInstanceOf(AppError)
    expect((await failure(peerOf(closed.url).call({ method: 'GET', path: '/', token: 'person' }))).code).toBe('UNAUTHENTICATED')
  })

  test('that its asker gave up speaks against nobody', async () => {
    const { url } = await upstream(() => undefined)
    const peer = peerOf(url)
    for (let n = 0; n < 8; n += 1) {
      const ending = new AbortController()
      const call = peer.call({ method: 'GET', path: '/', signal: ending.signal })
      setImmediate(() => ending.abort())
      await expect(call).rejects.toThrow()
    }
    expect(peer.open).toBe(false)
  })
})

describe('the breaker', () => {
  test('opens after failures, answers at once, tries again, and closes', async () => {
    const port = await freePort()
    const health = createHealth()
    const peer = peerOf(`http://127.0.0.1:${port}`, { health, registry: createRegistry('test') })
    for (let n = 0; n < 6; n += 1) await failure(peer.call({ method: 'POST', path: '/' }))
    expect(peer.open).toBe(true)
    expect(await health.ready()).toMatchObject({ status: 'ready', dependencies: { conversation: { status: 'down' } } })
    expect((await failure(peer.call({ method: 'POST', path: '/' }))).retryAfter).toBe(1)
    await upstream(answer(200, {}), port)
    await eventually(async () => (await peer.call({ method: 'POST', path: '/' })).status === 200)
    expect(peer.open).toBe(false)
    expect(await health.ready()).toMatchObject({ dependencies: { conversation: { status: 'up' } } })
  })

  test('is not opened by refusals', async () => {
    const { url } = await upstream(answer(403, { code: 'FORBIDDEN', message: 'no' }))
    const peer = peerOf(url)
    for (let n = 0; n < 20; n += 1) await failure(peer.call({ method: 'GET', path: '/', token: 'x' }))
    expect(peer.open).toBe(false)
  })

  test('is not opened by the trouble of another that the peer asked, and passes its name on', async () => {
    const { url } = await upstream((_req, res) => {
      res.writeHead(503, { 'content-type': 'application/json', 'x-fault-of': 'media' })
      res.end(JSON.stringify({ code: 'UNAVAILABLE', message: 'media is not available now' }))
    })
    const peer = peerOf(url)
    for (let n = 0; n < 20; n += 1) {
      expect(await failure(peer.call({ method: 'POST', path: '/', token: 'x' }))).toMatchObject({ code: 'UNAVAILABLE', faultOf: 'media' })
    }
    expect(peer.open).toBe(false)
  })
})
