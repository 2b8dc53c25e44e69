// `stats.changed`: at once, then a while apart at most, and the last change is never left out.
import type { OutgoingEvent } from '@fieldline/bus/bus'
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals'
import { createChanges } from '../src/changes.ts'

const everyMs = 3_000
const begin = Date.parse('2026-11-02T09:00:00Z')
/** When a signal went out, ms after the beginning. */
let told: number[]
let changes: ReturnType<typeof createChanges>

beforeEach(() => {
  jest.useFakeTimers({ now: begin })
  told = []
  const signal = ({ exchange, routingKey, body }: OutgoingEvent) => {
    expect([exchange, routingKey]).toEqual(['desk.chat.signals', 'stats.changed'])
    told.push(Date.parse((body as { at: string }).at) - begin)
  }
  changes = createChanges({ signal }, { namespace: 'desk', everyMs, now: () => new Date() })
})
afterEach(() => {
  jest.useRealTimers()
})

test('the first change is told at once, those that follow together once the time is over', () => {
  for (let change = 0; change < 10; change += 1) {
    changes.note()
    jest.advanceTimersByTime(500)
  }
  jest.advanceTimersByTime(20_000)
  expect(told).toEqual([0, 3_000, 6_000])
})

test('without a change nothing is told, and after a pause the next one is at once', () => {
  changes.note()
  jest.advanceTimersByTime(20_000)
  changes.note()
  expect(told).toEqual([0, 20_000])
})

test('nothing is told after the end', async () => {
  changes.note()
  changes.note()
  await changes.stop?.()
  changes.note()
  jest.advanceTimersByTime(20_000)
  expect(told).toEqual([0])
})
