// Turns are shared among people.
import { expect, test } from '@jest/globals'
import { createGate } from '../src/gate.ts'

/** Who comes to a gate works until told to end. */
function crowd(width: number) {
  const gate = createGate(width)
  const inside: { person: string; end: () => void }[] = []
  const settled = () => new Promise<void>((resolve) => setImmediate(resolve))
  return {
    inside: () => inside.map(({ person }) => person),
    come(person: string, signal = new AbortController().signal) {
      return gate(
        person,
        signal,
        () =>
          new Promise<void>((resolve) => {
            const one = { person, end: resolve }
            inside.push(one)
          }),
      )
    },
    /** Ends the oldest work of that person. */
    async end(person: string) {
      const at = inside.findIndex((one) => one.person === person)
      inside.splice(at, 1)[0]?.end()
      await settled()
    },
  }
}

test('a flood of one person holds up another by one turn', async () => {
  const { come, end, inside } = crowd(2)
  for (let turn = 0; turn < 10; turn += 1) void come('flood')
  void come('rajesh')
  expect(inside()).toEqual(['flood', 'flood'])
  await end('flood')
  expect(inside()).toEqual(['flood', 'rajesh'])
})

test('nobody has more than one place while somebody else waits, and all others have their turn in between', async () => {
  const { come, end, inside } = crowd(2)
  for (let turn = 0; turn < 10; turn += 1) void come('flood')
  for (const person of ['rajesh', 'sunita', 'anil']) void come(person)
  await end('flood')
  await end('rajesh')
  expect(inside()).toEqual(['flood', 'sunita'])
  await end('flood')
  expect(inside()).toEqual(['sunita', 'anil'])
  await end('sunita')
  await end('anil')
  expect(inside()).toEqual(['flood', 'flood'])
})

test('of those who have as many the one served longest ago is next', async () => {
  const { come, end, inside } = crowd(1)
  for (const person of ['anil', 'anil', 'anil', 'rajesh', 'rajesh']) void come(person)
  const order: string[] = []
  for (let turn = 0; turn < 5; turn += 1) {
    order.push(...inside())
    await end(inside()[0] ?? '')
  }
  expect(order).toEqual(['anil', 'rajesh', 'anil', 'rajesh', 'anil'])
})

test('who leaves before the turn has come leaves the queue at once; who failed gives the place back', async () => {
  const { come, end, inside } = crowd(1)
  void come('anil')
  const leaving = new AbortController()
  const left = come('rajesh', leaving.signal)
  void come('sunita')
  leaving.abort(new Error('gone'))
  await expect(left).rejects.toThrow('gone')
  await end('anil')
  expect(inside()).toEqual(['sunita'])
  const gate = createGate(1)
  const { signal } = new AbortController()
  await expect(gate('anil', signal, () => Promise.reject(new Error('broken')))).rejects.toThrow('broken')
  expect(await gate('anil', signal, async () => 'in')).toBe('in')
})
