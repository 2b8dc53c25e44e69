// Rate limits: by person, by address only for strangers, across two gateways with a real Redis, and without it when it is gone.
import { createServer, type Server, type Socket } from 'node:net'
import { backing } from '@fieldline/testing/backing'
import { eventually } from '@fieldline/testing/until'
import { afterEach, describe, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { answerJson, bearer, behind, gateway, type Stage, tokenOf } from './support/stage.ts'

const opened: { stop(): Promise<void> }[] = []
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.stop()
})
async function keep<T extends { stop(): Promise<void> }>(starting: Promise<T>): Promise<T> {
  const one = await starting
  opened.push(one)
  return one
}
const api = '/api/v1/chat'
const few = { RATE_LIMIT_ENABLED: 'true', RATE_LIMIT_READ: '5', RATE_LIMIT_WRITE: '3', RATE_LIMIT_ANONYMOUS: '4', RATE_LIMIT_DELIVERY: '6' }

async function start(env: Record<string, string> = {}): Promise<Stage> {
  const service = await keep(behind(answerJson))
  return keep(gateway({ ALL_URL: service.url, ...few, ...env }))
}
const read = (stage: Stage, person: string, headers: Record<string, string> = {}) =>
  fetch(`${stage.url}${api}/conversations`, { headers: { ...bearer(person), ...headers } })
const write = (stage: Stage, person: string) =>
  fetch(`${stage.url}${api}/messages`, { method: 'POST', headers: bearer(person), body: '{}' })
async function statuses(count: number, call: () => Promise<Response>): Promise<number[]> {
  const all: number[] = []
  for (let turn = 0; turn < count; turn += 1) {
    const answer = await call()
    await answer.text()
    all.push(answer.status)
  }
  return all
}

test('a person beyond the limit gets 429 with Retry-After and the envelope; others at the same address do not', async () => {
  const stage = await start()
  expect(await statuses(7, () => read(stage, 'flood'))).toEqual([200, 200, 200, 200, 200, 429, 429])
  const answer = await read(stage, 'flood')
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
  expect(await answer.json()).toMatchObject({ success: false, code: 'RATE_LIMITED', requestId: expect.any(String) })
  expect((await read(stage, 'other')).status).toBe(200)
})

test('every answer says how much is left', async () => {
  const stage = await start()
  const told = async () => {
    const { headers } = await read(stage, 'u1')
    return ['limit', 'remaining', 'reset'].map((name) => Number(headers.get(`ratelimit-${name}`)))
  }
  const [first, second] = [await told(), await told()]
  expect(first).toEqual([5, 4, 60])
  expect(second.slice(0, 2)).toEqual([5, 3])
  for (let turn = 0; turn < 4; turn += 1) await told()
  expect((await told()).slice(0, 2)).toEqual([5, 0])
})

test.each(['/openapi.json', '/asyncapi.json', '/docs/', '/docs'])('answers of %s say it too, and count by address', async (path) => {
  const stage = await start()
  const told = async () => {
    const { status, headers } = await fetch(`${stage.url}${path}`, { redirect: 'manual' })
    return [status < 400 ? 'answered' : status, ...['limit', 'remaining'].map((name) => Number(headers.get(`ratelimit-${name}`)))]
  }
  for (const remaining of [3, 2, 1, 0]) expect(await told()).toEqual(['answered', 4, remaining])
  expect(await told()).toEqual([429, 4, 0])
  expect(Number((await fetch(`${stage.url}${path}`)).headers.get('retry-after'))).toBeGreaterThan(0)
})

test('reads and writes are counted apart, and a person by id whatever the token', async () => {
  const stage = await start()
  expect(await statuses(4, () => write(stage, 'u1'))).toEqual([200, 200, 200, 429])
  expect((await read(stage, 'u1')).status).toBe(200)
  const newer = await fetch(`${stage.url}${api}/messages`, {
    method: 'POST',
    headers: { authorization: `Bearer ${tokenOf('u1', 'User', { expiresIn: '2h' })}` },
    body: '{}',
  })
  expect(newer.status).toBe(429)
})

test('strangers are counted by address, and their flood stops nobody with a token at that address', async () => {
  const stage = await start()
  const stranger = () => fetch(`${stage.url}${api}/conversations`, { headers: { authorization: 'Bearer wrong' } })
  expect(await statuses(6, stranger)).toEqual([401, 401, 401, 401, 429, 429])
  expect((await read(stage, 'u1')).status).toBe(200)
})

test.each([
  ['/nothing', 404],
  ['/internal/replica', 404],
  [`${api}/nothing`, 404],
  [`${api}/support`, 404],
  ['/uploads/chat', 404],
  [`${api}/messages//x`, 400],
])('%s, which is under no route, counts by address, and stops nobody with a token there', async (path, status) => {
  const stage = await start()
  expect(await statuses(6, () => fetch(`${stage.url}${path}`))).toEqual([status, status, status, status, 429, 429])
  const answer = await fetch(`${stage.url}${path}`)
  expect(answer.headers.get('ratelimit-remaining')).toBe('0')
  expect(await answer.json()).toMatchObject({ success: false, code: 'RATE_LIMITED', requestId: expect.any(String) })
  expect((await read(stage, 'u1')).status).toBe(200)
})

test('a forged X-Forwarded-For makes nobody another; a trusted proxy’s does', async () => {
  const direct = await start()
  const stranger = (stage: Stage, address: string) => () =>
    fetch(`${stage.url}${api}/conversations`, { headers: { 'x-forwarded-for': address } })
  expect(await statuses(5, stranger(direct, '1.1.1.1'))).toEqual([401, 401, 401, 401, 429])
  expect(await statuses(1, stranger(direct, '2.2.2.2'))).toEqual([429])
  const proxied = await start({ TRUSTED_PROXIES: '1' })
  expect(await statuses(5, stranger(proxied, '1.1.1.1'))).toEqual([401, 401, 401, 401, 429])
  expect(await statuses(1, stranger(proxied, '2.2.2.2'))).toEqual([401])
  expect(await statuses(1, stranger(proxied, '9.9.9.9, 1.1.1.1'))).toEqual([429])
})

test('files by signed links have a limit of their own', async () => {
  const stage = await start()
  const file = () => fetch(`${stage.url}/uploads/chat/${'a'.repeat(24)}/s/x.jpg`)
  expect(await statuses(7, file)).toEqual([200, 200, 200, 200, 200, 200, 429])
})

test('a person’s id may be anything', async () => {
  const stage = await start()
  for (const odd of ['__proto__', 'constructor', 'x'.repeat(128), 'ä ö:*?', 'a:b']) {
    expect(await statuses(6, () => read(stage, odd))).toEqual([200, 200, 200, 200, 200, 429])
  }
})

test('when the window ends it begins anew', async () => {
  const stage = await start({ RATE_LIMIT_WINDOW_MS: '1000' })
  expect(await statuses(6, () => read(stage, 'u1'))).toEqual([200, 200, 200, 200, 200, 429])
  await eventually(async () => (await read(stage, 'u1')).status === 200)
})

const redisUrl = (await backing('redis'))?.url
const withRedis = redisUrl === undefined ? describe.skip : describe
withRedis(`with a Redis${redisUrl === undefined ? ' (SKIPPED: none at REDIS_URL or 127.0.0.1:6379)' : ''}`, () => {
  const shared = () => ({ RATE_LIMIT_URL: String(redisUrl), NAMESPACE: `gwtest${process.pid}${Math.random().toString(36).slice(2, 8)}` })

  test('two gateways count together, also at once', async () => {
    const env = { ...shared(), RATE_LIMIT_READ: '40' }
    const [one, two] = [await start(env), await start(env)]
    const answers = await Promise.all(Array.from({ length: 100 }, (_, turn) => read(turn % 2 ? one : two, 'u1')))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(40)
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(60)
    await forget(env.NAMESPACE)
  })

  test('when it is gone each gateway counts for itself, nothing fails or waits, and it is used again when it is back', async () => {
    const env = shared()
    const link = await linkTo(String(redisUrl))
    const stage = await start({ ...env, RATE_LIMIT_URL: `redis://127.0.0.1:${link.port}` })
    expect(await statuses(3, () => read(stage, 'u1'))).toEqual([200, 200, 200])
    link.cut()
    const began = performance.now()
    expect(await statuses(7, () => read(stage, 'u2'))).toEqual([200, 200, 200, 200, 200, 429, 429])
    expect(performance.now() - began).toBeLessThan(1_500)
    await link.mend()
    const counted = new Redis(String(redisUrl), { keyPrefix: '' })
    await eventually(async () => {
      await read(stage, 'u3')
      return (await counted.keys(`${env.NAMESPACE}*u3*`)).length > 0
    })
    counted.disconnect()
    await forget(env.NAMESPACE)
    await link.stop()
  })

  test('one that hangs is passed over', async () => {
    const link = await linkTo(String(redisUrl))
    const stage = await start({ ...shared(), RATE_LIMIT_URL: `redis://127.0.0.1:${link.port}` })
    expect((await read(stage, 'u1')).status).toBe(200)
    link.freeze()
    const began = performance.now()
    expect((await read(stage, 'u1')).status).toBe(200)
    expect(performance.now() - began).toBeLessThan(1_000)
    await link.stop()
  })

  test('one that is down at boot keeps nobody from starting', async () => {
    const stage = await start({ RATE_LIMIT_URL: 'redis://127.0.0.1:9' })
    expect(await statuses(6, () => read(stage, 'u1'))).toEqual([200, 200, 200, 200, 200, 429])
    expect(await (await fetch(`${stage.url}/health/ready`)).json()).toMatchObject({
      dependencies: { 'rate-limits': { status: 'down', required: false } },
    })
  })
})

async function forget(namespace: string): Promise<void> {
  const client = new Redis(String(redisUrl))
  const keys = await client.keys(`${namespace}*`)
  if (keys.length > 0) await client.del(keys)
  client.disconnect()
}

/** A wire to a server that can be cut, mended and frozen. */
async function linkTo(url: string) {
  const { hostname, port } = new URL(url)
  const { connect } = await import('node:net')
  const sockets = new Set<Socket>()
  let frozen = false
  let server: Server
  const listen = (onPort: number) =>
    new Promise<number>((resolve) => {
      server = createServer((near) => {
        const far = connect(Number(port || 6379), hostname)
        for (const socket of [near, far]) {
          sockets.add(socket)
          socket.on('error', () => undefined)
          socket.on('close', () => {
            near.destroy()
            far.destroy()
          })
        }
        near.on('data', (chunk) => !frozen && far.write(chunk))
        far.on('data', (chunk) => !frozen && near.write(chunk))
      })
      server.listen(onPort, '127.0.0.1', () => {
        const address = server.address()
        resolve(typeof address === 'object' && address ? address.port : 0)
      })
    })
  const own = await listen(0)
  const cut = () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  }
  return {
    port: own,
    cut,
    mend: () => listen(own),
    freeze: () => {
      frozen = true
    },
    stop: async () => cut(),
  }
}
