import { join } from 'node:path'
import { start, stopAll } from '@fieldline/testing/processes'
import { afterAll, expect, test } from '@jest/globals'
import { currentCarrier, flushTelemetry, span, withCarrier } from '../src/telemetry.ts'

afterAll(stopAll)
const fixture = join(import.meta.dirname, 'telemetry.fixture.ts')
const nodeArgs = ['--import', join(import.meta.dirname, '../src/otel.ts')]
const traceOf = (traceparent: unknown) => String(traceparent).split('-')[1]

test('without an SDK spans run their work, and no carrier of zeros is kept', async () => {
  expect(await span('x', {}, () => currentCarrier() ?? 'none')).toBe('none')
  expect(withCarrier(undefined, () => 1)).toBe(1)
  await expect(span('x', {}, () => Promise.reject(new Error('its own')))).rejects.toThrow('its own')
  await flushTelemetry()
})

test('with an exporter one trace goes through span, call, the other server, and what was stored', async () => {
  const child = start(fixture, { nodeArgs, env: { OTEL_TRACES_EXPORTER: 'console' } })
  const told = await child.line((line) => 'outer' in line)
  expect(traceOf(told.outer)).toMatch(/^[0-9a-f]{32}$/)
  for (const seen of [told.header, told.active, told.restored, told.child]) expect(traceOf(seen)).toBe(traceOf(told.outer))
  expect(told.outside).toBeNull()
  expect(await child.exited).toBe(0)
  for (const name of ['send', 'relay', 'GET']) expect(child.output()).toContain(`name: '${name}'`)
  // What a span tells of a request opens nothing: no signature of a link, no query, no token in an error's text.
  expect(child.output()).toContain('crop.jpg')
  expect(child.output()).toContain('refused with')
  expect(child.output()).not.toContain('secret-')
})

test('without an exporter the preloaded file does nothing', async () => {
  const child = start(fixture, { nodeArgs, env: {} })
  const told = await child.line((line) => 'outside' in line)
  expect([told.outer, told.header, told.child]).toEqual([undefined, undefined, undefined])
  expect(await child.exited).toBe(0)
})
