// What several questions cost together.
import { expect, test } from '@jest/globals'
import { means } from '../lib/figures.ts'

test('means are taken within a round, so that a loud round stays the loud one', () => {
  const newest = [
    { floor: 2, product: 3 },
    { floor: 20, product: 30 },
  ]
  const oldest = [
    { floor: 4, product: 5 },
    { floor: 40, product: 50 },
  ]
  expect(means([newest, oldest])).toEqual([
    { floor: 3, product: 4 },
    { floor: 30, product: 40 },
  ])
  expect(means([])).toEqual([])
})
