// Gathering: nobody waits who needn't, many share a call under load, each gets its own answer, and nobody waits for ever.
import { expect, test } from '@jest/globals'
import { gathered } from '../src/conversations/gathered.ts'

const limits = { atOnce: 1, most: 10, waitMs: 60_000, mostWaiting: 100, lingerMs: 0 }

/** A call that ends when told. */
function slow() {
  const calls: { items: readonly number[]; end(): void; fail(error: Error): void }[] = []
  const begun: (() => void)[] = []
  const together = (items: readonly number[]) =>
    new Promise<number[]>((resolve, reject) => {
      calls.push({ items, end: () => resolve(items.map((item) => item * 10)), fail: reject })
      for (const tell of begun.splice(0)) tell()
    })
  const call = async (index: number) => {
    while (calls.length <= index) await new Promise<void>((resolve) => begun.push(resolve))
    return calls[index] as (typeof calls)[number]
  }
  return { calls, call, together }
}

test('what arrives in one turn goes together, and each gets its own result', async () => {
  const { calls, call, together } = slow()
  const ask = gathered(together, limits)
  const results = Promise.all([ask(1), ask(2), ask(3)])
  ;(await call(0)).end()
  expect(await results).toEqual([10, 20, 30])
  expect(calls).toHaveLength(1)
})

test('what arrives while calls are under way goes with the next one, up to the most', async () => {
  const { call, together } = slow()
  const ask = gathered(together, limits)
  const first = ask(0)
  const one = await call(0)
  const others = Promise.all(Array.from({ length: 15 }, (_, index) => ask(index + 1)))
  one.end()
  await first
  const two = await call(1)
  two.end()
  const three = await call(2)
  three.end()
  await others
  expect([one, two, three].map(({ items }) => items.length)).toEqual([1, 10, 5])
})

test('a call that fails fails for those in it, and for nobody after', async () => {
  const { call, together } = slow()
  const ask = gathered(together, limits)
  const failing = Promise.allSettled([ask(1), ask(2)])
  const one = await call(0)
  const next = ask(3)
  one.fail(new Error('the network'))
  expect((await failing).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  ;(await call(1)).end()
  expect(await next).toBe(30)
})

test('who waits behind calls that hang is told, and never sent', async () => {
  const { calls, call, together } = slow()
  const ask = gathered(together, { ...limits, waitMs: 20 })
  const hanging = ask(1)
  const one = await call(0)
  await expect(ask(2)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  one.end()
  expect(await hanging).toBe(10)
  expect(calls).toHaveLength(1)
})

test('a queue that is full takes no more', async () => {
  const { call, together } = slow()
  const ask = gathered(together, { ...limits, mostWaiting: 1 })
  const first = ask(1)
  const one = await call(0)
  const second = ask(2)
  await expect(ask(3)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  one.end()
  ;(await call(1)).end()
  expect([await first, await second]).toEqual([10, 20])
})

test('what may linger goes with what comes in a later turn', async () => {
  const { calls, call, together } = slow()
  const ask = gathered(together, { ...limits, lingerMs: 50 })
  const first = ask(1)
  await new Promise((resolve) => setImmediate(resolve))
  const second = ask(2)
  ;(await call(0)).end()
  expect(await Promise.all([first, second])).toEqual([10, 20])
  expect(calls).toHaveLength(1)
})
