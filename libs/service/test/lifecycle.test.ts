import { join } from 'node:path'
import { testInternalSecret, testSecret } from '@fieldline/testing/factories'
import { api } from '@fieldline/testing/http'
import { freePort } from '@fieldline/testing/ports'
import { start, stopAll } from '@fieldline/testing/processes'
import { afterAll, describe, expect, test } from '@jest/globals'
import { createHealth } from '../src/health.ts'
import { lifecycle, type Part } from '../src/lifecycle.ts'
import { silentLogger } from '../src/logger.ts'

afterAll(stopAll)

function parts(said: string[], faults: Record<string, 'start' | 'stop' | 'hang'> = {}): Part[] {
  return ['store', 'bus', 'http'].map((name) => ({
    name,
    start: async () => {
      if (faults[name] === 'start') throw new Error(`${name} cannot start`)
      said.push(`start ${name}`)
    },
    stop: async () => {
      said.push(`stop ${name}`)
      if (faults[name] === 'stop') throw new Error(`${name} cannot stop`)
      if (faults[name] === 'hang') await new Promise(() => undefined)
    },
  }))
}

describe('an app', () => {
  test('starts in order and stops in reverse, unready first, once', async () => {
    const said: string[] = []
    const health = createHealth()
    const watcher: Part = { name: 'watcher', stop: async () => void said.push(`health ${(await health.ready()).status}`) }
    const app = lifecycle([...parts(said), watcher], { name: 'test', log: silentLogger, drainMs: 1_000, health })
    await app.start()
    expect((await health.ready()).status).toBe('ready')
    await Promise.all([app.stop(), app.stop()])
    expect(said).toEqual(['start store', 'start bus', 'start http', 'health stopping', 'stop http', 'stop bus', 'stop store'])
  })

  test('that cannot start closes what it had opened', async () => {
    const said: string[] = []
    await expect(lifecycle(parts(said, { http: 'start' }), { name: 'test', log: silentLogger, drainMs: 1_000 }).start()).rejects.toThrow(
      'http cannot start',
    )
    expect(said).toEqual(['start store', 'start bus', 'stop http', 'stop bus', 'stop store'])
  })

  test('closes the rest though a part fails or hangs, within the drain', async () => {
    const said: string[] = []
    const app = lifecycle(parts(said, { http: 'hang', bus: 'stop' }), { name: 'test', log: silentLogger, drainMs: 100 })
    await app.start()
    const began = performance.now()
    await app.stop()
    expect(performance.now() - began).toBeLessThan(1_500)
    expect(said.slice(3)).toEqual(['stop http', 'stop bus', 'stop store'])
  })

  test('asks a dependency with a deadline and tells since when', async () => {
    const health = createHealth()
    health.dependency('hangs', { check: () => new Promise(() => undefined) })
    health.dependency('fails', { check: () => Promise.reject(new Error('mongodb://root:hunter2@host')) })
    const report = await health.ready()
    expect(report).toMatchObject({
      status: 'unready',
      dependencies: { hangs: { status: 'down' }, fails: { status: 'down', message: 'Error' } },
    })
    expect(JSON.stringify(report)).not.toContain('hunter2')
  })
})

describe('a process', () => {
  const main = join(import.meta.dirname, 'fixture.main.ts')
  const secrets = { JWT_SECRET: testSecret, INTERNAL_SECRET: testInternalSecret }

  test('with a faulty configuration names every fault and exits with 1', async () => {
    const child = start(main, { env: { PORT: 'x', LOG_LEVEL: 'loud' } })
    expect(await child.exited).toBe(1)
    for (const variable of ['PORT', 'LOG_LEVEL', 'JWT_SECRET', 'INTERNAL_SECRET']) expect(child.output()).toContain(`fixture: ${variable}`)
  })

  test('tells where it listens, and on SIGTERM finishes what runs and exits with 0', async () => {
    const child = start(main, { env: secrets })
    const at = api(await child.url())
    const slow = at.get('/slow?ms=300')
    await child.line((line) => line.slow === true)
    child.kill('SIGTERM')
    expect(await slow).toMatchObject({ status: 200, body: { done: true } })
    expect(await child.exited).toBe(0)
  })

  test('is forced by a second signal', async () => {
    const child = start(main, { env: secrets })
    const slow = api(await child.url())
      .get('/slow?ms=20000')
      .catch(() => 'cut')
    await child.line((line) => line.slow === true)
    child.kill('SIGTERM')
    await child.line((line) => line.stopping === true)
    child.kill('SIGINT')
    expect(await child.exited).toBe(130)
    expect(await slow).toBe('cut')
  })

  test.each(['throw', 'reject'])('after an error nobody caught (%s) logs it, stops and exits with 1', async (how) => {
    const child = start(main, { env: secrets })
    await api(await child.url()).post(`/fault?how=${how}`)
    expect(await child.exited).toBe(1)
    expect(child.output()).toContain('an error nobody caught')
    expect(child.lines).toContainEqual({ stopping: true })
  })

  test('whose port is taken exits with 1 and says why', async () => {
    const PORT = String(await freePort())
    const first = start(main, { env: { ...secrets, PORT } })
    await first.url()
    const second = start(main, { env: { ...secrets, PORT } })
    expect(await second.exited).toBe(1)
    expect(second.output()).toContain('EADDRINUSE')
    await first.stop()
  })
})
