// What every presence store promises, proved for each adapter.

import type { ConversationId } from '@fieldline/contracts/ids'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import type { PresenceStore, Walk } from '../src/presence/presence.store.ts'
import { announced, endInstance, goOffline, type Presence, reconcile } from '../src/presence/presence.ts'

const at = '2026-11-23T12:00:00.000Z'
const device = (id: string, seq?: number) => ({
  id,
  tokenMark: 't',
  userAgent: 'ua',
  rooms: seq === undefined ? [] : [{ conversationId: 'a'.repeat(24) as ConversationId, seq }],
})
const arrived = (personId: string, instance: string, deviceId = `${personId}-1`): Presence =>
  reconcile(
    null,
    {
      instance,
      person: { id: personId, role: 'User', firstName: '', lastName: '', phone: null },
      iat: 1,
      live: [device(deviceId, 3)],
      ended: [],
    },
    at,
  )

export function presenceStoreContract(open: () => Promise<{ store: PresenceStore; end: () => Promise<void> }>): void {
  let store: PresenceStore
  let end: () => Promise<void>
  beforeEach(async () => {
    const opened = await open()
    store = opened.store
    end = opened.end
  })
  afterEach(() => end())
  const ids = (found: readonly { presence: Presence }[]) => found.map(({ presence }) => presence.personId).sort()
  const all = async <Found>(walk: Walk<Found>) => (await Array.fromAsync(walk)).flat()
  const only = async (personId: string) => {
    const [stored] = await store.load([personId])
    if (!stored) throw new Error(`${personId} is not stored`)
    return stored
  }

  test('a document is read as it was written; unknown people are left out', async () => {
    // A person's id is opaque: never an operator, never a path.
    const odd = '$where.__proto__/../ö'
    expect(
      await store.save([
        { before: null, after: arrived('rajesh', 'A.1') },
        { before: null, after: arrived(odd, 'A.1') },
      ]),
    ).toEqual(new Set())
    const found = await store.load(['rajesh', 'nobody', odd])
    expect(ids(found)).toEqual([odd, 'rajesh'].sort())
    expect(found.find(({ presence }) => presence.personId === 'rajesh')?.presence).toEqual(arrived('rajesh', 'A.1'))
  })

  test('of two writers only the first is heard, also of two that create, and the others of a bulk are written', async () => {
    await store.save([{ before: null, after: arrived('rajesh', 'A.1') }])
    const before = await only('rajesh')
    const mine = announced(before.presence, 1)
    expect(await store.save([{ before, after: mine }])).toEqual(new Set())
    const late = { before, after: goOffline(before.presence, 0) }
    const again = { before: null, after: arrived('rajesh', 'B.1') }
    expect(await store.save([late, { before: null, after: arrived('sunita', 'A.1') }])).toEqual(new Set(['rajesh']))
    expect(await store.save([again, { before: null, after: arrived('asha', 'A.1') }])).toEqual(new Set(['rajesh']))
    expect((await only('rajesh')).presence).toEqual(mine)
    expect(ids(await store.load(['sunita', 'asha']))).toEqual(['asha', 'sunita'])
  })

  test('a hundred writers at once each change the document once', async () => {
    await store.save([{ before: null, after: { ...arrived('rajesh', 'A.1'), epoch: 0 } }])
    const raise = async () => {
      for (;;) {
        const before = await only('rajesh')
        const lost = await store.save([{ before, after: { ...before.presence, epoch: before.presence.epoch + 1 } }])
        if (lost.size === 0) return
      }
    }
    await Promise.all(Array.from({ length: 20 }, raise))
    expect((await only('rajesh')).presence.epoch).toBe(20)
  })

  test('finds who is idle, unannounced, at an instance, or has records', async () => {
    await store.save(['rajesh', 'sunita'].map((id) => ({ before: null, after: arrived(id, 'A.1') })))
    await store.save([{ before: null, after: announced(arrived('asha', 'B.1'), 1) }])
    expect(ids(await store.ofInstance('A.1', 10))).toEqual(['rajesh', 'sunita'])
    expect((await all(store.unannounced(10))).map(({ personId }) => personId).sort()).toEqual(['rajesh', 'sunita'])
    expect(await all(store.idle(10))).toEqual([])
    const before = await only('rajesh')
    await store.save([{ before, after: endInstance(before.presence, 'A.1', at) }])
    expect(await all(store.idle(10))).toEqual([{ personId: 'rajesh', epoch: 2 }])
    expect(await all(store.records(10))).toEqual([{ personId: 'rajesh', id: 'rajesh-1' }])
    expect(ids(await store.ofInstance('A.1', 10))).toEqual(['sunita'])
  })

  test('a live device is no record beside one that has ended', async () => {
    const both = endInstance(
      { ...arrived('rajesh', 'A.1'), devices: [...arrived('rajesh', 'A.1').devices, ...arrived('rajesh', 'B.1', 'b').devices] },
      'A.1',
      at,
    )
    await store.save([{ before: null, after: both }])
    expect(await all(store.records(10))).toEqual([{ personId: 'rajesh', id: 'rajesh-1' }])
    expect(await all(store.idle(10))).toEqual([])
  })

  const crowd = Array.from({ length: 7 }, (_, n) => `person ${n}`)
  const left = (personId: string) => endInstance(arrived(personId, 'A.1'), 'A.1', at)
  const walks = ['idle', 'unannounced', 'records'] as const

  test.each(walks)('a walk over %s meets everybody once, however small its pages', async (which) => {
    await store.save(crowd.map((id) => ({ before: null, after: left(id) })))
    for (const atOnce of [1, 2, 7, 8]) {
      const pages = await Array.fromAsync(store[which](atOnce) as Walk<{ personId: string }>)
      expect(Math.max(...pages.map(({ length }) => length))).toBeLessThanOrEqual(atOnce)
      expect(
        pages
          .flat()
          .map(({ personId }) => personId)
          .sort(),
      ).toEqual(crowd)
    }
  })

  test('who is met leaves, who is not met is written, somebody comes: a walk still meets all who stay', async () => {
    await store.save(crowd.map((id) => ({ before: null, after: left(id) })))
    const met: string[] = []
    for await (const page of store.idle(2)) {
      met.push(...page.map(({ personId }) => personId))
      if (met.length > 2) continue
      const gone = await store.load(met)
      await store.save(gone.map((before) => ({ before, after: goOffline(before.presence, before.presence.epoch) })))
      const waiting = await store.load(crowd.filter((id) => !met.includes(id)))
      await store.save(waiting.map((before) => ({ before, after: announced(before.presence, 1) })))
      await store.save([{ before: null, after: left('a newcomer') }])
    }
    expect(met.filter((id) => id !== 'a newcomer').sort()).toEqual(crowd)
  })

  test('an instance that was declared dead cannot count on, and one that counted on cannot be declared dead', async () => {
    await store.register('A.1')
    expect(await store.beat('A.1')).toBe(true)
    const [seen] = await store.instances()
    expect(seen).toMatchObject({ id: 'A.1' })
    expect(await store.beat('A.1')).toBe(true)
    expect(await store.declareDead('A.1', seen?.counter ?? 0)).toBe(false)
    const [now] = await store.instances()
    expect(await store.declareDead('A.1', now?.counter ?? 0)).toBe(true)
    expect(await store.beat('A.1')).toBe(false)
    expect(await store.instances()).toHaveLength(1)
    await store.remove('A.1')
    expect(await store.instances()).toEqual([])
    expect(await store.beat('A.1')).toBe(false)
  })

  test('a living instance is not removed', async () => {
    await store.register('A.1')
    await store.remove('A.1')
    expect(await store.instances()).toHaveLength(1)
  })
}
