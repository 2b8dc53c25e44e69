// A listener's acknowledgements: each delivery exactly once, in as few frames as its order allows.
import { expect, test } from '@jest/globals'
import type { ConsumeMessage } from 'amqplib'
import fc from 'fast-check'
import { Acknowledgements } from '../src/acknowledgements.ts'

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))
const message = (deliveryTag: number) => ({ fields: { deliveryTag } }) as ConsumeMessage

/** A channel that behaves as RabbitMQ does: a tag that isn't outstanding is an error. */
function strictChannel(outstanding: Set<number>) {
  const frames: string[] = []
  return {
    frames,
    ack({ fields: { deliveryTag } }: { fields: { deliveryTag: number } }, multiple = false) {
      if (!outstanding.has(deliveryTag)) throw new Error(`PRECONDITION_FAILED - unknown delivery tag ${deliveryTag}`)
      for (const tag of [...outstanding]) if (tag === deliveryTag || (multiple && tag < deliveryTag)) outstanding.delete(tag)
      frames.push(`${deliveryTag}${multiple ? '+' : ''}`)
    },
  }
}

test('a run taken in one turn is one frame', async () => {
  const channel = strictChannel(new Set([1, 2, 3, 4]))
  const acknowledgements = new Acknowledgements(channel)
  for (const tag of [1, 2, 3]) acknowledgements.add(message(tag))
  await turn()
  expect(channel.frames).toEqual(['3+'])
})

test('whatever the order and the turns, what is taken is told at once and never twice', async () => {
  const plans = fc.tuple(
    fc.shuffledSubarray([1, 2, 3, 4, 5, 6, 7, 8], { minLength: 8 }),
    fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 8 }),
  )
  await fc.assert(
    fc.asyncProperty(plans, async ([order, sizes]) => {
      const outstanding = new Set([1, 2, 3, 4, 5, 6, 7, 8])
      const acknowledgements = new Acknowledgements(strictChannel(outstanding))
      const taken = new Set<number>()
      const left = [...order]
      for (const size of sizes) {
        for (const tag of left.splice(0, size)) {
          taken.add(tag)
          acknowledgements.add(message(tag))
        }
        await turn()
        expect([...outstanding].sort()).toEqual([...order].filter((tag) => !taken.has(tag)).sort())
      }
    }),
    { numRuns: 50 },
  )
})
