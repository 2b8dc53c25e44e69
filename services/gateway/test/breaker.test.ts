// Breakers against upstreams that hang, fail, refuse and recover.
import { request as httpRequest } from 'node:http'
import { eventually } from '@fieldline/testing/until'
import { afterEach, expect, test } from '@jest/globals'
import { answerJson, type Behind, bearer, behind, deadUrl, gateway, type Stage } from './support/stage.ts'

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
const quick = { BREAKER_LEAST_REQUESTS: '4', BREAKER_RESET_MS: '200', READ_TIMEOUT_MS: '80' }

/** A conversation service whose answer can be changed: `told.mode`. */
async function stageWith(mode: Mode, env: Record<string, string> = {}): Promise<{ service: Behind; told: { mode: Mode }; stage: Stage }> {
  const told = { mode }
  const service = await keep(
    behind((req, res) => {
      if (!req.url?.startsWith(api) || told.mode === 'well') return answerJson(req, res)
      if (told.mode === 'hanging') return undefined
      if (told.mode === 'cutting') return req.socket.destroy()
      if (told.mode === 'patient') return req.resume().once('end', () => answerJson(req, res))
      res.writeHead(told.mode, { 'Content-Type': 'application/json' })
      return res.end('{"success":false}')
    }),
  )
  return { service, told, stage: await keep(gateway({ ALL_URL: service.url, ...quick, ...env })) }
}
/** `patient`: well, once the request has arrived in whole. */
type Mode = 'well' | 'patient' | 'hanging' | 'cutting' | number

const ask = (stage: Stage, path = '/conversations', method = 'GET') =>
  fetch(`${stage.url}${api}${path}`, { method, headers: bearer('u1'), ...(method === 'POST' ? { body: '{}' } : {}) })
const asked = (service: Behind) => service.seen.filter(({ url }) => url?.startsWith(api)).length
const reports = async (stage: Stage, name = 'conversation') => {
  const { dependencies } = (await (await fetch(`${stage.url}/health/ready`)).json()) as {
    dependencies: Record<string, { status: string; message?: string }>
  }
  const metrics = await (await fetch(`${stage.url}/metrics`)).text()
  return { ...dependencies[name], state: Number(new RegExp(`breaker_state\\{[^}]*upstream="${name}"[^}]*\\} (\\d)`).exec(metrics)?.[1]) }
}
async function halfOpen(stage: Stage, name?: string): Promise<void> {
  await eventually(async () => (await reports(stage, name)).state === 1)
}
async function open(stage: Stage, method = 'GET'): Promise<void> {
  for (let turn = 0; turn < 6; turn += 1) await (await ask(stage, method === 'POST' ? '/messages' : '/conversations', method)).text()
}

test.each<[string, Mode]>([
  ['5xx answers', 500],
  ['503 answers', 503],
  ['broken connections', 'cutting'],
  ['late answers', 'hanging'],
])('%s open it: then 503 with Retry-After at once, without asking', async (_name, mode) => {
  const { service, stage } = await stageWith(mode, { BREAKER_RESET_MS: '60000', READ_TIMEOUT_MS: '800' })
  await open(stage)
  const before = asked(service)
  const began = performance.now()
  const answer = await ask(stage)
  expect(performance.now() - began).toBeLessThan(700)
  expect(answer.status).toBe(503)
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(50)
  expect(await answer.json()).toMatchObject({ success: false, code: 'UNAVAILABLE', requestId: expect.any(String) })
  expect(asked(service)).toBe(before)
  expect(await reports(stage)).toMatchObject({ status: 'down', message: 'BREAKER_OPEN', state: 2 })
})

test('refused connections open it', async () => {
  const stage = await keep(gateway({ ALL_URL: await deadUrl(), ...quick, BREAKER_RESET_MS: '60000' }))
  await open(stage)
  expect(Number((await ask(stage)).headers.get('retry-after'))).toBeGreaterThan(50)
})

test.each([400, 401, 403, 404, 409, 413, 429])('answers of %d never open it', async (status) => {
  const { service, stage } = await stageWith(status)
  for (let turn = 0; turn < 12; turn += 1) expect((await ask(stage)).status).toBe(status)
  expect(asked(service)).toBe(12)
})

test('a 5xx that the service blames on another does not open it', async () => {
  const service = await keep(behind((_req, res) => res.writeHead(503, { 'X-Fault-Of': 'media', 'Retry-After': '1' }).end('{}')))
  const stage = await keep(gateway({ ALL_URL: service.url, ...quick }))
  for (let turn = 0; turn < 12; turn += 1) {
    const answer = await ask(stage)
    expect([answer.status, answer.headers.get('x-fault-of')]).toEqual([503, null])
  }
  expect(asked(service)).toBe(12)
})

test('clients that leave never open it, and do not hide failures either', async () => {
  const { service, told, stage } = await stageWith('hanging', {
    BREAKER_RESET_MS: '60000',
    READ_TIMEOUT_MS: '60000',
    WRITE_TIMEOUT_MS: '60000',
  })
  for (let turn = 0; turn < 10; turn += 1) {
    const leaving = httpRequest(`${stage.url}${api}/conversations`, { headers: bearer('u1') })
    leaving.on('error', () => undefined)
    leaving.end()
    await eventually(() => asked(service) > turn)
    leaving.destroy()
  }
  told.mode = 'well'
  expect((await ask(stage)).status).toBe(200)
  // The ten that left are neither successes nor failures: four failures of five answers are enough.
  told.mode = 500
  await open(stage, 'POST')
  expect((await ask(stage)).headers.get('retry-after')).not.toBeNull()
})

test('after a while one request tries: its success closes it', async () => {
  const { service, told, stage } = await stageWith(500, { BREAKER_RESET_MS: '1500' })
  await open(stage)
  told.mode = 'well'
  const before = asked(service)
  expect((await ask(stage)).status).toBe(503)
  await halfOpen(stage)
  expect((await ask(stage)).status).toBe(200)
  expect(asked(service)).toBe(before + 1)
  expect(await reports(stage)).toMatchObject({ status: 'up', state: 0 })
})

test('while one request tries the others are refused; its failure opens it again', async () => {
  const { service, told, stage } = await stageWith(500, { WRITE_TIMEOUT_MS: '100', BREAKER_RESET_MS: '1500' })
  await open(stage)
  told.mode = 'hanging'
  await halfOpen(stage)
  const before = asked(service)
  const answers = await Promise.all(Array.from({ length: 8 }, () => ask(stage, '/messages', 'POST')))
  expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(503))
  expect(asked(service)).toBe(before + 1)
  expect((await reports(stage)).state).toBe(2)
})

test('a trying client that leaves proves nothing: the next one tries', async () => {
  const { service, told, stage } = await stageWith(500, { WRITE_TIMEOUT_MS: '60000' })
  await open(stage)
  told.mode = 'hanging'
  await halfOpen(stage)
  const before = asked(service)
  const leaving = httpRequest(`${stage.url}${api}/messages`, { method: 'POST', headers: { ...bearer('u1'), 'content-length': '2' } })
  leaving.on('error', () => undefined)
  leaving.end('{}')
  await eventually(() => asked(service) > before)
  expect((await ask(stage)).status).toBe(503)
  leaving.destroy()
  await new Promise((resolve) => leaving.once('close', resolve))
  told.mode = 'well'
  await eventually(async () => (await ask(stage)).status === 200)
  expect((await reports(stage)).state).toBe(0)
})

test('the failure of a request that began before it opened says nothing of now', async () => {
  const { service, told, stage } = await stageWith('hanging', { WRITE_TIMEOUT_MS: '60000' })
  const old = ask(stage, '/messages', 'POST')
  await eventually(() => asked(service) === 1)
  told.mode = 500
  await open(stage)
  told.mode = 'well'
  await halfOpen(stage)
  service.seen.find(({ method }) => method === 'POST')?.socket.destroy()
  expect((await old).status).toBe(503)
  expect((await ask(stage)).status).toBe(200)
})

test('a slow upload that tries first keeps the others from trying for a moment only', async () => {
  const { service, told, stage } = await stageWith(500)
  for (let turn = 0; turn < 6; turn += 1) await (await ask(stage, '/media')).text()
  told.mode = 'patient'
  await halfOpen(stage, 'media')
  const before = asked(service)
  const upload = httpRequest(`${stage.url}${api}/media`, { method: 'POST', headers: bearer('u2') })
  const answered = new Promise<number | undefined>((resolve) => upload.once('response', (answer) => resolve(answer.resume().statusCode)))
  upload.write('the first of many bytes')
  await eventually(() => asked(service) > before)
  await eventually(async () => (await ask(stage, '/media')).status === 200)
  expect((await reports(stage, 'media')).state).toBe(0)
  upload.end('the last')
  expect(await answered).toBe(200)
})

test('media hanging does not slow text', async () => {
  const text = await keep(behind(answerJson))
  const media = await keep(behind(() => undefined))
  const stage = await keep(gateway({ ALL_URL: text.url, MEDIA_URL: media.url, IDLE_TIMEOUT_MS: '60000', READ_TIMEOUT_MS: '60000' }))
  const leaving = new AbortController()
  const hanging = Array.from({ length: 100 }, () =>
    fetch(`${stage.url}${api}/media`, { method: 'POST', headers: bearer('u2'), body: Buffer.alloc(100_000), signal: leaving.signal }).catch(
      () => undefined,
    ),
  )
  await eventually(() => media.seen.filter(({ method }) => method === 'POST').length === 100)
  const took: number[] = []
  for (let turn = 0; turn < 50; turn += 1) {
    const began = performance.now()
    expect((await ask(stage)).status).toBe(200)
    took.push(performance.now() - began)
  }
  took.sort((a, b) => a - b)
  expect(took[25]).toBeLessThan(50)
  leaving.abort()
  await Promise.all(hanging)
})

test('more than it can take under way at once gets 503, and that opens nothing', async () => {
  const { service, told, stage } = await stageWith('hanging', {
    UPSTREAM_CONCURRENCY: '5',
    READ_TIMEOUT_MS: '2000',
    BREAKER_LEAST_REQUESTS: '100',
  })
  const first = Array.from({ length: 5 }, () => ask(stage))
  await eventually(() => asked(service) === 5)
  expect((await ask(stage)).status).toBe(503)
  await Promise.all(first)
  told.mode = 'well'
  expect((await ask(stage)).status).toBe(200)
})
