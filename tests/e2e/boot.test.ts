// How a process begins: a wrong configuration is told in full, a dependency that is down is waited for.

import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from '@jest/globals'
import { freePort } from '../../scripts/lib/ports.ts'
import { eventually, rest } from '../support/client.ts'
import { link } from '../support/link.ts'
import { need } from '../support/servers.ts'
import { kill, root, startEmbedded } from '../support/whole.ts'

const services = ['conversation', 'media', 'stats', 'realtime', 'gateway']
const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

function boot(service: string, env: Record<string, string>) {
  return run(`services/${service}/src/main.ts`, env)
}

function run(script: string, env: Record<string, string>) {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '--import', './libs/service/src/otel.ts', script], {
    cwd: root,
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const exit = new Promise<number | null>((resolve) => child.once('exit', resolve))
  ends.push(() => child.pid && kill(child.pid))
  return { exit, output: () => output }
}

test.each(services)('%s names every fault of its configuration and exits with 1', async (service) => {
  const { exit, output } = boot(service, { PORT: 'abc', LOG_LEVEL: 'loud', BROKER_URL: 'http://x', DRAIN_MS: '-1' })
  expect(await exit).toBe(1)
  for (const variable of ['PORT', 'LOG_LEVEL', 'BROKER_URL', 'DRAIN_MS', 'JWT_SECRET', 'INTERNAL_SECRET'])
    expect(output()).toContain(variable)
})

test.each(services)('%s refuses to run in production without secrets', async (service) => {
  const { exit, output } = boot(service, { NODE_ENV: 'production' })
  expect(await exit).toBe(1)
  expect(output()).toContain('JWT_SECRET')
  expect(output()).toContain('INTERNAL_SECRET')
})

function aFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'fieldline-boot-'))
  ends.push(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

const together = ['scripts/start.ts', 'scripts/services.ts']
/** Never dialled: a boot that is refused is refused before. */
const AMQP_URL = 'amqp://127.0.0.1:9'

test.each(together)('%s names every fault of all five configurations, each once, and exits with 1', async (script) => {
  const wrong = { PORT: 'abc', LOG_LEVEL: 'loud', AGENT_CAPACITY: '-3', PING_TIMEOUT_MS: 'x', STATS_ROLL_UP_MS: 'x' }
  const { exit, output } = run(script, { DATA_DIR: aFolder(), AMQP_URL, ...wrong })
  expect(await exit).toBe(1)
  const lines = output().trim().split('\n')
  expect(lines.map((line) => /^\w+: (\w+)/.exec(line)?.[1]).sort()).toEqual(Object.keys(wrong).sort())
})

test.each(together)('%s makes no secret in production: it names those that are missing', async (script) => {
  const folder = aFolder()
  const { exit, output } = run(script, { DATA_DIR: folder, AMQP_URL, NODE_ENV: 'production' })
  expect(await exit).toBe(1)
  for (const variable of ['JWT_SECRET', 'INTERNAL_SECRET', 'MEDIA_SIGNING_SECRET']) expect(output()).toContain(variable)
  expect(existsSync(join(folder, 'secrets.json'))).toBe(false)
})

test.each(together)('%s does not start on a port that another process has, and says which', async (script) => {
  const taken = createServer()
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
  ends.push(() => taken.close())
  const { port } = taken.address() as AddressInfo
  const { exit, output } = run(script, { DATA_DIR: aFolder(), AMQP_URL, PORT: String(port) })
  expect(await exit).toBe(1)
  expect(output()).toMatch(new RegExp(`^\\w+: PORT: nothing can listen on 127.0.0.1:${port} \\(EADDRINUSE\\)\\n$`))
})

test('two embedded runs never work in one DATA_DIR; after a kill -9 the next one may', async () => {
  const dataDir = aFolder()
  const first = await startEmbedded({ dataDir })
  ends.push(first.stop)
  const second = run('scripts/start.ts', { DATA_DIR: dataDir, PORT: String(await freePort()) })
  expect(await second.exit).toBe(1)
  expect(second.output()).toBe(`start: DATA_DIR: another run is working in ${dataDir}\n`)
  kill(first.processOf('all').pid)
  const third = await startEmbedded({ dataDir })
  await third.stop()
}, 90_000)

const suite = need('a broker that is down at boot', 'AMQP_URL')
describe.each(suite ? [suite] : [])('%s', () => {
  test.each(['conversation', 'realtime', 'stats', 'media'])(
    '%s waits for it, live and not ready, and goes on when it comes',
    async (service) => {
      const amqp = new URL(process.env.AMQP_URL ?? '')
      const toBroker = await link(Number(amqp.port || 5672), amqp.hostname)
      toBroker.cut()
      ends.push(toBroker.close)
      const folder = aFolder()
      const port = await freePort()
      const away = 'http://127.0.0.1:9'
      boot(service, {
        PORT: String(port),
        JWT_SECRET: 'secret-of-this-test-only-0123456789',
        INTERNAL_SECRET: 'internal-of-this-test-only-0123456789',
        MEDIA_SIGNING_SECRET: 'media-of-this-test-only-0123456789',
        DATABASE_URL: `sqlite:${join(folder, 'rows.db')}`,
        OBJECTS_URL: `file:${join(folder, 'objects')}`,
        BROKER_URL: `amqp://guest:guest@127.0.0.1:${toBroker.port}`,
        NAMESPACE: `boot${port}-`,
        CONVERSATION_URL: away,
        MEDIA_URL: away,
        STATS_URL: away,
        REALTIME_URL: away,
      })
      const get = rest(`http://127.0.0.1:${port}`)
      await eventually(async () => (await get('GET', '/health/live')).status === 200)
      // Some go on serving without it (sends are still answered): readiness names it either way.
      await eventually(async () => (await get('GET', '/health/ready')).body.dependencies?.broker?.status === 'down')
      toBroker.restore()
      await eventually(async () => {
        const { status, body } = await get('GET', '/health/ready')
        return status === 200 && body.dependencies.broker.status === 'up'
      }, 30_000)
    },
  )
})
