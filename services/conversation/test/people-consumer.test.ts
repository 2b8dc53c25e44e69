// The queue `conversation.people`, end to end on the in-process bus: events move people and places; choices are announced and come back.

import type { EventBus } from '@fieldline/bus/bus'
import { connectBus } from '@fieldline/bus/connect'
import { conversationPeopleQueue, eventsExchange, topology } from '@fieldline/contracts/topology'
import { openSqlite } from '@fieldline/service/sqlite'
import { afterEach, describe, expect, test } from '@jest/globals'
import { createAgents } from '../src/assignment/agents.ts'
import { sqlitePlaces } from '../src/assignment/places.store.sqlite.ts'
import { consumePeople } from '../src/people/people.consumer.ts'
import { sqlitePeople } from '../src/people/people.store.sqlite.ts'
import { createPeople } from '../src/people/people.ts'

const noon = new Date('2026-11-23T12:00:00.000Z')
const asha = { id: 'asha', role: 'Support', firstName: 'Asha', lastName: 'Rao', phone: null } as const
const silent = { warn: () => undefined }
let ends: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const end of ends.reverse()) await end()
  ends = []
})

async function setUp() {
  const db = openSqlite(':memory:')
  const clock = { now: () => noon }
  const places = sqlitePlaces(db)
  const register = {
    enrol: (person: { id: string; agent: boolean; iat: number }) => places.enrol(person, noon),
    presence: async (change: { id: string; online: boolean; version: number }) => void (await places.presence(change, noon)),
  }
  const people = createPeople({ store: sqlitePeople(db), register })
  const bus = await connectBus('memory:', { topology, name: 'test' })
  ends.push(() => bus.close())
  let changes = 0
  const onChange = () => void changes++
  const consumer = await consumePeople({ bus, people, onChange }, conversationPeopleQueue)
  ends.push(() => consumer.stop())
  return { people, places, bus, clock, changes: () => changes }
}

function tell(bus: EventBus, type: 'user.online' | 'user.offline', version: number, more: object = {}): Promise<void> {
  const at = noon.toISOString()
  const data = { person: asha, version, at, ...(type === 'user.online' ? { iat: 100 } : { lastSeenAt: at }), ...more }
  const body = {
    specversion: '1.0',
    id: `${type} ${version}`,
    source: 'realtime',
    time: at,
    datacontenttype: 'application/json',
    type,
    data,
  }
  // The in-process bus confirms when the consumer is through.
  return bus.publish({ exchange: eventsExchange, routingKey: type, id: body.id, body })
}

describe('user.online and user.offline', () => {
  test('an agent who comes online is known, free and a cause to hand out', async () => {
    const { bus, people, places, changes } = await setUp()
    await tell(bus, 'user.online', 1)
    expect((await people.summaries(['asha'])).get('asha')).toEqual(asha)
    expect((await places.free(5)).map(({ id }) => id)).toEqual(['asha'])
    expect(changes()).toBe(1)
  })
  test('older versions and repetitions change nothing', async () => {
    const { bus, people, places } = await setUp()
    await tell(bus, 'user.online', 3)
    await tell(bus, 'user.offline', 4)
    await tell(bus, 'user.online', 3)
    expect(await people.online(['asha'])).toEqual(new Set())
    expect(await places.free(5)).toEqual([])
  })
  test('an event of another shape is dead, its neighbours are processed', async () => {
    const { bus, people } = await setUp()
    await tell(bus, 'user.online', 1, { version: 'one' })
    await tell(bus, 'user.online', 2)
    expect(await bus.deadLetters(conversationPeopleQueue)).toBe(1)
    expect(await people.online(['asha'])).toEqual(new Set(['asha']))
  })
})

describe('availability', () => {
  async function withAgents(publish?: EventBus['publish']) {
    const given = await setUp()
    await tell(given.bus, 'user.online', 1)
    let freed = 0
    const bus = { publish: publish ?? ((event) => given.bus.publish(event)) } satisfies Pick<EventBus, 'publish'>
    const agents = createAgents({ ...given, bus, namespace: '', log: silent, capacity: 5, onFree: () => void freed++ })
    ends.push(() => agents.stop())
    return { ...given, agents, freed: () => freed }
  }

  test('a choice is shown, published with its version, and announced once', async () => {
    const { agents, places, changes } = await withAgents()
    expect(await agents.setAvailable('asha', false)).toEqual({
      _id: 'asha',
      first_name: 'Asha',
      last_name: 'Rao',
      role: 'Support',
      isOnline: true,
      available: false,
      active: 0,
      capacity: 5,
      lastSeenAt: noon.toISOString(),
    })
    await agents.announce()
    expect(changes()).toBe(2)
    await agents.announce()
    expect(changes()).toBe(2)
    expect((await places.find(['asha']))[0]).toMatchObject({ version: 1, announcedVersion: 1 })
    expect(await agents.list()).toMatchObject([{ _id: 'asha', available: false }])
  })
  test('with the broker away the choice counts at once and is announced later', async () => {
    let away = true
    const published: unknown[] = []
    const { agents, places } = await withAgents(async (event) => {
      if (away) throw new Error('away')
      published.push(event.body)
    })
    await agents.setAvailable('asha', false)
    await agents.announce()
    expect((await places.find(['asha']))[0]).toMatchObject({ available: false, announcedVersion: 0 })
    away = false
    await agents.announce()
    expect(published).toMatchObject([{ type: 'user.availability-changed', data: { person: asha, version: 1, available: false } }])
  })
  test('becoming available is a cause to hand out, ceasing is none', async () => {
    const { agents, freed } = await withAgents()
    await agents.setAvailable('asha', false)
    expect(freed()).toBe(0)
    await agents.setAvailable('asha', true)
    expect(freed()).toBe(1)
  })
  test('somebody who is no agent cannot choose', async () => {
    const { agents } = await withAgents()
    await expect(agents.setAvailable('nobody', true)).rejects.toMatchObject({ code: 'FORBIDDEN' })
  })
})
