// Topic keys match as AMQP 0-9-1 says.
import { expect, test } from '@jest/globals'
import { namespaced } from '../src/bus.ts'
import { topicMatches } from '../src/topic.ts'

test.each([
  ['a.b', 'a.b', true],
  ['a.b', 'a.c', false],
  ['a.*', 'a.b', true],
  ['a.*', 'a', false],
  ['a.*', 'a.b.c', false],
  ['*', 'a', true],
  ['*', 'a.b', false],
  ['#', '', true],
  ['#', 'a.b.c', true],
  ['a.#', 'a', true],
  ['a.#', 'a.b.c', true],
  ['a.#', 'ab', false],
  ['#.c', 'a.b.c', true],
  ['#.c', 'c', true],
  ['a.#.c', 'a.c', true],
  ['a.#.c', 'a.b.b.c', true],
  ['a.#.c', 'a.b', false],
  ['*.#.*', 'a', false],
  ['*.#.*', 'a.b', true],
])('%s and %s: %s', (binding, key, expected) => {
  expect(topicMatches(binding, key)).toBe(expected)
})

test('a namespace prefixes every exchange and queue, and no key', () => {
  const topology = {
    exchanges: [{ name: 'ev', type: 'topic', durable: true }],
    queues: [{ name: 'q', kind: 'quorum', bindings: [{ exchange: 'ev', keys: ['a.*'] }], deadLetter: 'q.dead' }],
  } as const
  expect(namespaced(topology, 'run1')).toEqual({
    exchanges: [{ name: 'run1.ev', type: 'topic', durable: true }],
    queues: [{ name: 'run1.q', kind: 'quorum', bindings: [{ exchange: 'run1.ev', keys: ['a.*'] }], deadLetter: 'run1.q.dead' }],
  })
  expect(namespaced(topology, '')).toEqual(topology)
})
