// The HTTP server every service has: requests and what is none, errors, who comes in, health, its end, and a crowd after a restart.
import { connect } from 'node:net'
import { AppError } from '@fieldline/contracts/errors'
import { meena, rajesh, testInternalSecret, testSecret, tokenFor } from '@fieldline/testing/factories'
import { api } from '@fieldline/testing/http'
import { eventually } from '@fieldline/testing/until'
import { afterEach, describe, expect, test } from '@jest/globals'
import type { DestinationStream } from 'pino'
import { z } from 'zod'
import { authenticate, createVerifier, requireRole } from '../src/auth.ts'
import { createHealth } from '../src/health.ts'
import { createHttp, type HttpOptions, type HttpPart } from '../src/http.ts'
import { createInternalTokens, requireInternal } from '../src/internal.ts'
import { createLogger } from '../src/logger.ts'
import { createRegistry } from '../src/metrics.ts'
import { parse } from '../src/parse.ts'

const verifier = createVerifier({
  jwtSecrets: [testSecret],
  jwtAlgorithms: [],
  jwtAudience: [],
  jwtRequireExp: true,
  jwtClaims: [],
  jwtRoles: [],
})
const tokens = createInternalTokens({ secrets: [testInternalSecret], name: 'gateway' })
const Body = z.object({ content: z.string() })

let running: HttpPart | undefined
afterEach(async () => {
  await running?.stop()
  running = undefined
})

async function serve(options: Partial<HttpOptions> = {}) {
  const lines: string[] = []
  const log = createLogger({ logLevel: 'debug' }, 'test', { write: (line: string) => void lines.push(line) } satisfies DestinationStream)
  const health = createHealth()
  let release: () => void = () => undefined
  let waiting = 0
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  const http = createHttp({
    name: 'test',
    log,
    health,
    registry: createRegistry('test'),
    host: '127.0.0.1',
    port: 0,
    drainMs: 5_000,
    routers: (app) => {
      app.post('/echo', (req, res) => void res.json({ data: parse(Body, req.body), id: req.requestId }))
      app.post('/nothing', (req, res) => void res.json(parse(z.object({}), req.body)))
      app.get('/boom', () => {
        throw new Error('the password is hunter2')
      })
      app.get('/thrown', () => {
        throw 'hunter2'
      })
      app.get('/full', () => {
        throw new AppError('UNAVAILABLE', 'Busy', { retryAfter: 7 })
      })
      app.get('/half', (_req, res) => {
        res.write('{"half":')
        throw new Error('midway')
      })
      app.get('/slow', async (_req, res) => {
        waiting += 1
        await held
        res.json({ done: true })
      })
      app.get('/things/:id', (req, res) => void res.json(req.params.id))
      app.use('/internal', requireInternal(tokens))
      app.get('/internal/who', (req, res) => void res.json(req.caller))
      app.use('/me', authenticate(verifier))
      app.get('/me', (req, res) => void res.json(req.person))
      app.get('/me/desk', requireRole('Support', 'Admin'), (_req, res) => void res.json('desk'))
    },
    ...options,
  })
  running = http
  await http.start()
  return { http, health, release, lines, waiting: () => waiting, url: String(http.url), at: api(String(http.url)) }
}

/** What comes back for raw bytes, until the server closes. */
function raw(url: string, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url)
    const socket = connect({ host: hostname, port: Number(port) }, () => socket.write(bytes))
    let text = ''
    socket.setEncoding('utf8').on('data', (chunk) => {
      text += chunk
    })
    socket.once('close', () => resolve(text)).once('error', reject)
  })
}

describe('answers', () => {
  test('carry the request id that was given when it is sane, else one of ours', async () => {
    const { at } = await serve()
    const given = await at.post('/echo', { content: 'x' }, { headers: { 'x-request-id': 'phone-1.a_B' } })
    expect([given.body.id, given.headers['x-request-id']]).toEqual(['phone-1.a_B', 'phone-1.a_B'])
    for (const bad of ['a b', 'x'.repeat(129), '<script>']) {
      const { headers } = await at.get('/nope', { headers: { 'x-request-id': bad } })
      expect(headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/)
    }
  })

  test('of errors are the envelope, with the id', async () => {
    const { at } = await serve()
    const answer = await at.post('/echo', { content: 5 })
    expect(answer.status).toBe(400)
    expect(answer.body).toEqual({
      success: false,
      message: expect.stringContaining('content'),
      code: 'VALIDATION_FAILED',
      requestId: answer.headers['x-request-id'],
      details: [{ field: 'content', message: expect.any(String) }],
    })
    expect((await at.get('/nope')).body).toMatchObject({ success: false, code: 'NOT_FOUND' })
    expect((await at.get('/things/%E0%A4%A')).status).toBe(400)
    expect(answer.headers['cache-control']).toBe('no-store')
    expect(answer.headers['x-powered-by']).toBeUndefined()
  })

  test('of a fault of ours say nothing of it; the log says it once, with the stack', async () => {
    const { at, lines } = await serve()
    for (const path of ['/boom', '/thrown']) {
      const answer = await at.get(path)
      expect(answer).toMatchObject({ status: 500, body: { success: false, message: 'Internal server error', code: 'INTERNAL' } })
      expect(answer.text + JSON.stringify(answer.headers)).not.toContain('hunter2')
    }
    const told = lines.filter((line) => line.includes('the password is hunter2') && line.includes('"stack"'))
    expect(told).toHaveLength(1)
    expect(lines.filter((line) => line.includes('"level":"error"'))).toHaveLength(2)
  })

  test('of what passes say when to come back', async () => {
    const { at } = await serve()
    expect(await at.get('/full')).toMatchObject({ status: 503, headers: { 'retry-after': '7' }, body: { code: 'UNAVAILABLE' } })
  })

  test('that fail midway are cut, never whole', async () => {
    const { at } = await serve()
    await expect(at.get('/half')).rejects.toThrow()
    expect((await at.post('/echo', { content: 'alive' })).status).toBe(200)
  })
})

describe('bodies', () => {
  const json = { 'content-type': 'application/json' }
  test('that are no JSON, too large, or of another kind are refused by their own codes', async () => {
    const { at } = await serve({ jsonLimit: 1_000 })
    const code = async (call: Parameters<typeof at.send>[2]) => {
      const { status, body } = await at.send('POST', '/echo', call)
      return `${status} ${body.code}`
    }
    expect(await code({ raw: '{"content":', headers: json })).toBe('400 INVALID_JSON')
    expect(await code({ raw: JSON.stringify({ content: 'x'.repeat(2_000) }), headers: json })).toBe('413 PAYLOAD_TOO_LARGE')
    expect(await code({ raw: '{}', headers: { 'content-type': 'application/json; charset=latin1' } })).toBe('415 UNSUPPORTED_MEDIA_TYPE')
    expect(await code({ raw: '{}', headers: { ...json, 'content-encoding': 'rot13' } })).toBe('415 UNSUPPORTED_MEDIA_TYPE')
    expect(await code({ raw: 'not gzip', headers: { ...json, 'content-encoding': 'gzip' } })).toBe('400 BAD_REQUEST')
    expect(await code({ raw: 'content=x', headers: { 'content-type': 'application/x-www-form-urlencoded' } })).toBe(
      '415 UNSUPPORTED_MEDIA_TYPE',
    )
    expect(await code({ raw: '{"content":{"$ne":null}}', headers: json })).toBe('400 VALIDATION_FAILED')
    expect(await code({ raw: '{"content":"x","__proto__":{}}', headers: json })).toBe('400 VALIDATION_FAILED')
  })

  test('may be absent, null or {} where none is needed', async () => {
    const { at } = await serve()
    for (const call of [{}, { raw: '', headers: json }, { raw: 'null', headers: json }, { raw: '{}', headers: json }, { raw: '{}' }]) {
      expect((await at.send('POST', '/nothing', call)).status).toBe(200)
    }
  })

  test('of a kind the service takes itself are left alone', async () => {
    const { at } = await serve({
      otherBodies: ['multipart/form-data'],
      routers: (app) => void app.post('/up', (req, res) => void res.json(req.body ?? 'unread')),
    })
    expect((await at.send('POST', '/up', { raw: 'x', headers: { 'content-type': 'multipart/form-data; boundary=x' } })).body).toBe('unread')
  })
})

describe('doors', () => {
  test('for people take the Bearer header, and nothing else', async () => {
    const { at } = await serve()
    const token = tokenFor(rajesh)
    expect((await at.get('/me', { token })).body).toMatchObject({ id: 'rajesh' })
    for (const call of [
      {},
      { headers: { cookie: `token=${token}` } },
      { headers: { 'x-user-id': 'rajesh', 'x-user-role': 'Admin' } },
      { headers: { authorization: `Basic ${token}` } },
      { token: 'broken' },
    ]) {
      const answer = await at.get(`/me?token=${token}`, call)
      expect(answer).toMatchObject({ status: 401, body: { code: 'UNAUTHENTICATED' }, headers: { 'www-authenticate': 'Bearer' } })
    }
    expect(await at.get('/me', { token: tokenFor(rajesh, { expiresIn: -1 }) })).toMatchObject({
      status: 401,
      body: { code: 'TOKEN_EXPIRED' },
    })
  })

  test('of another role are closed', async () => {
    const { at } = await serve()
    expect((await at.get('/me/desk', { token: tokenFor(rajesh) })).status).toBe(403)
    expect((await at.get('/me/desk', { token: tokenFor(meena) })).status).toBe(200)
  })

  test('for services refuse people, and doors for people refuse services', async () => {
    const { at } = await serve()
    expect((await at.get('/internal/who', { token: tokens.issue() })).body).toBe('gateway')
    expect((await at.get('/internal/who', { token: tokenFor(meena) })).status).toBe(401)
    expect((await at.get('/internal/who')).status).toBe(401)
    expect((await at.get('/me', { token: tokens.issue() })).status).toBe(401)
  })
})

describe('health and metrics', () => {
  test('are on the public port only where there is no admin port', async () => {
    const { at, http } = await serve({ adminPort: 0 })
    for (const path of ['/health/live', '/health/ready', '/metrics']) {
      expect((await at.get(path)).status).toBe(404)
      expect((await api(String(http.adminUrl)).get(path)).status).toBe(200)
    }
  })

  test('readiness names what is missing while the process is alive', async () => {
    const { at, health } = await serve()
    const broker = health.dependency('broker')
    const cache = health.dependency('cache', { required: false })
    expect(await at.get('/health/ready')).toMatchObject({
      status: 503,
      body: { status: 'unready', dependencies: { broker: { status: 'down' } } },
    })
    expect((await at.get('/health/live')).status).toBe(200)
    broker.up()
    cache.down('away')
    expect(await at.get('/health/ready')).toMatchObject({
      status: 200,
      body: { dependencies: { cache: { status: 'down', message: 'away' } } },
    })
  })

  test('of several services in one process stand side by side', async () => {
    const one = { name: 'media', health: createHealth(), registry: createRegistry('media') }
    const other = { name: 'stats', health: createHealth(), registry: createRegistry('stats') }
    one.health.dependency('objects')
    const { at } = await serve({ admin: [one, other] })
    expect((await at.get('/health/ready')).body).toMatchObject({ status: 'unready', dependencies: { 'media/objects': { status: 'down' } } })
    const text = (await at.get('/metrics')).text
    expect(text.match(/# TYPE process_cpu_user_seconds_total/g)).toHaveLength(1)
  })

  test('durations are told by route, never by what was asked for', async () => {
    const { at } = await serve()
    for (const id of ['a', 'b']) await at.get(`/things/${id}`)
    await at.get('/secret-path-17')
    const { text } = await at.get('/metrics')
    expect(text).toMatch(
      /fieldline_http_request_duration_seconds_count\{method="GET",route="\/things\/:id",status="2xx",service="test"\} 2/,
    )
    expect(text).not.toContain('secret-path')
  })
})

describe('the end', () => {
  test('finishes what runs, takes nothing new, and is as short as it can be', async () => {
    const { http, at, release, waiting, url } = await serve()
    const answer = at.get('/slow')
    await eventually(() => waiting() === 1)
    const stopped = http.stop()
    await expect(raw(url, 'GET /health/live HTTP/1.1\r\n\r\n')).rejects.toThrow(/ECONNREFUSED/)
    release()
    expect(await answer).toMatchObject({ status: 200, body: { done: true } })
    await stopped
  })

  test('does not wait longer than the drain', async () => {
    const { http, at, waiting } = await serve({ drainMs: 200 })
    const answer = at.get('/slow').catch(() => 'cut')
    await eventually(() => waiting() === 1)
    const began = performance.now()
    await http.stop()
    expect(performance.now() - began).toBeLessThan(2_000)
    expect(await answer).toBe('cut')
  })
})

describe('what is no HTTP', () => {
  test('gets 400 where it can, and the process lives', async () => {
    const { url, at } = await serve()
    expect(await raw(url, 'HELLO\r\n\r\n')).toContain('400 Bad Request')
    expect(await raw(url, 'GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n')).toContain(
      '400 Bad Request',
    )
    expect(await raw(url, `GET / HTTP/1.1\r\nHost: x\r\nx: ${'y'.repeat(70_000)}\r\n\r\n`)).toMatch(/431|^$/)
    expect((await at.get('/health/live')).status).toBe(200)
  })
})

test('a crowd that comes at once finds its place in one go', async () => {
  const { url } = await serve()
  const { hostname, port } = new URL(url)
  const burst = async () => {
    const began = performance.now()
    const sockets = Array.from({ length: 1_000 }, () => connect(Number(port), hostname))
    await Promise.all(sockets.map((socket) => new Promise<void>((resolve) => socket.once('connect', resolve))))
    const took = performance.now() - began
    for (const socket of sockets) socket.destroy()
    return took
  }
  // Whom the kernel turns away comes again a second later: no burst that overflows is quicker, however quick the machine.
  await eventually(async () => (await burst()) < 950, { timeoutMs: 20_000 })
})
