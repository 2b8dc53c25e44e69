// Presence after crashes, told by the reaper's own clock: leases, graces, announcements left undone, records in the midst of being taken over, an instance that finds itself declared dead.

import type { EventBus, OutgoingEvent } from '@fieldline/bus/bus'
import type { UserOffline, UserOnline } from '@fieldline/contracts/events'
import type { ConversationId } from '@fieldline/contracts/ids'
import { systemClock } from '@fieldline/service/clock'
import { silentLogger } from '@fieldline/service/logger'
import { rajesh } from '@fieldline/testing/factories'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import type { Audience } from '../src/audience.ts'
import { openPresenceSqlite } from '../src/presence/presence.store.sqlite.ts'
import type { Change, PresenceStore } from '../src/presence/presence.store.ts'
import { announced, endInstance, liveDevices, reconcile } from '../src/presence/presence.ts'
import { Reaper } from '../src/presence/reaper.ts'
import { Roster } from '../src/presence/roster.ts'
import { type ChatSocket, Session } from '../src/session.ts'

const marks = { tokenMark: 't', userAgent: 'ua', clientId: 'c', shown: false }
const conversationId = 'a'.repeat(24) as ConversationId
const noon = '2026-11-23T12:00:00.000Z'

let store: PresenceStore
let said: (UserOnline | UserOffline)[]
let brokerUp: boolean
beforeEach(() => {
  // As the shared database is: others may live.
  store = { ...openPresenceSqlite(':memory:'), exclusive: false }
  said = []
  brokerUp = true
})
afterEach(() => store.stop?.())

/** One replica's presence, without sockets: whoever is in `here` is connected to it. */
function replica(name: string, atOnce = 1_000) {
  let now = 0
  const here = new Set<Session>()
  const audience = { of: () => here, sessions: () => here } as unknown as Audience
  const bus = {
    publish: async ({ body }: OutgoingEvent) => {
      if (!brokerUp) throw new Error('the broker is away')
      said.push(body as UserOnline | UserOffline)
    },
  } as unknown as EventBus
  const reaper = new Reaper({
    store,
    roster: () => roster,
    log: silentLogger,
    clock: systemClock,
    name,
    leaseMs: 1_000,
    graceMs: 5_000,
    recordsMs: 60_000,
    catchUp: async () => undefined,
    monotonic: () => now,
    atOnce,
  })
  const roster: Roster = new Roster({
    store,
    bus,
    audience,
    log: silentLogger,
    clock: systemClock,
    namespace: '',
    flushMs: 1_000_000,
    cursorFlushMs: 1_000_000,
    instance: () => reaper.incarnation,
    onKnown: () => undefined,
  })
  const pass = (ms: number) => {
    now += ms
  }
  const after = async (ms: number) => {
    pass(ms)
    await reaper.tick()
    await roster.quiet()
  }
  const connect = async (id: string) => {
    const session = new Session({ id } as ChatSocket, { person: rajesh, token: '' }, marks, undefined)
    here.add(session)
    roster.touch(session)
    await roster.flush()
    await roster.quiet()
    return session
  }
  const disconnect = async (session: Session) => {
    here.delete(session)
    roster.ended(session)
    await roster.flush()
  }
  return { reaper, roster, pass, after, connect, disconnect }
}
const types = () => said.map(({ type, data }) => `${type} ${data.version}`)
const presence = async () => {
  const [stored] = await store.load(['rajesh'])
  if (!stored) throw new Error('not stored')
  return stored.presence
}

test('offline a grace after the last device, and not a moment before', async () => {
  const a = replica('a')
  await a.after(0)
  const phone = await a.connect('phone')
  const laptop = await a.connect('laptop')
  await a.disconnect(phone)
  await a.after(60_000)
  await a.disconnect(laptop)
  await a.after(0)
  await a.after(4_999)
  expect((await presence()).online).toBe(true)
  await a.after(1)
  expect(await presence()).toMatchObject({ online: false, version: 2, announcedVersion: 2 })
  expect(types()).toEqual(['user.online 1', 'user.offline 2'])
})

test('a reconnect within the grace is no flicker', async () => {
  const a = replica('a')
  await a.after(0)
  for (let n = 0; n < 50; n += 1) {
    const phone = await a.connect(`phone ${n}`)
    await a.disconnect(phone)
    await a.after(4_000)
  }
  expect(types()).toEqual(['user.online 1'])
})

test("a dead instance's devices end after a lease, whoever has one elsewhere stays online", async () => {
  const [a, b] = [replica('a'), replica('b')]
  await a.after(0)
  await b.after(0)
  await a.connect('phone')
  // The instance a dies here: it counts on no more.
  await b.after(999)
  expect(liveDevices(await presence())).toHaveLength(1)
  await b.after(1)
  expect(liveDevices(await presence())).toHaveLength(0)
  expect((await store.instances()).map(({ id }) => id)).toEqual([b.reaper.incarnation])
  await b.connect('laptop')
  await b.after(60_000)
  expect(await presence()).toMatchObject({ online: true, version: 1 })
})

test('a living instance is left alone however long it is watched', async () => {
  const [a, b] = [replica('a'), replica('b')]
  await a.after(0)
  await a.connect('phone')
  for (let n = 0; n < 20; n += 1) {
    await b.after(900)
    await a.after(900)
  }
  expect(liveDevices(await presence())).toHaveLength(1)
})

test('killed between the write and the announcement: another replica announces it, once', async () => {
  const [a, b] = [replica('a'), replica('b')]
  await a.after(0)
  brokerUp = false
  await a.connect('phone')
  expect(await presence()).toMatchObject({ version: 1, announcedVersion: 0 })
  brokerUp = true
  await b.after(0)
  await b.after(60_000)
  expect(types()[0]).toBe('user.online 1')
  await b.after(1)
  expect(types().filter((type) => type === 'user.online 1')).toHaveLength(1)
})

test('an end that others were quicker to write over each time is written later', async () => {
  const [a, b] = [replica('a'), replica('b')]
  await a.after(0)
  const phone = await a.connect('phone')
  const { save } = store
  // As if somebody else wrote between each load and save.
  Object.assign(store, { save: async (changes: readonly Change[]) => new Set(changes.map(({ after }) => after.personId)) })
  await a.disconnect(phone)
  Object.assign(store, { save })
  await a.roster.flush()
  expect(liveDevices(await presence())).toEqual([])
  await b.after(0)
  await b.after(5_000)
  expect(types()).toEqual(['user.online 1', 'user.offline 2'])
})

test('an instance that finds itself declared dead registers its people again', async () => {
  const [a, b] = [replica('a'), replica('b')]
  await a.after(0)
  await a.connect('phone')
  const before = a.reaper.incarnation
  await b.after(0)
  await b.after(1_000)
  expect(liveDevices(await presence())).toHaveLength(0)
  await a.after(0)
  await a.roster.flush()
  expect(a.reaper.incarnation).not.toBe(before)
  expect(liveDevices(await presence())).toMatchObject([{ id: 'phone', instance: a.reaper.incarnation }])
  expect(types()).toEqual(['user.online 1'])
})

test('a predecessor of the same name is dead without a lease', async () => {
  const before = replica('a')
  await before.after(0)
  await before.connect('phone')
  const after = replica('a')
  await after.after(0)
  expect(liveDevices(await presence())).toHaveLength(0)
})

test('a stop ends its devices at once, without a lease', async () => {
  const [a, b] = [replica('a'), replica('b')]
  await a.after(0)
  await b.after(0)
  const phone = await a.connect('phone')
  await a.disconnect(phone)
  await a.reaper.stop()
  expect((await store.instances()).map(({ id }) => id)).toEqual([b.reaper.incarnation])
})

test('a replica that dies just after it took a record over leaves it for the next connection', async () => {
  const [a, b] = [replica('a'), replica('b')]
  await a.after(0)
  await b.after(0)
  const first = await b.connect('first')
  first.enter(conversationId, 7)
  await b.disconnect(first)
  const second = await b.connect('second')
  expect(await b.roster.take(second, marks)).toMatchObject({ record: { id: 'first' } })
  // kill -9: nothing more of b is written.
  await a.after(0)
  await a.after(1_000)
  const third = await a.connect('third')
  expect(await a.roster.take(third, marks)).toMatchObject({ record: { id: 'second', rooms: [{ conversationId, seq: 7 }] } })
})

test('a record whose taking was written, but not answered, is still taken by the same socket', async () => {
  const a = replica('a')
  await a.after(0)
  const first = await a.connect('first')
  first.enter(conversationId, 7)
  await a.disconnect(first)
  const second = await a.connect('second')
  const { save } = store
  store.save = async (changes) => {
    await save(changes)
    throw new Error('the answer was lost')
  }
  await expect(a.roster.take(second, marks)).rejects.toThrow('the answer was lost')
  store.save = save
  expect(await a.roster.take(second, marks)).toMatchObject({ record: { id: 'first', rooms: [{ conversationId, seq: 7 }] } })
})

/** Of each the only device has ended, and left a record. */
async function crowdThatLeft(): Promise<string[]> {
  const people = Array.from({ length: 7 }, (_, n) => `person ${n}`)
  const changes = people.map((id) => {
    const device = { id: `phone of ${id}`, ...marks, rooms: [{ conversationId, seq: 7 }] }
    const there = reconcile(null, { instance: 'gone', person: { ...rajesh, id }, iat: 1, live: [device], ended: [] }, noon)
    return { before: null, after: announced(endInstance(there, 'gone', noon), 1) }
  })
  await store.save(changes)
  return people
}
const online = async (people: readonly string[]) => (await store.load(people)).filter((one) => one.presence.online).length

test('of more people than a page holds everybody goes offline after one grace, and every record is forgotten after its time', async () => {
  const a = replica('a', 2)
  const people = await crowdThatLeft()
  await a.after(0)
  await a.after(4_999)
  expect(await online(people)).toBe(7)
  await a.after(1)
  expect(await online(people)).toBe(0)
  expect(types().sort()).toEqual(people.map(() => 'user.offline 2'))
  await a.after(54_999)
  expect((await store.load(people)).map(({ presence }) => presence.devices.length)).toEqual(people.map(() => 1))
  await a.after(3_000)
  expect((await store.load(people)).map(({ presence }) => presence.devices.length)).toEqual(people.map(() => 0))
})

test('what nobody could announce is announced a page a round, until nothing is left', async () => {
  const a = replica('a', 3)
  const people = await crowdThatLeft()
  brokerUp = false
  await a.after(0)
  await a.after(5_000)
  expect(await online(people)).toBe(0)
  brokerUp = true
  const told: number[] = []
  for (let round = 0; round < 4; round += 1) {
    await a.after(1_000)
    told.push(said.length)
  }
  expect(told).toEqual([3, 6, 7, 7])
})

test('a round longer than the lease proves life between its pages', async () => {
  const a = replica('a', 2)
  await crowdThatLeft()
  await a.after(0)
  const { idle } = store
  store.idle = async function* (atOnce) {
    for await (const page of idle(atOnce)) {
      a.pass(900)
      yield page
    }
  }
  const counter = async () => (await store.instances())[0]?.counter ?? 0
  const before = await counter()
  await a.after(0)
  expect(await counter()).toBe(before + 5)
})

test('what a round has no time to write is written in the next', async () => {
  const a = replica('a', 2)
  const people = await crowdThatLeft()
  await a.after(0)
  const { save } = store
  store.save = async (changes) => {
    a.pass(1_000)
    return save(changes)
  }
  await a.after(5_000)
  expect(await online(people)).toBe(5)
  for (let round = 0; round < 3; round += 1) await a.after(0)
  expect(await online(people)).toBe(0)
})

test('a stop waits for no more than the page under way', async () => {
  const a = replica('a', 2)
  await crowdThatLeft()
  await a.after(0)
  const { idle } = store
  let pages = 0
  let stopping: Promise<void> | undefined
  store.idle = async function* (atOnce) {
    for await (const page of idle(atOnce)) {
      pages += 1
      stopping ??= a.reaper.stop()
      yield page
    }
  }
  await a.reaper.tick()
  await stopping
  expect(pages).toBe(1)
})

test('records, which live for minutes, are not looked at in every round', async () => {
  const a = replica('a')
  const { records } = store
  let walks = 0
  store.records = (atOnce) => {
    walks += 1
    return records(atOnce)
  }
  for (let round = 0; round < 6; round += 1) await a.after(1_000)
  expect(walks).toBe(2)
})
