// The two commands that go back to the truth: a recount finds every kind of difference, and a rebuild cures them, whoever else rebuilds.
import type { ConversationEvent } from '@fieldline/contracts/events'
import { expect, test } from '@jest/globals'
import { levels } from '../src/blocks.ts'
import { entryOf } from '../src/entries.ts'
import type { FactsStore, Generation } from '../src/facts.store.ts'
import type { Feed } from '../src/feed.ts'
import { ingest } from '../src/ingest.ts'
import { rebuild } from '../src/rebuild.ts'
import { rollUpDirty } from '../src/rollup.ts'
import { mediaFact } from '../src/tally.ts'
import { verify } from '../src/verify.ts'
import { describeStores } from './stores.ts'
import { asha, idOf, rajesh, story } from './story.ts'

const at = (time: string) => new Date(`2026-11-02T${time}Z`)
const quarter = at('09:00').getTime()
const tales = [1, 2, 3].map((number) =>
  story(number).created(at('09:00')).says(rajesh, at('09:01')).assign(asha, at('09:20')).says(asha, at('11:00')),
)
const log = tales.map(({ events }) => events)
const nothing = { facts: [], moves: [], early: [], agents: [] }
const stray = (conversationId: string, eventNo: number) => ({
  ...{ conversationId, eventNo, kind: 'message' as const, at: quarter + 60_000, detail: 'User' as const },
  ...{ agentId: null, holderId: null, ms: null, first: false },
})

/** A log in memory; `onPage` is awaited before each look at the list of conversations. */
function feedOf(events: readonly (readonly ConversationEvent[])[], onPage: () => Promise<unknown> = async () => undefined): Feed {
  return {
    async *walk() {
      await onPage()
      yield events.map((list, index) => ({ conversationId: list[0]?.conversationid ?? idOf(index), eventNo: list.length }))
    },
    async *events(id, after) {
      yield (events.find(([first]) => first?.conversationid === id) ?? []).slice(after)
    },
  }
}

async function differences(store: FactsStore, feed = feedOf(log)): Promise<string[]> {
  const found: string[] = []
  const { differences: count } = await verify(store, feed, (text) => found.push(text))
  expect(count).toBe(found.length)
  return found
}

describeStores('the truth', (stores) => {
  let names = 0
  async function counted(): Promise<{ store: FactsStore; other: FactsStore; generation: Generation }> {
    names += 1
    const store = await stores.open(`truth-${names}`)
    await ingest(store, { entries: log.flat().map(entryOf), uploads: [] })
    await rollUpDirty(store)
    return { store, other: await stores.open(`truth-${names}`), generation: await store.generation(1) }
  }
  const take = (store: FactsStore) => rebuild({ store, feed: feedOf(log), graceMs: 0, onProgress: () => undefined })

  test('what was counted is what the log says, and what has not come yet is no difference', async () => {
    const { store } = await counted()
    expect(await differences(store)).toEqual([])
    const more = story(4).created(at('12:00'))
    const result = await verify(store, feedOf([...log, more.events]), () => undefined)
    expect(result).toEqual({ conversations: 4, events: 16, days: 1, behind: 1, differences: 0 })
  })

  test('what the service counts while the recount runs is no difference', async () => {
    const { store, generation } = await counted()
    const [tale] = tales
    const busy: Generation = {
      ...generation,
      async heads(ids) {
        const heads = await generation.heads(ids)
        const next = { ...tale?.events[1], eventno: 6, time: at('11:05').toISOString() } as ConversationEvent
        await ingest(store, { entries: [entryOf(next)], uploads: [] })
        return heads
      },
    }
    expect(await differences({ ...store, generation: async () => busy })).toEqual([])
  })

  test('a fact too many, a conversation the log does not know and a wrong head are told', async () => {
    const { store, generation } = await counted()
    await generation.write({ ...nothing, facts: [stray(idOf(1), 1)] })
    const head = (await generation.heads([idOf(2)])).get(idOf(2))
    if (!head) throw new Error('no head')
    await generation.write({ ...nothing, moves: [{ from: head.eventNo, head: { ...head, status: 'resolved' } }] })
    await generation.write({ ...nothing, moves: [{ from: 0, head: { ...head, conversationId: idOf(77) } }] })
    expect(await differences(store)).toEqual([
      `${idOf(1)}: the fact "1 message" is nowhere in the log`,
      expect.stringContaining(`${idOf(2)}: the head is`),
      '4 conversations are kept, the log has 3 of them',
    ])
  })

  test('kept sums that are not those of their facts are told, be it of a quarter, an hour or a day', async () => {
    const { store, generation } = await counted()
    const wrong: Generation = {
      ...generation,
      async sums(level, starts, scope) {
        const rows = await generation.sums(level, starts, scope)
        const first = (start: number) => start === Math.floor(quarter / levels[level]) * levels[level]
        return rows.map((row) => (first(row.start) ? { ...row, sums: { ...row.sums, counts: { ...row.sums.counts, User: 99 } } } : row))
      },
    }
    expect(await differences({ ...store, generation: async () => wrong })).toEqual([
      'the sums of the day from 2026-11-02T00:00:00.000Z are not those of its facts',
      'the sums of the hour from 2026-11-02T09:00:00.000Z are not those of its facts',
      'the sums of the quarter from 2026-11-02T09:00:00.000Z are not those of its facts',
    ])
  })

  test('days with nothing but uploads are compared too', async () => {
    const { store } = await counted()
    const upload = mediaFact({ mediaId: 'e'.repeat(24), type: 'image', ownerId: 'rajesh', at: at('00:00').getTime() - 1 })
    await ingest(store, { entries: [], uploads: [upload] })
    await rollUpDirty(store)
    expect(await verify(store, feedOf(log), () => undefined)).toMatchObject({ days: 2, differences: 0 })
  })

  test('a log that cannot be counted is told by name, and the others are compared', async () => {
    const { store } = await counted()
    const [first = [], ...rest] = log
    expect(await differences(store, feedOf([first.slice(1).map((event, index) => ({ ...event, eventno: index + 1 })), ...rest]))).toEqual([
      expect.stringContaining(`${idOf(1)}: its log cannot be counted`),
    ])
  })

  test('of two rebuilds at once the first to finish is taken, whole, and the other gives up', async () => {
    const { store, other, generation } = await counted()
    await generation.write({ ...nothing, facts: [stray(idOf(1), 1)] })
    let passes = 0
    // The slower one began first, has replayed all, and stands before its swap when the other comes and goes.
    const slow = rebuild({
      store: { ...other, swap: async (from, to) => ((await take(store)) > 0 ? other.swap(from, to) : false) },
      feed: feedOf(log, async () => (passes += 1)),
      graceMs: 0,
      onProgress: () => undefined,
    })
    await expect(slow).rejects.toThrow('Another rebuild was swapped in meanwhile')
    expect(passes).toBe(1)
    expect(await differences(store)).toEqual([])
    expect(await store.current()).toBe(3)
    // What it leaves behind, as one that died does, is gone after the next.
    expect(await take(store)).toBe(4)
    expect(await store.generations()).toEqual([4])
  })

  test('one that begins while another is at work takes nothing from under it', async () => {
    const { store, other } = await counted()
    const died = new Error('killed')
    const second = () => rebuild({ store: other, feed: feedOf(log, () => Promise.reject(died)), graceMs: 0, onProgress: () => undefined })
    let begun = false
    const feed = feedOf(log)
    const first = rebuild({
      store,
      feed: {
        ...feed,
        async *events(id, after) {
          if (!begun) {
            begun = true
            await expect(second()).rejects.toBe(died)
          }
          yield* feed.events(id, after)
        },
      },
      graceMs: 0,
      onProgress: () => undefined,
    })
    expect(await first).toBe(2)
    expect(await differences(store)).toEqual([])
  })
})
