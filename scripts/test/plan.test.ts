// What a run on one machine is planned as, and the tokens it hands out.
import { generateKeyPairSync } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createVerifier } from '@fieldline/service/auth'
import { commonFields, loadConfig } from '@fieldline/service/config'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { faultsOf } from '../lib/faults.ts'
import { embedded, type Plan, plan, type ServiceName, withName } from '../lib/plan.ts'
import { tokenFor } from '../lib/token.ts'

let dataDir: string
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'fieldline-plan-'))
})
afterEach(() => rmSync(dataDir, { recursive: true, force: true }))

const envOf = ({ replicas }: Plan, service: ServiceName) => replicas.find((replica) => replica.service === service)?.env ?? {}

test('secrets are made once, the same for every service, readable by their owner alone', async () => {
  const [first, second] = [await plan(embedded, {}, { DATA_DIR: dataDir }), await plan(embedded, {}, { DATA_DIR: dataDir })]
  for (const name of ['JWT_SECRET', 'INTERNAL_SECRET', 'MEDIA_SIGNING_SECRET']) {
    const values = [first, second].flatMap(({ replicas }) => replicas.map(({ env }) => env[name]))
    expect(new Set(values).size).toBe(1)
    expect(values[0]).toMatch(/^[\w-]{43}$/)
  }
  expect(statSync(join(dataDir, 'secrets.json')).mode & 0o077).toBe(0)
})

test('in production a public key alone will do for people, and nothing is made', async () => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const secret = 's'.repeat(32)
  const run = await plan(
    embedded,
    {},
    {
      DATA_DIR: dataDir,
      PORT: '0',
      NODE_ENV: 'production',
      JWT_PUBLIC_KEY: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
      INTERNAL_SECRET: secret,
      MEDIA_SIGNING_SECRET: secret,
    },
  )
  expect(await faultsOf(run)).toEqual([])
  expect(envOf(run, 'gateway').JWT_SECRET).toBeUndefined()
  expect(existsSync(join(dataDir, 'secrets.json'))).toBe(false)
})

test('PORT=0 takes a free port, and links name it', async () => {
  const run = await plan(embedded, {}, { DATA_DIR: dataDir, PORT: '0' })
  const { PORT, PUBLIC_URL } = envOf(run, 'gateway')
  expect(Number(PORT)).toBeGreaterThan(0)
  expect([run.url, PUBLIC_URL]).toEqual([`http://localhost:${PORT}`, `http://localhost:${PORT}`])
})

test('addresses of another run do not reach this one', async () => {
  const theirs = { DATABASE_URL: 'mongodb://theirs/', BROKER_URL: 'amqp://theirs', CONVERSATION_URL: 'http://theirs', ADMIN_PORT: '9' }
  const run = await plan(embedded, {}, { DATA_DIR: dataDir, ...theirs })
  for (const { env } of run.replicas) for (const value of Object.values(theirs)) expect(Object.values(env)).not.toContain(value)
})

test.each([
  ['mongodb://127.0.0.1:27017/', 'mongodb://127.0.0.1:27017/x'],
  ['mongodb://u:p%40ss@a:1,b:2/theirs?replicaSet=r&authSource=admin', 'mongodb://u:p%40ss@a:1,b:2/x?replicaSet=r&authSource=admin'],
  ['mongodb+srv://u:p@cluster.example.org/theirs', 'mongodb+srv://u:p@cluster.example.org/x'],
  ['s3://key:secret@127.0.0.1:9000?tls=true', 's3://key:secret@127.0.0.1:9000/x?tls=true'],
])('each service gets a database or bucket of its own at %s', (url, expected) => {
  expect(withName(url, 'x')).toBe(expected)
})

test('a token is accepted where issuer and audience are asked for too, its secret the newest', async () => {
  const env = { JWT_SECRET: 'newest-secret,older-secret', JWT_ISSUER: 'https://id.example.org', JWT_AUDIENCE: 'chat,desk' }
  const config = loadConfig(commonFields, { ...env, INTERNAL_SECRET: 'internal' })
  const token = tokenFor({ role: 'Support', sub: 's1', firstName: 'Asha' }, env, '5m')
  expect(await createVerifier(config).verify(token)).toMatchObject({
    id: 's1',
    role: 'Support',
    firstName: 'Asha',
    lastName: '',
    phone: null,
  })
})

test('each service runs with the heaps its work needs, whatever the user gave node', async () => {
  const run = await plan(embedded, {}, { DATA_DIR: dataDir, PORT: '0', NODE_OPTIONS: '--inspect' })
  for (const service of ['gateway', 'media', 'realtime'] as const)
    expect(envOf(run, service)).toMatchObject({ NODE_OPTIONS: '--max-semi-space-size=8' })
  for (const service of ['gateway', 'media'] as const)
    expect(envOf(run, service)).toMatchObject({ MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '131072' })
  expect(envOf(run, 'conversation')).toMatchObject({ NODE_OPTIONS: '' })
  expect(envOf(run, 'conversation')).not.toHaveProperty('MALLOC_ARENA_MAX')
})

test('compiled modules are kept for the next start, beside what npm installed or where the user says', async () => {
  const env = { DATA_DIR: dataDir, PORT: '0' }
  expect(envOf(await plan(embedded, {}, env), 'realtime').NODE_COMPILE_CACHE).toMatch(/node_modules[\\/]\.cache[\\/]fieldline$/)
  expect(envOf(await plan(embedded, {}, { ...env, NODE_COMPILE_CACHE: '/var/cache/node' }), 'stats').NODE_COMPILE_CACHE).toBe(
    '/var/cache/node',
  )
})
