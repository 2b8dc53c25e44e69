// The people projection: what moves it forward and what doesn't, which role counts, and what it costs, on each store.

import type { Person } from '@fieldline/contracts/people'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { PeopleStore } from '../src/people/people.store.ts'
import { createPeople, type People } from '../src/people/people.ts'
import { effectiveRole, type KnownPerson, withPresence, withToken } from '../src/people/person.ts'
import { forEachDatabase, type Stores } from './assignment-databases.ts'

const noon = new Date('2026-11-23T12:00:00.000Z')
const one = new Date('2026-11-23T13:00:00.000Z')

function person(id: string, more: Partial<Person> = {}): Person {
  return { id, role: 'User', firstName: 'Rajesh', lastName: 'Kumar', phone: '+919876543210', iat: 100, exp: 4_000, ...more }
}
const known = (more: Partial<KnownPerson> = {}): KnownPerson => withTokenOf(person('p', { ...more, iat: 100 }), more)
function withTokenOf(of: Person, more: Partial<KnownPerson>): KnownPerson {
  return {
    ...withToken(null, { id: of.id, role: of.role, firstName: of.firstName, lastName: of.lastName, phone: of.phone }, of.iat),
    ...more,
  }
}

describe('the rule', () => {
  test('a newer token changes names, phone and role', () => {
    const next = { id: 'p', role: 'Support', firstName: 'Asha', lastName: 'Rao', phone: null } as const
    expect(withToken(known(), next, 101)).toEqual({ ...known(), ...next, iat: 101 })
  })
  test.each([100, 99])('a token of iat %d changes nothing where 100 is known', (iat) => {
    expect(withToken(known(), { ...known(), firstName: 'Old' }, iat)).toEqual(known())
  })
  test('presence moves by version, not by time', () => {
    const online = withPresence(known(), { person: known(), iat: 100, online: true, version: 2, seenAt: one })
    expect(online).toMatchObject({ online: true, presenceVersion: 2, lastSeenAt: one })
    expect(withPresence(online, { person: known(), iat: 0, online: false, version: 1, seenAt: one })).toEqual(online)
    expect(withPresence(online, { person: known(), iat: 0, online: false, version: 3, seenAt: noon })).toMatchObject({
      online: false,
      lastSeenAt: noon,
    })
  })
  test('an old version may still tell newer names', () => {
    const before = known({ presenceVersion: 5, online: true })
    expect(
      withPresence(before, { person: { ...before, firstName: 'New' }, iat: 200, online: false, version: 4, seenAt: one }),
    ).toMatchObject({
      firstName: 'New',
      online: true,
      presenceVersion: 5,
    })
  })
  test.each([
    ['Support', 100, 'User', 200, 'User'],
    ['Admin', 100, 'Support', 200, 'Support'],
    ['Support', 200, 'User', 100, 'Support'],
    ['User', 100, 'Admin', 200, 'User'],
    ['Support', 100, 'Support', 200, 'Support'],
    ['Support', 100, 'User', 100, 'Support'],
  ] as const)('a %s token of %d, where %s of %d is known, counts as %s', (role, iat, knownRole, knownIat, expected) => {
    expect(effectiveRole({ role, iat }, { role: knownRole, iat: knownIat })).toBe(expected)
  })
  test('nobody known: the token counts', () => expect(effectiveRole({ role: 'Admin', iat: 1 }, null)).toBe('Admin'))
})

await forEachDatabase((open) => {
  let stores: Stores
  let writes = 0
  let reads = 0
  const enrolled: unknown[] = []
  const counting = (store: PeopleStore): PeopleStore => ({
    find: (ids) => {
      reads++
      return store.find(ids)
    },
    save: (...given) => {
      writes++
      return store.save(...given)
    },
    agents: () => store.agents(),
  })
  const replica = (): People =>
    createPeople({
      store: counting(stores.people),
      register: {
        enrol: async (told) => void enrolled.push(told),
        presence: async (told) => void enrolled.push(told),
      },
    })
  let people: People
  beforeAll(async () => {
    stores = await open()
    people = replica()
  })
  afterAll(() => stores.close())
  const cost = async (work: () => Promise<unknown>) => {
    const before = { writes, reads }
    await work()
    return { writes: writes - before.writes, reads: reads - before.reads }
  }

  test('a known token costs no write, and of a farmer no read', async () => {
    await people.recognize(person('cheap farmer'))
    await people.recognize(person('cheap agent', { role: 'Support' }))
    expect(await cost(() => people.recognize(person('cheap farmer')))).toEqual({ writes: 0, reads: 0 })
    expect(await cost(() => people.recognize(person('cheap agent', { role: 'Support' })))).toEqual({ writes: 0, reads: 1 })
  })
  test('names changed in a newer token appear, those of an older one do not', async () => {
    await people.recognize(person('renamed'))
    await people.recognize(person('renamed', { firstName: 'Raj', iat: 150 }))
    await replica().recognize(person('renamed', { firstName: 'Older', iat: 120 }))
    expect((await people.summaries(['renamed', 'nobody'])).get('renamed')).toEqual({
      id: 'renamed',
      role: 'User',
      firstName: 'Raj',
      lastName: 'Kumar',
      phone: '+919876543210',
    })
  })
  test('a role lowered in a newer token counts at once for the older one, on another replica too', async () => {
    const old = person('lowered', { role: 'Support' })
    expect((await people.recognize(old)).role).toBe('Support')
    await replica().recognize(person('lowered', { role: 'User', iat: 200 }))
    expect((await people.recognize(old)).role).toBe('User')
    expect(await people.effectiveRole(old)).toBe('User')
    expect(enrolled).toContainEqual({ id: 'lowered', agent: false, iat: 200 })
    expect((await people.agents()).map(({ id }) => id)).not.toContain('lowered')
  })
  test('presence drops older versions and repetitions, and tells agents to the register', async () => {
    const asha = { id: 'asha', role: 'Support', firstName: 'Asha', lastName: 'Rao', phone: null } as const
    expect(await people.presence({ person: asha, iat: 100, online: true, version: 1, seenAt: noon })).toBe(true)
    expect(await people.online(['asha', 'renamed'])).toEqual(new Set(['asha']))
    expect(await people.presence({ person: asha, iat: 0, online: false, version: 2, seenAt: one })).toBe(true)
    expect(await people.presence({ person: asha, iat: 100, online: true, version: 1, seenAt: noon })).toBe(false)
    expect(await people.online(['asha'])).toEqual(new Set())
    expect((await people.find(['asha'])).get('asha')).toMatchObject({ lastSeenAt: one, presenceVersion: 2 })
    expect(enrolled).toContainEqual({ id: 'asha', agent: true, iat: 100 })
    expect(enrolled).toContainEqual({ id: 'asha', online: false, version: 2, seenAt: one })
  })
  test('who becomes an agent while online is an agent who is online', async () => {
    await people.presence({ person: person('raised'), iat: 100, online: true, version: 7, seenAt: noon })
    await people.recognize(person('raised', { role: 'Support', iat: 200 }))
    expect(enrolled).toContainEqual({ id: 'raised', agent: true, iat: 200 })
    expect(enrolled).toContainEqual({ id: 'raised', online: true, version: 7, seenAt: noon })
  })
  test('50 first requests at once of one person leave one person, with the newest names', async () => {
    const replicas = [replica(), replica()]
    await Promise.all(
      Array.from({ length: 50 }, (_, n) =>
        replicas[n % 2]?.recognize(person('crowd', { iat: 100 + (n % 10), firstName: `Name ${n % 10}` })),
      ),
    )
    expect((await people.find(['crowd'])).get('crowd')).toMatchObject({ iat: 109, firstName: 'Name 9' })
  })
  test('names and presence at once lose neither', async () => {
    const both = person('both')
    await Promise.all([
      ...Array.from({ length: 10 }, (_, n) => people.recognize({ ...both, iat: 100 + n })),
      ...Array.from({ length: 10 }, (_, n) => people.presence({ person: both, iat: 0, online: n % 2 === 0, version: n + 1, seenAt: noon })),
    ])
    expect((await people.find(['both'])).get('both')).toMatchObject({ iat: 109, presenceVersion: 10, online: false })
  })
  test('a hundred look-ups at once cost one read, and each sees what was written before it', async () => {
    const ids = Array.from({ length: 100 }, (_, n) => `many ${n}`)
    for (const id of ids.slice(0, 50)) await people.recognize(person(id))
    expect(await cost(() => Promise.all(ids.map((id) => people.summaries([id]))))).toEqual({ writes: 0, reads: 1 })
    const early = people.summaries(['many 50'])
    await people.recognize(person('many 50'))
    expect((await people.summaries(['many 50', 'many 51'])).size).toBe(1)
    await early
  })
  test('ids and names that a database might mistake stay what they are', async () => {
    const odd = person("o'$where.__proto__", { firstName: '$set', lastName: '', phone: null })
    await people.recognize(odd)
    expect((await people.summaries([odd.id])).get(odd.id)).toMatchObject({ id: odd.id, firstName: '$set', lastName: '', phone: null })
  })
})
