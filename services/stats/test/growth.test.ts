// What a question costs depends on its range, not on the history around it (`npm run stats:measure` prints the times).
import { expect, test } from '@jest/globals'
import type { Entry } from '../src/entries.ts'
import type { Generation } from '../src/facts.store.ts'
import { figures } from '../src/figures.ts'
import { ingestInto } from '../src/ingest.ts'
import { readQuestion } from '../src/question.ts'
import { rollUpGeneration } from '../src/rollup.ts'
import { describeStores } from './stores.ts'
import { idOf } from './story.ts'

const now = new Date('2026-11-23T12:00:00Z')
const day = 86_400_000
const question = readQuestion({ tz: 'Asia/Kolkata' }, { id: 'anil', role: 'Admin' }, now, 366)

/** Conversations of three facts each, one every `everyMs` before `end`. */
async function takeIn(generation: Generation, first: number, count: number, end: number, everyMs: number): Promise<void> {
  const entries: Entry[] = []
  for (let number = first; number < first + count; number += 1) {
    const common = { conversationId: idOf(number), agents: [] }
    const at = end - (number - first + 1) * everyMs
    entries.push({ ...common, eventNo: 1, at, type: 'created', status: 'waiting', assignedId: null, waitingSince: at })
    entries.push({ ...common, eventNo: 2, at: at + 1_000, type: 'assigned', toId: `agent-${number % 5}`, ended: false, waitingSince: null })
    entries.push({
      ...common,
      eventNo: 3,
      at: at + 2_000,
      type: 'status',
      from: 'waiting',
      to: 'closed',
      reopened: false,
      waitingSince: null,
    })
  }
  await ingestInto(generation, { entries, uploads: [] })
  await rollUpGeneration(generation)
}

/** Rows and facts that a question reads. */
async function costOf(generation: Generation): Promise<number> {
  let read = 0
  const counted = async <T extends readonly unknown[]>(rows: Promise<T>) => {
    const { length } = await rows
    read += length
    return rows
  }
  await figures(
    {
      ...generation,
      counts: (...asked) => counted(generation.counts(...asked)),
      sums: (...asked) => counted(generation.sums(...asked)),
      samples: (...asked) => counted(generation.samples(...asked)),
      eachFact: (span, visit) =>
        generation.eachFact(span, (fact) => {
          read += 1
          visit(fact)
        }),
    },
    question,
    null,
    now,
  )
  return read
}

describeStores('a question', (stores) => {
  test('reads no more when there is ten times as much history outside its range', async () => {
    const store = await stores.open('growth')
    const generation = await store.generation(1)
    await takeIn(generation, 1, 60, now.getTime(), Math.floor((29 * day) / 60))
    const before = await costOf(generation)
    expect(before).toBeGreaterThan(100)
    await takeIn(generation, 1_000, 600, question.from, Math.floor((90 * day) / 600))
    expect(await costOf(generation)).toBe(before)
  })
})
