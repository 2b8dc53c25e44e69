// REST through the gateway, against real servers behind it: who gets in, what passes, and what happens when either side is slow or leaves.
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { Readable } from 'node:stream'
import { eventually } from '@fieldline/testing/until'
import { afterEach, describe, expect, test } from '@jest/globals'
import jwt from 'jsonwebtoken'
import { Agent, request } from 'undici'
import { answerJson, type Behind, bearer, behind, deadUrl, gateway, jwtSecret, type Stage, tokenOf } from './support/stage.ts'

const opened: { stop(): Promise<void> }[] = []
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.stop()
})
async function keep<T extends { stop(): Promise<void> }>(starting: Promise<T>): Promise<T> {
  const one = await starting
  opened.push(one)
  return one
}
async function stageWith(
  answer: Parameters<typeof behind>[0],
  env: Record<string, string> = {},
): Promise<{ service: Behind; stage: Stage }> {
  const service = await keep(behind(answer))
  return { service, stage: await keep(gateway({ ALL_URL: service.url, ...env })) }
}
const api = '/api/v1/chat'
const id = 'a'.repeat(24)

describe('who gets in', () => {
  test.each([
    ['no token', undefined],
    ['a broken token', 'Bearer nonsense'],
    ['alg none', `Bearer ${jwt.sign({ role: 'Admin' }, '', { algorithm: 'none', subject: 'x', expiresIn: '1h' })}`],
    ['another secret', `Bearer ${jwt.sign({ role: 'Admin' }, 'another-secret-another-secret-1234', { subject: 'x', expiresIn: '1h' })}`],
    ['an expired token', `Bearer ${tokenOf('x', 'User', { expiresIn: -10 })}`],
    [
      'a service token',
      `Bearer ${jwt.sign({ role: 'User' }, jwtSecret, { subject: 'x', audience: 'fieldline-internal', expiresIn: '1h' })}`,
    ],
  ])('%s gets 401 in the envelope, and the service never hears of it', async (_name, authorization) => {
    const { service, stage } = await stageWith(answerJson)
    const before = service.seen.length
    const answer = await fetch(`${stage.url}${api}/conversations`, authorization === undefined ? {} : { headers: { authorization } })
    expect(answer.status).toBe(401)
    expect(answer.headers.get('www-authenticate')).toBe('Bearer')
    expect(await answer.json()).toMatchObject({
      success: false,
      message: expect.any(String),
      code: expect.any(String),
      requestId: expect.any(String),
    })
    expect(service.seen.slice(before).filter(({ url }) => url?.startsWith(api))).toEqual([])
  })

  test('a token in the query string is no token', async () => {
    const { stage } = await stageWith(answerJson)
    expect((await fetch(`${stage.url}${api}/conversations?token=${tokenOf('x')}&access_token=${tokenOf('x')}`)).status).toBe(401)
  })

  test('signed links need no token; anything else about files does', async () => {
    const { stage } = await stageWith(answerJson)
    expect((await fetch(`${stage.url}/uploads/chat/${id}/sig/leaf.jpg`)).status).toBe(200)
    const posted = await fetch(`${stage.url}/uploads/chat/${id}/sig/leaf.jpg`, { method: 'POST' })
    expect([posted.status, posted.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
    expect((await fetch(`${stage.url}${api}/media`, { method: 'POST', body: 'x' })).status).toBe(401)
  })

  test('a signed link is passed on whatever token comes with it', async () => {
    const { service, stage } = await stageWith(answerJson)
    const headers = { authorization: `Bearer ${tokenOf('x', 'User', { expiresIn: -10 })}` }
    expect((await fetch(`${stage.url}/uploads/chat/${id}/sig/leaf.jpg`, { headers })).status).toBe(200)
    expect(last(service).headers).toMatchObject(headers)
  })

  test.each([
    '/internal/heads',
    '/internal/replica',
    `${api}/../../../internal/heads`,
    `${api}/conversations/../../../../internal/heads`,
    `${api}/conversations/%2e%2e/%2e%2e/internal/heads`,
    `${api}/conversations/..%2f..%2finternal`,
    `${api}/conversations/\\..\\internal`,
    `//internal/heads`,
    `/uploads/chat/../../internal/heads`,
    `/uploads/chat/%2e%2e%2f%2e%2e%2finternal`,
    '/INTERNAL/heads',
    '/uploads/other/x',
    '/api/v1/internal/heads',
    '/api/v1/chat',
  ])('%s is not passed on', async (path) => {
    const { service, stage } = await stageWith(answerJson)
    const before = service.seen.length
    const answer = await raw(stage.url, 'GET', path, bearer('u1'))
    expect([400, 404]).toContain(answer.status)
    expect(service.seen.slice(before).filter(({ url }) => url !== '/health/live' && url !== '/internal/replica')).toEqual([])
  })
})

describe('what passes', () => {
  test('each path goes to its service', async () => {
    const named = (name: string) => keep(behind((_req, res) => res.end(name)))
    const [conversation, media, stats] = await Promise.all([named('conversation'), named('media'), named('stats')])
    const stage = await keep(gateway({ CONVERSATION_URL: conversation.url, MEDIA_URL: media.url, STATS_URL: stats.url }))
    const ask = async (method: string, path: string) => (await fetch(`${stage.url}${path}`, { method, headers: bearer('u1') })).text()
    expect(await ask('POST', `${api}/conversations`)).toBe('conversation')
    expect(await ask('PATCH', `${api}/conversations/${id}/read`)).toBe('conversation')
    expect(await ask('GET', `${api}/messages/${id}`)).toBe('conversation')
    expect(await ask('GET', `${api}/support/conversations`)).toBe('conversation')
    expect(await ask('GET', `${api}/support/stats?tz=UTC`)).toBe('stats')
    expect(await ask('POST', `${api}/media`)).toBe('media')
    expect(await ask('GET', `/uploads/chat/${id}/s/x.jpg`)).toBe('media')
  })

  test('identities, foreign forwarding headers and hop-by-hop headers stay outside; token, id and trace pass', async () => {
    const { service, stage } = await stageWith(answerJson)
    const { authorization } = bearer('u1')
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    await raw(stage.url, 'GET', `${api}/conversations`, {
      authorization,
      traceparent,
      'x-request-id': 'mine-1',
      'x-user-id': 'admin1',
      'x-user-role': 'Admin',
      'x-forwarded-for': '6.6.6.6',
      'x-forwarded-host': 'evil.example',
      'x-real-ip': '6.6.6.6',
      forwarded: 'for=6.6.6.6',
      te: 'trailers',
      'proxy-authorization': 'Basic x',
      connection: 'keep-alive, x-user-name',
      'x-user-name': 'evil',
    })
    const { headers } = last(service)
    expect(headers).toMatchObject({
      authorization,
      traceparent,
      'x-request-id': 'mine-1',
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-proto': 'http',
    })
    for (const name of ['x-user-id', 'x-user-role', 'x-real-ip', 'forwarded', 'te', 'proxy-authorization', 'x-user-name'])
      expect(headers).not.toHaveProperty(name)
    expect(headers['x-forwarded-host']).toBe(new URL(stage.url).host)
  })

  test('behind a trusted proxy the address is the one that proxy saw', async () => {
    const { service, stage } = await stageWith(answerJson, { TRUSTED_PROXIES: '1' })
    await raw(stage.url, 'GET', `${api}/conversations`, {
      ...bearer('u1'),
      'x-forwarded-for': '6.6.6.6, 203.0.113.9',
      'x-forwarded-proto': 'https',
    })
    expect(last(service).headers).toMatchObject({ 'x-forwarded-for': '203.0.113.9', 'x-forwarded-proto': 'https' })
  })

  test('status, body and own headers of the service come back; its software and its CORS do not', async () => {
    const { stage } = await stageWith((_req, res) => {
      res.writeHead(409, {
        'Content-Type': 'application/json',
        ETag: '"e"',
        Server: 'x',
        'X-Powered-By': 'x',
        'Access-Control-Allow-Origin': '*',
        Vary: 'Origin',
      })
      res.end('{"success":false}')
    })
    const answer = await fetch(`${stage.url}${api}/conversations`, { headers: bearer('u1') })
    expect([answer.status, await answer.text(), answer.headers.get('etag')]).toEqual([409, '{"success":false}', '"e"'])
    for (const name of ['server', 'x-powered-by', 'access-control-allow-origin']) expect(answer.headers.get(name)).toBeNull()
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
    expect(answer.headers.get('x-request-id')).toMatch(/./)
  })

  test('what an answer varies by is named once, though CORS, the service and compression all name it', async () => {
    const long = JSON.stringify({ data: 'Krankheit '.repeat(500) })
    const { stage } = await stageWith((_req, res) => {
      res.writeHead(200, { 'Content-Type': 'application/json', Vary: ['origin', 'Accept-Language, Accept-Encoding'] })
      res.end(long)
    })
    for (const origin of [{}, { origin: 'http://localhost:3000' }]) {
      const { headers } = await raw(stage.url, 'GET', `${api}/conversations`, { ...bearer('u1'), ...origin, 'accept-encoding': 'gzip' })
      const names = String(headers.vary).toLowerCase().split(', ').sort()
      expect({ origin, names }).toEqual({ origin, names: ['accept-encoding', 'accept-language', 'origin'] })
    }
  })

  test('JSON above a size is compressed for whom it may be; files never are', async () => {
    const long = JSON.stringify({ data: 'Krankheit '.repeat(500) })
    const { stage } = await stageWith((req, res) => {
      res.setHeader('Content-Type', req.url?.startsWith('/uploads') ? 'image/jpeg' : 'application/json')
      res.setHeader('Content-Length', Buffer.byteLength(long))
      res.end(long)
    })
    const plain = await raw(stage.url, 'GET', `${api}/conversations`, bearer('u1'))
    expect(plain.headers['content-encoding']).toBeUndefined()
    const small = await raw(stage.url, 'GET', `${api}/conversations`, { ...bearer('u1'), 'accept-encoding': 'gzip' })
    expect(small.headers['content-encoding']).toBe('gzip')
    expect(small.body.length).toBeLessThan(500)
    const file = await raw(stage.url, 'GET', `/uploads/chat/${id}/s/x.jpg`, { 'accept-encoding': 'gzip' })
    expect(file.headers['content-encoding']).toBeUndefined()
  })

  test('connections to the services are kept', async () => {
    const { service, stage } = await stageWith(answerJson)
    for (let turn = 0; turn < 20; turn += 1) await (await fetch(`${stage.url}${api}/conversations`, { headers: bearer('u1') })).text()
    const ports = new Set(service.seen.filter(({ url }) => url?.startsWith(api)).map(({ socket }) => socket.remotePort))
    expect(ports.size).toBeLessThanOrEqual(1)
  })

  test('a wish to upgrade to HTTP/2 is ignored', async () => {
    const { stage } = await stageWith(answerJson)
    const answer = await raw(stage.url, 'GET', `${api}/conversations`, {
      ...bearer('u1'),
      connection: 'Upgrade, HTTP2-Settings',
      upgrade: 'h2c',
      'http2-settings': 'AAMAAABkAAQAAP__',
    })
    expect(answer.status).toBe(200)
  })
})

describe('bodies', () => {
  test('JSON above the limit gets 413, declared or not', async () => {
    const { service, stage } = await stageWith(answerJson, { JSON_LIMIT_BYTES: '2048' })
    const headers = { ...bearer('u1'), 'content-type': 'application/json' }
    const declared = await fetch(`${stage.url}${api}/messages`, { method: 'POST', headers, body: 'x'.repeat(4_000) })
    expect([declared.status, ((await declared.json()) as { code: string }).code]).toEqual([413, 'PAYLOAD_TOO_LARGE'])
    const chunked = await request(`${stage.url}${api}/messages`, {
      method: 'POST',
      headers,
      body: Readable.from(pieces('x'.repeat(500), 10)),
    })
    expect([chunked.statusCode, ((await chunked.body.json()) as { code: string }).code]).toEqual([413, 'PAYLOAD_TOO_LARGE'])
    expect(service.seen.filter(({ method }) => method === 'POST')).toEqual([])
  })

  test('a JSON body that never ends gets 400, and a service is not kept waiting for it', async () => {
    const { service, stage } = await stageWith(answerJson, { BODY_TIMEOUT_MS: '100' })
    const asked = httpRequest(`${stage.url}${api}/messages`, {
      method: 'POST',
      headers: { ...bearer('u1'), 'content-length': '100', 'content-type': 'application/json' },
    })
    asked.on('error', () => undefined)
    asked.write('{')
    const [answer] = await once(asked, 'response')
    expect(answer.statusCode).toBe(400)
    asked.destroy()
    expect(service.seen.filter(({ method }) => method === 'POST')).toEqual([])
  })

  test('an upload of 40 MB passes at the pace of the service and is never whole in memory', async () => {
    let received = 0
    const { stage } = await stageWith(async (req, res) => {
      if (req.method !== 'POST') return res.end()
      let pauses = 0
      for await (const chunk of req) {
        received += chunk.length
        // Slower than the client for a while, so that what waits must wait at the client.
        if (pauses < 30) await new Promise((resolve) => setTimeout(resolve, 10))
        pauses += 1
      }
      res.end('done')
    })
    // What is under way between client and service: sockets' buffers, and whatever the gateway holds.
    let most = 0
    const chunk = Buffer.alloc(65_536, 1)
    async function* file() {
      for (let sent = 0; sent < 640; sent += 1) {
        most = Math.max(most, sent * chunk.length - received)
        yield chunk
      }
    }
    const { statusCode, body } = await request(`${stage.url}${api}/media`, {
      method: 'POST',
      headers: { ...bearer('u1'), 'content-type': 'multipart/form-data; boundary=x' },
      body: Readable.from(file()),
    })
    expect([statusCode, await body.text(), received]).toEqual([200, 'done', 640 * 65_536])
    expect(most).toBeLessThan(16 * 1_048_576)
  })

  test('the length of an upload is told to the service when the client tells it', async () => {
    const { service, stage } = await stageWith(answerJson)
    await (await fetch(`${stage.url}${api}/media`, { method: 'POST', headers: bearer('u1'), body: Buffer.alloc(1_000) })).text()
    expect(last(service).headers['content-length']).toBe('1000')
  })

  test('an upload above the limit gets 413', async () => {
    const { stage } = await stageWith(answerJson, { UPLOAD_LIMIT_BYTES: '100000' })
    const chunked = await request(`${stage.url}${api}/media`, {
      method: 'POST',
      headers: bearer('u1'),
      body: Readable.from(pieces('x'.repeat(10_000), 30)),
    })
    expect([chunked.statusCode, ((await chunked.body.json()) as { code: string }).code]).toEqual([413, 'PAYLOAD_TOO_LARGE'])
  })

  test('a refusal that comes before the upload has ended reaches the client', async () => {
    const { stage } = await stageWith((req, res) => {
      if (req.method !== 'POST') return res.end()
      req.once('data', () => res.writeHead(415, { 'Content-Type': 'application/json' }).end('{"code":"UNSUPPORTED_MEDIA_TYPE"}'))
    })
    const answer = await request(`${stage.url}${api}/media`, {
      method: 'POST',
      headers: bearer('u1'),
      body: Readable.from(pieces('x'.repeat(65_536), 60)),
    })
    expect(answer.statusCode).toBe(415)
    expect(await answer.body.json()).toEqual({ code: 'UNSUPPORTED_MEDIA_TYPE' })
  })

  test('an upload that comes slowly, but comes, is not given up, however long it takes', async () => {
    let received = 0
    const { stage } = await stageWith(
      (req, res) => {
        if (req.method !== 'POST') return res.end()
        req.on('data', (chunk: Buffer) => {
          received += chunk.length
        })
        req.on('end', () => res.writeHead(201).end('stored'))
      },
      { IDLE_TIMEOUT_MS: '600' },
    )
    async function* phone() {
      for (let sent = 0; sent < 25; sent += 1) {
        await new Promise((resolve) => setTimeout(resolve, 100))
        yield Buffer.alloc(500)
      }
    }
    const { statusCode, body } = await request(`${stage.url}${api}/media`, {
      method: 'POST',
      headers: bearer('u1'),
      body: Readable.from(phone()),
    })
    expect([statusCode, await body.text(), received]).toEqual([201, 'stored', 12_500])
  })

  test('a service that takes no more of an upload, or gives no more of a file, is given up after the idle time', async () => {
    const { stage } = await stageWith(
      (req, res) => {
        if (req.method === 'POST') req.pause()
        else if (req.url?.startsWith('/uploads')) res.writeHead(200, { 'Content-Length': '1000' }).write('some')
        else res.end()
      },
      { IDLE_TIMEOUT_MS: '300' },
    )
    const upload = await fetch(`${stage.url}${api}/media`, { method: 'POST', headers: bearer('u1'), body: Buffer.alloc(20_000_000) })
    expect(upload.status).toBe(503)
    const file = await fetch(`${stage.url}/uploads/chat/${id}/s/x.mp4`)
    await expect(file.text()).rejects.toThrow()
  })

  test('a service that says it is at work on an upload is waited for; one that falls silent is given up', async () => {
    let work = Promise.resolve()
    const { stage } = await stageWith(
      (req, res) => {
        req.resume()
        if (req.method !== 'POST') return res.end()
        const saying = Number(req.headers['content-length']) > 1
        let said = 0
        const pulse = setInterval(() => {
          if (saying && said < 12) res.writeProcessing()
          else if (saying) res.writeHead(201).end('stored')
          said += 1
        }, 100)
        work = new Promise((resolve) => res.once('close', resolve)).then(() => clearInterval(pulse))
      },
      { IDLE_TIMEOUT_MS: '600' },
    )
    const upload = (body: string) => fetch(`${stage.url}${api}/media`, { method: 'POST', headers: bearer('u1'), body })
    const answer = await upload('long')
    expect([answer.status, await answer.text()]).toEqual([201, 'stored'])
    await work
    expect((await upload('x')).status).toBe(503)
    await work
  })

  test('an upload without a byte for the idle time is given up', async () => {
    const gone = Promise.withResolvers<void>()
    const { stage } = await stageWith(
      (req, res) => {
        if (req.method !== 'POST') return res.end()
        req.resume()
        req.once('close', () => gone.resolve())
      },
      { IDLE_TIMEOUT_MS: '150' },
    )
    const asked = httpRequest(`${stage.url}${api}/media`, { method: 'POST', headers: { ...bearer('u1'), 'content-length': '1000' } })
    asked.write('some')
    await Promise.all([once(asked, 'error'), gone.promise])
  })
})

describe('whoever leaves first', () => {
  test('a client that leaves while its upload runs ends it at the service, and the gateway lives on', async () => {
    const gone = Promise.withResolvers<void>()
    const { stage } = await stageWith((req, res) => {
      if (req.method !== 'POST') return answerJson(req, res)
      req.resume()
      req.once('close', () => gone.resolve())
    })
    const asked = httpRequest(`${stage.url}${api}/media`, { method: 'POST', headers: { ...bearer('u1'), 'content-length': '1000000' } })
    asked.on('error', () => undefined)
    asked.write(Buffer.alloc(100_000))
    await once(asked, 'drain').catch(() => undefined)
    asked.destroy()
    await gone.promise
    expect((await fetch(`${stage.url}${api}/conversations`, { headers: bearer('u1') })).status).toBe(200)
  })

  test('a client that leaves while its download runs ends it at the service', async () => {
    const gone = Promise.withResolvers<void>()
    const { stage } = await stageWith((req, res) => {
      if (!req.url?.startsWith('/uploads')) return answerJson(req, res)
      res.once('close', () => gone.resolve())
      const more = () => {
        while (!res.destroyed && res.write(Buffer.alloc(65_536)));
      }
      res.on('drain', more)
      more()
    })
    const { body } = await request(`${stage.url}/uploads/chat/${id}/s/x.mp4`, { dispatcher: new Agent() })
    body.on('error', () => undefined)
    await once(body, 'data')
    body.destroy()
    await gone.promise
    expect((await fetch(`${stage.url}${api}/conversations`, { headers: bearer('u1') })).status).toBe(200)
  })

  test('a client that leaves before the answer ends the question', async () => {
    const asked = Promise.withResolvers<void>()
    const gone = Promise.withResolvers<void>()
    const { stage } = await stageWith((req, res) => {
      if (!req.url?.startsWith(api)) return res.end()
      res.once('close', () => gone.resolve())
      asked.resolve()
    })
    const leaving = new AbortController()
    const answer = fetch(`${stage.url}${api}/conversations`, { headers: bearer('u1'), signal: leaving.signal })
    await asked.promise
    leaving.abort()
    await expect(answer).rejects.toThrow()
    await gone.promise
  })

  test('an answer that the service cuts short is cut short for the client, and never taken for the whole', async () => {
    const { stage } = await stageWith((req, res) => {
      if (!req.url?.startsWith(api)) return res.end()
      res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': '1000' })
      res.write('{"data":', () => res.socket?.resetAndDestroy())
    })
    const answer = await fetch(`${stage.url}${api}/conversations`, { headers: bearer('u1') })
    await expect(answer.text()).rejects.toThrow()
    expect((await fetch(`${stage.url}/health/live`)).status).toBe(200)
  })

  test('200 clients that leave at random moments, both directions, leave no connection at the service', async () => {
    const { service, stage } = await stageWith((req, res) => {
      if (!req.url?.startsWith(api)) return res.end()
      req.on('data', () => undefined)
      setTimeout(() => res.end(Buffer.alloc(200_000)), Math.random() * 20)
    })
    const { hostname, port } = new URL(stage.url)
    await Promise.all(
      Array.from({ length: 200 }, async (_, turn) => {
        const socket = connect(Number(port), hostname)
        socket.on('error', () => undefined)
        await once(socket, 'connect')
        const head = `${turn % 2 ? 'POST' : 'GET'} ${api}/${turn % 2 ? 'media' : 'conversations'} HTTP/1.1\r\nHost: x\r\nAuthorization: ${bearer('u1').authorization}\r\n`
        socket.write(turn % 2 ? `${head}Content-Length: 50000\r\n\r\n${'x'.repeat(Math.floor(Math.random() * 50_000))}` : `${head}\r\n`)
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 30))
        if (turn % 3) socket.resetAndDestroy()
        else socket.destroy()
      }),
    )
    expect((await fetch(`${stage.url}${api}/conversations`, { headers: bearer('u1') })).status).toBe(200)
    await stage.stop()
    await eventually(
      async () => (await new Promise<number>((resolve) => service.server.getConnections((_error, count) => resolve(count)))) === 0,
    )
  })
})

describe('a service in trouble', () => {
  test('refused connections get 503 with Retry-After', async () => {
    const stage = await keep(gateway({ ALL_URL: await deadUrl() }))
    const answer = await fetch(`${stage.url}${api}/conversations`, { headers: bearer('u1') })
    expect(answer.status).toBe(503)
    expect(answer.headers.get('retry-after')).toBe('1')
    expect(await answer.json()).toMatchObject({ success: false, code: 'UNAVAILABLE', message: 'conversation is not available now' })
  })

  test('what is no HTTP gets 502', async () => {
    const { createServer } = await import('node:net')
    const server = createServer((socket) => socket.on('error', () => undefined).once('data', () => socket.end('SSH-2.0-nothing\r\n')))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    const stage = await keep(gateway({ ALL_URL: `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}` }))
    const answer = await fetch(`${stage.url}${api}/messages`, { method: 'POST', headers: bearer('u1'), body: '{}' })
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([502, 'BAD_GATEWAY'])
    server.close()
  })

  test('a read whose connection breaks is asked once more; a write is not', async () => {
    const counts = { GET: 0, POST: 0 }
    const { stage } = await stageWith((req, res) => {
      if (!req.url?.startsWith(api)) return res.end()
      const method = req.method === 'POST' ? 'POST' : 'GET'
      counts[method] += 1
      if (counts[method] === 1) return req.socket.resetAndDestroy()
      return answerJson(req, res)
    })
    expect((await fetch(`${stage.url}${api}/conversations`, { headers: bearer('u1') })).status).toBe(200)
    expect((await fetch(`${stage.url}${api}/messages`, { method: 'POST', headers: bearer('u1'), body: '{}' })).status).toBe(503)
    expect(counts).toEqual({ GET: 2, POST: 1 })
  })

  test('a service that does not answer in time gets its client 503', async () => {
    const { stage } = await stageWith((req, res) => (req.url?.startsWith(api) ? undefined : res.end()), { READ_TIMEOUT_MS: '100' })
    const answer = await fetch(`${stage.url}${api}/conversations`, { headers: bearer('u1') })
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1'])
  })
})

function last({ seen }: Behind) {
  const request = seen.filter(({ url }) => url?.startsWith(api) || url?.startsWith('/uploads')).at(-1)
  if (!request) throw new Error('the service has seen nothing')
  return request
}

async function* pieces(text: string, count: number) {
  for (let sent = 0; sent < count; sent += 1) yield Buffer.from(text)
}

/** A request whose path and headers are sent as they are. */
function raw(
  base: string,
  method: string,
  path: string,
  headers: Record<string, string>,
): Promise<{ status: number; headers: Record<string, unknown>; body: Buffer }> {
  const { hostname, port } = new URL(base)
  return new Promise((resolve, reject) => {
    const asked = httpRequest({ hostname, port, method, path, headers, agent: false }, async (answer) => {
      const chunks: Buffer[] = []
      for await (const chunk of answer) chunks.push(chunk)
      resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(chunks) })
    })
    asked.on('error', reject)
    asked.end()
  })
}
