// The queue: oldest first, skipping whom nobody may take, one pass at a time, and a token for one write attempt.

import { openSqlite } from '@fieldline/service/sqlite'
import { describe, expect, test } from '@jest/globals'
import type { GivenBack } from '../src/assignment/assignment.ts'
import { sqlitePlaces } from '../src/assignment/places.store.sqlite.ts'
import type { PlacesStore } from '../src/assignment/places.ts'
import { type AssignOutcome, createQueue, type Waiting, type WaitingConversations } from '../src/assignment/queue.ts'

const noon = Date.UTC(2026, 10, 23, 12)
const silent = { info: () => undefined, warn: () => undefined }

/** Conversations as the queue sees them: in order, each assigned at most once. */
class Conversations implements WaitingConversations {
  readonly entries: Waiting[] = []
  readonly assigned: { conversationId: string; agentId: string; token: string }[] = []
  reads = 0
  /** What the next attempts end with, instead of assigning. */
  readonly script: (AssignOutcome | Error)[] = []
  /** Runs before each attempt. */
  meanwhile: () => Promise<void> = async () => undefined

  add(conversationId: string, minute: number, givenBack: GivenBack[] = []): void {
    this.entries.push({ conversationId, waitingSince: new Date(noon + minute * 60_000), givenBack })
    this.entries.sort((a, b) => a.waitingSince.getTime() - b.waitingSince.getTime() || (a.conversationId < b.conversationId ? -1 : 1))
  }
  async waiting(after: Waiting | null, limit: number): Promise<Waiting[]> {
    this.reads++
    const from = after
      ? this.entries.findIndex((entry) => entry.waitingSince >= after.waitingSince && entry.conversationId > after.conversationId)
      : 0
    return from < 0 ? [] : this.entries.slice(from, from + limit)
  }
  async assign(conversationId: string, { agentId, token }: { agentId: string; token: string }): Promise<AssignOutcome> {
    await this.meanwhile()
    const scripted = this.script.shift()
    if (scripted instanceof Error) throw scripted
    if (scripted) return scripted
    const at = this.entries.findIndex((entry) => entry.conversationId === conversationId)
    if (at < 0) return 'not-waiting'
    this.entries.splice(at, 1)
    this.assigned.push({ conversationId, agentId, token })
    return 'assigned'
  }
}

function setUp({ capacity = 5, coolingMs = 60_000 } = {}) {
  const places = sqlitePlaces(openSqlite(':memory:'))
  const conversations = new Conversations()
  let time = noon
  let tokens = 0
  const clock = { now: () => new Date(time++) }
  const queue = (over: Partial<{ places: Pick<PlacesStore, 'free' | 'reserve' | 'cancel'>; patienceMs: number }> = {}) =>
    createQueue({ places, conversations, clock, newToken: () => `t${++tokens}`, log: silent, capacity, coolingMs, ...over })
  async function agent(id: string): Promise<void> {
    await places.enrol({ id, agent: true, iat: 1 }, clock.now())
    await places.presence({ id, online: true, version: 1 }, clock.now())
  }
  const held = async (id: string) => (await places.find([id]))[0]?.active.map(({ token }) => token) ?? []
  return { places, conversations, clock, queue, agent, held }
}

describe('one pass', () => {
  test('hands out oldest first, each to the least busy', async () => {
    const { conversations, queue, agent } = setUp({ capacity: 2 })
    await agent('asha')
    await agent('meena')
    for (const minute of [3, 1, 2, 0, 4]) conversations.add(`c${minute}`, minute)
    await queue().drained()
    expect(conversations.assigned.map(({ conversationId, agentId }) => [conversationId, agentId])).toEqual([
      ['c0', 'asha'],
      ['c1', 'meena'],
      ['c2', 'asha'],
      ['c3', 'meena'],
    ])
    expect(conversations.entries.map(({ conversationId }) => conversationId)).toEqual(['c4'])
  })
  test('asks for free agents first: with none, the queue is not even read', async () => {
    const { conversations, queue } = setUp()
    conversations.add('c0', 0)
    await queue().drained()
    expect(conversations.reads).toBe(0)
  })
  test('skips an entry nobody may take, and takes the next', async () => {
    const { conversations, queue, agent, clock } = setUp()
    await agent('asha')
    conversations.add('given back', 0, [{ personId: 'asha', at: clock.now() }])
    conversations.add('next', 1)
    await queue().drained()
    expect(conversations.assigned.map(({ conversationId }) => conversationId)).toEqual(['next'])
  })
  test('reads on behind a hundred entries nobody may take', async () => {
    const { conversations, queue, agent, clock } = setUp()
    await agent('asha')
    for (let n = 0; n < 150; n++) conversations.add(`c${String(n).padStart(3, '0')}`, n, [{ personId: 'asha', at: clock.now() }])
    conversations.add('last', 200)
    await queue().drained()
    expect(conversations.assigned.map(({ conversationId }) => conversationId)).toEqual(['last'])
  })
  test('who gave it back gets it again after a while', async () => {
    const { conversations, queue, agent } = setUp({ coolingMs: 60_000 })
    await agent('asha')
    conversations.add('c0', 0, [{ personId: 'asha', at: new Date(noon - 60_000) }])
    await queue().drained()
    expect(conversations.assigned).toHaveLength(1)
  })
})

describe('a token', () => {
  test('is good for one attempt: after a conflict another is reserved, and nothing leaks', async () => {
    const { conversations, queue, agent, held } = setUp()
    await agent('asha')
    conversations.add('c0', 0)
    conversations.script.push('conflict', 'conflict')
    await queue().drained()
    expect(conversations.assigned).toEqual([{ conversationId: 'c0', agentId: 'asha', token: 't3' }])
    expect(await held('asha')).toEqual(['t3'])
  })
  test('for a try that came to nothing leaves its agent as idle as before', async () => {
    const { places, conversations, queue, agent } = setUp()
    await agent('asha')
    await agent('meena')
    const idle = async () => (await places.find(['asha', 'meena'])).map(({ id, idleSince }) => [id, idleSince])
    const before = await idle()
    conversations.add('c0', 0)
    conversations.script.push('conflict', 'refused')
    await queue().drained()
    expect(await idle()).toEqual(before)
  })
  test('goes back when there is nothing to assign any more', async () => {
    const { conversations, queue, agent, held } = setUp()
    await agent('asha')
    conversations.add('c0', 0)
    conversations.script.push('not-waiting')
    conversations.meanwhile = async () => void conversations.entries.splice(0)
    await queue().drained()
    expect(await held('asha')).toEqual([])
  })
  test('is kept while the outcome is unknown, for the sweeper to judge', async () => {
    const { conversations, queue, agent, held } = setUp({ capacity: 1 })
    await agent('asha')
    conversations.add('c0', 0)
    conversations.script.push(new Error('the answer was lost'))
    await queue().drained()
    expect(await held('asha')).toEqual(['t1'])
  })
  test('endless conflicts end the try, not the service', async () => {
    const { conversations, queue, agent, held } = setUp()
    await agent('asha')
    conversations.add('c0', 0)
    conversations.add('c1', 1)
    conversations.script.push('conflict', 'conflict', 'conflict', 'conflict', 'conflict')
    await queue().drained()
    expect(conversations.assigned.map(({ conversationId }) => conversationId)).toEqual(['c1', 'c0'])
    expect(await held('asha')).toHaveLength(2)
  })
})

describe('several passes', () => {
  test('drained() waits for a pass begun after it, so what was added before it is handed out', async () => {
    const { conversations, queue, agent } = setUp()
    await agent('asha')
    const one = queue()
    conversations.add('first', 0)
    let added: Promise<void> | undefined
    conversations.meanwhile = async () => {
      if (added) return
      conversations.add('second', 1)
      added = one.drained()
    }
    await one.drained()
    await added
    expect(conversations.assigned).toHaveLength(2)
  })
  test('a hundred requests at once make at most two passes', async () => {
    const { places, queue, agent } = setUp()
    await agent('asha')
    let passes = 0
    const counted = {
      free: (capacity: number) => {
        passes++
        return places.free(capacity)
      },
      reserve: places.reserve,
      cancel: places.cancel,
    }
    const one = queue({ places: counted })
    await Promise.all(Array.from({ length: 100 }, () => one.drained()))
    expect(passes).toBe(2)
  })
  test('three replicas at once assign each conversation once, and exceed nobody', async () => {
    const { conversations, queue, agent, held } = setUp({ capacity: 5 })
    for (let n = 0; n < 10; n++) await agent(`agent${n}`)
    for (let n = 0; n < 200; n++) conversations.add(`c${String(n).padStart(3, '0')}`, n)
    await Promise.all([queue().drained(), queue().drained(), queue().drained()])
    expect(conversations.assigned).toHaveLength(50)
    for (let n = 0; n < 10; n++) {
      const tokens = conversations.assigned.filter(({ agentId }) => agentId === `agent${n}`).map(({ token }) => token)
      expect(new Set(await held(`agent${n}`))).toEqual(new Set(tokens))
      expect(tokens).toHaveLength(5)
    }
  })
  test('drained() gives up waiting after its patience, and a failing pass rejects nobody', async () => {
    const { queue, places } = setUp()
    const never = { ...places, free: () => new Promise<never>(() => undefined) }
    await queue({ places: never, patienceMs: 20 }).drained()
    const failing = { ...places, free: () => Promise.reject(new Error('away')) }
    await queue({ places: failing }).drained()
  })
  test('after stop() nothing is handed out', async () => {
    const { conversations, queue, agent } = setUp()
    await agent('asha')
    conversations.add('c0', 0)
    const one = queue()
    await one.stop()
    await one.drained()
    expect(conversations.assigned).toEqual([])
  })
})
