// Batches: what arrives meanwhile goes together, one bad item fails alone, and an outage fails nobody.
import { AppError } from '@fieldline/contracts/errors'
import { expect, test } from '@jest/globals'
import { createBatcher } from '../src/batcher.ts'

function batcherOf(handle: (items: readonly number[]) => Promise<void>, gatherMs = 0) {
  const away: AppError[] = []
  return { away, ...createBatcher<number>({ handle, most: 10, gatherMs, pauseMs: 1, onAway: (error) => void away.push(error) }) }
}

test('what arrives while a batch is written shares the next one, up to the most', async () => {
  const batches: number[] = []
  const { add } = batcherOf(async (items) => void batches.push(items.length))
  await Promise.all(Array.from({ length: 25 }, (_, index) => add(index)))
  expect(batches).toEqual([10, 10, 5])
})

test('a batch is begun as soon as there are enough, however long they might wait for others', async () => {
  const batches: number[] = []
  const { add } = batcherOf(async (items) => void batches.push(items.length), 600_000)
  await Promise.all(Array.from({ length: 10 }, (_, index) => add(index)))
  expect(batches).toEqual([10])
})

test('stopping waits for nobody', async () => {
  const handled: number[] = []
  const { add, stop } = batcherOf(async (items) => void handled.push(...items), 600_000)
  const adding = add(1)
  expect(await stop()).toBe(true)
  await adding
  expect(handled).toEqual([1])
})

test('one bad item fails alone', async () => {
  const handled = new Set<number>()
  const { add } = batcherOf(async (items) => {
    if (items.includes(3)) throw new Error('three is bad')
    for (const item of items) handled.add(item)
  })
  const outcomes = await Promise.allSettled([1, 2, 3, 4].map(add))
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled'])
  expect([...handled]).toEqual([1, 2, 4])
})

test('while the store is away, items wait and none fails', async () => {
  let tries = 0
  const { add, away } = batcherOf(async () => {
    tries += 1
    if (tries < 4) throw new AppError('UNAVAILABLE', 'The database is not available now')
  })
  await Promise.all([add(1), add(2)])
  expect([tries, away.length]).toEqual([4, 3])
})

test('stopping handles what waits', async () => {
  const handled: number[] = []
  const { add, stop } = batcherOf(async (items) => void handled.push(...items))
  const adding = [add(1), add(2)]
  expect(await stop()).toBe(true)
  await Promise.all(adding)
  expect(handled).toEqual([1, 2])
})

test('stopping while the store is away settles nothing, so that no attempt is counted', async () => {
  let settled = false
  const { add, stop, away } = batcherOf(async () => {
    throw new AppError('UNAVAILABLE', 'The database is not available now')
  })
  const settle = () => {
    settled = true
  }
  add(1).then(settle, settle)
  expect(await stop()).toBe(false)
  expect([settled, away.length]).toEqual([false, 0])
})
