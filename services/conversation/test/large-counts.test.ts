// Totals: small ones are always true, large ones are told at once and counted again behind the asker's back.
import { expect, test } from '@jest/globals'
import { createLargeCounts, large } from '../src/conversations/large-counts.ts'

function world() {
  let time = 0
  let stored = 0
  let asked = 0
  let fails = false
  const total = createLargeCounts(() => time)
  return {
    ask: () =>
      total('closed', async () => {
        asked += 1
        if (fails) throw new Error('away')
        return stored
      }),
    set: (count: number) => {
      stored = count
    },
    fail: (does: boolean) => {
      fails = does
    },
    pass: (ms: number) => {
      time += ms
    },
    asked: () => asked,
  }
}
const turn = () => new Promise((resolve) => setImmediate(resolve))

test('a small total is counted at each question', async () => {
  const { ask, set, asked } = world()
  set(large - 1)
  expect(await ask()).toBe(large - 1)
  set(3)
  expect([await ask(), asked()]).toEqual([3, 2])
})

test('a large total is kept for a while, then counted again while the old one is told', async () => {
  const { ask, set, pass, asked } = world()
  set(large)
  await ask()
  set(large + 5)
  expect([await ask(), asked()]).toEqual([large, 1])
  pass(10_001)
  expect(await ask()).toBe(large)
  await turn()
  expect([await ask(), asked()]).toEqual([large + 5, 2])
})

test('a total that shrank is true again, and one that could not be counted is tried at the next question', async () => {
  const { ask, set, pass, fail } = world()
  set(large)
  await ask()
  pass(10_001)
  fail(true)
  expect(await ask()).toBe(large)
  await turn()
  fail(false)
  set(7)
  expect(await ask()).toBe(large)
  await turn()
  set(8)
  expect(await ask()).toBe(8)
})
