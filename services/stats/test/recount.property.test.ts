// Whatever the order and number in which events come, the figures equal a recount.
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { itemOf } from '../src/events.consumer.ts'
import type { FactsStore } from '../src/facts.store.ts'
import { figures } from '../src/figures.ts'
import { ingest } from '../src/ingest.ts'
import { readQuestion } from '../src/question.ts'
import { rollUpDirty } from '../src/rollup.ts'
import { type Desk, desks, disorder, randomFrom } from './histories.ts'
import { recount } from './recount.ts'
import { describeStores } from './stores.ts'

const begin = Date.parse('2026-10-23T05:00:00Z')
const now = new Date('2026-11-05T12:00:00Z')
const anAdmin = { id: 'anil', role: 'Admin' as const }
const questions = [
  readQuestion({ tz: 'UTC', from: '2026-10-22', to: '2026-11-02' }, anAdmin, now, 366),
  readQuestion({ tz: 'Europe/Berlin', from: '2026-10-24', to: '2026-10-26' }, anAdmin, now, 366),
  readQuestion({ tz: 'Asia/Kathmandu', from: '2026-10-23T11:11:11.111Z', to: '2026-10-29T03:07:00+05:45' }, anAdmin, now, 366),
  readQuestion({ tz: 'Asia/Kolkata', agentId: 'asha' }, anAdmin, now, 366),
  readQuestion({ tz: 'America/New_York', from: '2026-10-20', agentId: '__proto__' }, anAdmin, now, 366),
]

let runs = 0
describeStores('figures equal a recount', (stores, { slow }) => {
  test('for random histories, shuffled, repeated and taken in by two replicas at once', async () => {
    const arbitrary = fc.record({ desk: desks(begin, { most: 6 }), seed: fc.integer(), rolls: fc.boolean() })
    await fc.assert(
      fc.asyncProperty(arbitrary, async ({ desk, seed, rolls }) => {
        runs += 1
        const replicas = [await stores.open(`recount-${runs}`), await stores.open(`recount-${runs}`)]
        await takeIn(desk, replicas, seed, rolls)
        await expectRecount(replicas[1] as FactsStore, desk)
        await rollUpDirty(replicas[0] as FactsStore)
        await expectRecount(replicas[0] as FactsStore, desk)
      }),
      { numRuns: slow ? 6 : 30 },
    )
  })
})

async function takeIn({ log, uploads }: Desk, replicas: FactsStore[], seed: number, rolls: boolean): Promise<void> {
  const random = randomFrom(seed)
  const items = disorder([...log.flat(), ...uploads], random).map(itemOf)
  const shares = replicas.map((_, which) => items.filter(() => random() < 0.5 || which === 0))
  await Promise.all(
    replicas.map(async (store, which) => {
      const share = shares[which] ?? []
      while (share.length > 0) {
        const batch = share.splice(0, 1 + Math.floor(random() * 6))
        await ingest(store, {
          entries: batch.flatMap((item) => ('entry' in item ? [item.entry] : [])),
          uploads: batch.flatMap((item) => ('upload' in item ? [item.upload] : [])),
        })
        if (rolls && random() < 0.3) await rollUpDirty(store)
      }
    }),
  )
}

async function expectRecount(store: FactsStore, { log, uploads }: Desk): Promise<void> {
  const generation = await store.generation(await store.current())
  for (const question of questions) {
    expect(await figures(generation, question, null, now)).toEqual(recount(log, uploads, question, now))
  }
}
