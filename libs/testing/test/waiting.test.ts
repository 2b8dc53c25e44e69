import { EventEmitter } from 'node:events'
import { expect, test } from '@jest/globals'
import { freePort } from '../src/ports.ts'
import { eventually, once, record } from '../src/until.ts'

test('a wait ends with what came, or with the last failure at its deadline', async () => {
  let tries = 0
  expect(await eventually(() => (++tries > 2 ? tries : undefined))).toBe(3)
  const late = eventually(() => Promise.reject(new Error('not yet')), { timeoutMs: 20, what: 'the answer' })
  await expect(late).rejects.toMatchObject({ message: 'the answer did not come within 20 ms', cause: { message: 'not yet' } })
})

test('an event is waited for, or missed loudly, and no listener stays', async () => {
  const emitter = new EventEmitter()
  setImmediate(() => emitter.emit('said', 1, 2))
  expect(await once(emitter, 'said')).toEqual([1, 2])
  await expect(once(emitter, 'said', 10)).rejects.toThrow('no said within 10 ms')
  expect(emitter.listenerCount('said')).toBe(0)
})

test('everything said is written down in order until it stops', () => {
  const emitter = new EventEmitter()
  const { heard, stop } = record(emitter, 'a', 'b')
  emitter.emit('b', 1)
  emitter.emit('a')
  stop()
  emitter.emit('a')
  expect(heard).toEqual([
    { name: 'b', args: [1] },
    { name: 'a', args: [] },
  ])
})

test('ports are free, different, and outside the ephemeral range', async () => {
  const ports = await Promise.all(Array.from({ length: 20 }, freePort))
  expect(new Set(ports).size).toBe(20)
  expect(ports.every((port) => port >= 20_000 && port < 32_000)).toBe(true)
})
