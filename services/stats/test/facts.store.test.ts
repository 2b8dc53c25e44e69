// What every store of facts promises, whichever database it stands on.
import { expect, test } from '@jest/globals'
import { levels } from '../src/blocks.ts'
import type { Entry } from '../src/entries.ts'
import { entryOf } from '../src/entries.ts'
import type { FactsStore, Generation, Write } from '../src/facts.store.ts'
import { takeTurn } from '../src/ingest.ts'
import { desk } from '../src/sums.ts'
import { type Fact, mediaFact } from '../src/tally.ts'
import { describeStores } from './stores.ts'
import { asha, meena, rajesh, story } from './story.ts'

const at = (time: string) => new Date(`2026-11-02T${time}Z`)
const dayStart = at('00:00').getTime()
const entries = story(1)
  .created(at('09:00'))
  .says(rajesh, at('09:01'))
  .assign(asha, at('09:05'))
  .says(asha, at('09:20'))
  .resolve(at('09:40'))
  .events.map(entryOf)
const id = entries[0]?.conversationId ?? ''
const nothing: Write = { facts: [], moves: [], early: [], agents: [] }

/** What a batch of these comes to, from where the store stands. */
async function batchOf(generation: Generation, list: readonly Entry[]): Promise<Write> {
  return takeTurn(new Map([[id, list]]), await generation.heads([id]))
}

async function allFacts(generation: Generation): Promise<Fact[]> {
  const facts: Fact[] = []
  await generation.eachFact({ from: 0, to: 8e15 }, (fact) => void facts.push({ ...fact }))
  return facts
}

describeStores('a store of facts', (stores) => {
  let names = 0
  const open = async (): Promise<{ store: FactsStore; other: FactsStore; generation: Generation }> => {
    names += 1
    const store = await stores.open(`facts-${names}`)
    return { store, other: await stores.open(`facts-${names}`), generation: await store.generation(await store.current()) }
  }

  test('gives back heads, facts, early entries and agents as they were written', async () => {
    const { generation } = await open()
    const write = await batchOf(generation, entries)
    const early = [{ ...(entries[1] as Entry), eventNo: 99 }]
    expect(await generation.write({ ...write, early })).toEqual([])
    expect((await generation.heads([id, 'f'.repeat(24)])).get(id)).toEqual(write.moves[0]?.head)
    expect(await generation.factsOf(id)).toEqual(write.facts.toSorted((a, b) => a.eventNo - b.eventNo || (a.kind < b.kind ? -1 : 1)))
    expect((await generation.early([id])).get(id)).toEqual(early)
    expect(await generation.agents(['asha', 'nobody'])).toMatchObject([
      { id: 'asha', firstName: 'Asha', lastName: 'Patil', role: 'Support' },
    ])
    expect(await generation.headCount()).toBe(1)
    expect(await generation.waitingEntries()).toBe(1)
    await generation.release([{ conversationId: id, upTo: 99 }])
    expect(await generation.waitingEntries()).toBe(0)
  })

  test('ends in the same when a batch comes again, whole or where a crash cut it', async () => {
    const { generation } = await open()
    const write = await batchOf(generation, entries)
    await generation.write({ ...write, moves: [] })
    await generation.write(write)
    await generation.write({ ...write, moves: [] })
    expect(await allFacts(generation)).toHaveLength(write.facts.length)
    expect(await generation.write(write)).toEqual([])
    expect((await generation.heads([id])).get(id)).toEqual(write.moves[0]?.head)
  })

  test('leaves a head where it is when it is not where the move began, and says so', async () => {
    const { generation } = await open()
    await generation.write(await batchOf(generation, entries.slice(0, 2)))
    const late = await batchOf(generation, entries.slice(2, 3))
    const further = await batchOf(generation, entries.slice(2))
    expect(await generation.write(further)).toEqual([])
    expect(await generation.write(late)).toEqual([id])
    expect((await generation.heads([id])).get(id)?.eventNo).toBe(entries.length)
  })

  test('makes dirty what facts fall into, and clean what was rolled up since', async () => {
    const { generation, other } = await open()
    const elsewhere = await other.generation(1)
    await generation.write(await batchOf(generation, entries.slice(0, 2)))
    const quarter = at('09:00').getTime()
    expect(await generation.dirty()).toEqual([quarter])
    await Promise.all([generation.rollUp([quarter]), elsewhere.rollUp([quarter])])
    expect(await generation.dirty()).toEqual([])
    const count = async (level: 0 | 1 | 2, start: number) => (await generation.counts(level, [start], desk))[0]?.counts.User
    expect([await count(0, quarter), await count(1, quarter), await count(2, dayStart)]).toEqual([1, 1, 1])
    await generation.write(await batchOf(generation, entries.slice(2)))
    expect(await generation.dirty()).toEqual([quarter, quarter + levels[0], quarter + 2 * levels[0]])
    await Promise.all([elsewhere.rollUp(await generation.dirty()), generation.rollUp(await generation.dirty())])
    const [block] = await generation.sums(2, [dayStart], 'asha')
    expect(block?.sums.counts).toMatchObject({ created: 1, resolved: 1, sent: 1, Support: 1 })
    expect(block?.sums.sketch('reply').slice(0, 2)).toEqual([1, 19 * 60_000])
    expect((await generation.sums(1, [quarter, dayStart], null)).map(({ scope }) => scope).sort()).toEqual([desk, 'asha'])
    expect(await generation.lifetime(desk, [])).toEqual({ resolved: 1, reopened: 0, closed: 0, closedResolved: 0 })
    expect((await generation.lifetime(desk, [dayStart])).resolved).toBe(0)
  })

  test('a roll-up that read before a fact came never hides it', async () => {
    const { generation, other } = await open()
    const elsewhere = await other.generation(1)
    const batches = entries.map((_, index) => entries.slice(index, index + 1))
    for (const batch of batches) {
      const write = await batchOf(generation, batch)
      const dirty = await generation.dirty()
      await Promise.all([generation.write(write), elsewhere.rollUp(dirty), generation.rollUp(dirty)])
    }
    await generation.rollUp(await generation.dirty())
    const [block] = await generation.counts(2, [dayStart], desk)
    expect(block?.counts).toMatchObject({ created: 1, User: 1, Support: 1, resolved: 1 })
  })

  test('tells what waits and who is busy now', async () => {
    const { generation } = await open()
    for (const tale of [
      story(11).created(at('09:00')).says(rajesh, at('09:00')),
      story(12).created(at('08:00')).says(rajesh, at('08:00')),
      story(13).created(at('07:00')).empty(at('07:30')),
      story(14).created(at('07:00')).assign(asha, at('07:10')),
      story(15).created(at('07:00')).assign(asha, at('07:10')).resolve(at('07:20')),
      story(16).created(at('07:00')).assign(meena, at('07:10')),
    ]) {
      const list = tale.events.map(entryOf)
      await generation.write(takeTurn(new Map([[tale.id, list]]), new Map()))
    }
    const { open: busy, ...now } = await generation.now()
    expect(now).toEqual({ waiting: 3, queue: { length: 2, oldestSince: at('08:00').getTime() } })
    expect(busy.toSorted((a, b) => ((a.agentId ?? '') < (b.agentId ?? '') ? -1 : 1))).toEqual([
      { agentId: 'asha', count: 1 },
      { agentId: 'meena', count: 1 },
    ])
  })

  test('knows the gaps that have been there for a while', async () => {
    const { generation } = await open()
    await generation.write(await batchOf(generation, entries.slice(0, 1)))
    await generation.write({ ...nothing, early: entries.slice(3) })
    expect(await generation.gaps(Date.now() - 60_000, 10)).toEqual([])
    expect(await generation.gaps(Date.now() + 60_000, 10)).toMatchObject([{ conversationId: id, after: 1, earliest: 4 }])
    await generation.postpone(id, Date.now() + 120_000)
    expect(await generation.gaps(Date.now() + 60_000, 10)).toEqual([])
    expect(await generation.gaps(Date.now() + 180_000, 10)).toHaveLength(1)
  })

  test('keeps the newest name of an agent, whatever order names come in', async () => {
    const { generation } = await open()
    const named = (firstName: string, when: number) => ({ id: 'asha', role: 'Support' as const, firstName, lastName: '', at: when })
    for (const agents of [[named('Second', 2)], [named('First', 1)], [named('Third', 3)], [named('Second', 2)]]) {
      await generation.write({ ...nothing, agents })
    }
    expect(await generation.agents(['asha'])).toEqual([named('Third', 3)])
  })

  test('swaps a generation in for the one that is still in use only, and drops what is not', async () => {
    const { store, other } = await open()
    expect(await store.current()).toBe(1)
    const old = await store.generation(1)
    await old.write({ ...nothing, facts: [mediaFact({ mediaId: 'a'.repeat(24), type: 'image', ownerId: 'asha', at: dayStart })] })
    const fresh = await other.generation(2)
    expect(await fresh.copyUploads(1)).toBe(1)
    expect(await fresh.copyUploads(1)).toBe(1)
    expect(await fresh.dirty()).toEqual([dayStart])
    expect(await fresh.uploads({ from: dayStart, to: dayStart + 1 }, 'asha')).toMatchObject([{ kind: 'media', detail: 'image' }])
    expect(await store.swap(7, 2)).toBe(false)
    expect(await store.swap(1, 2)).toBe(true)
    expect(await store.swap(1, 3)).toBe(false)
    expect(await other.current()).toBe(2)
    await expect(store.drop(2)).rejects.toThrow('in use')
    await store.drop(1)
    expect(await store.generations()).toEqual([2])
  })
})
