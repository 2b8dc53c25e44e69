// What the port of places promises, on each adapter.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { forEachDatabase, type Stores } from './assignment-databases.ts'

const noon = new Date('2026-11-23T12:00:00.000Z')
const later = (ms: number) => new Date(noon.getTime() + ms)
const place = (token: string, conversationId = `c-${token}`, since = noon) => ({ token, conversationId, since })
let last = 0
const nextId = () => `agent ${++last}`

await forEachDatabase((open) => {
  let stores: Stores
  beforeAll(async () => {
    stores = await open()
  })
  afterAll(() => stores.close())

  async function agent({ online = true, available = true }: { online?: boolean; available?: boolean } = {}): Promise<string> {
    const id = nextId()
    await stores.places.enrol({ id, agent: true, iat: 100 }, noon)
    if (online) await stores.places.presence({ id, online: true, version: 1 }, noon)
    if (!available) await stores.places.choose(id, false, noon)
    return id
  }
  const read = async (id: string) => (await stores.places.find([id]))[0] ?? null

  describe('enrolment', () => {
    test('a new agent is available, offline and holds nothing', async () => {
      const id = await agent({ online: false })
      expect(await read(id)).toEqual({
        id,
        agent: true,
        online: false,
        offlineSince: null,
        available: true,
        version: 0,
        announcedVersion: 0,
        chosenAt: null,
        active: [],
        idleSince: noon,
      })
    })
    test('enrolling again changes nothing of what the agent holds', async () => {
      const id = await agent()
      await stores.places.reserve(id, place('enrol-again'), 'known', 5)
      await stores.places.enrol({ id, agent: true, iat: 200 }, later(1))
      expect(await read(id)).toMatchObject({ online: true, active: [{ token: 'enrol-again' }], idleSince: noon })
    })
    test('a newer token ends being an agent, an older one does not bring it back', async () => {
      const id = await agent()
      await stores.places.enrol({ id, agent: false, iat: 200 }, noon)
      await stores.places.enrol({ id, agent: true, iat: 150 }, noon)
      expect(await read(id)).toMatchObject({ agent: false })
      await stores.places.enrol({ id, agent: true, iat: 201 }, noon)
      expect(await read(id)).toMatchObject({ agent: true })
    })
    test('who never was an agent leaves no document', async () => {
      const id = nextId()
      await stores.places.enrol({ id, agent: false, iat: 200 }, noon)
      expect(await read(id)).toBeNull()
    })
  })

  describe('presence', () => {
    test('an older version changes nothing', async () => {
      const id = await agent()
      expect(await stores.places.presence({ id, online: false, version: 3 }, later(5))).toBe(true)
      expect(await stores.places.presence({ id, online: true, version: 2 }, later(6))).toBe(false)
      expect(await stores.places.presence({ id, online: false, version: 3 }, later(7))).toBe(false)
      expect(await read(id)).toMatchObject({ online: false, offlineSince: later(5) })
    })
    test('offline told twice counts from the first time, and coming back begins idleness anew', async () => {
      const id = await agent()
      await stores.places.presence({ id, online: false, version: 2 }, later(10))
      await stores.places.presence({ id, online: false, version: 4 }, later(20))
      expect(await read(id)).toMatchObject({ offlineSince: later(10), idleSince: noon })
      await stores.places.presence({ id, online: true, version: 5 }, later(30))
      expect(await read(id)).toMatchObject({ online: true, offlineSince: null, idleSince: later(30) })
    })
    test('presence of somebody unknown is ignored', async () => {
      expect(await stores.places.presence({ id: nextId(), online: true, version: 1 }, noon)).toBe(false)
    })
  })

  describe('availability', () => {
    test('its version moves only when the choice changes, and it stays unannounced until that version is', async () => {
      const id = await agent()
      expect(await stores.places.choose(id, true, later(1))).toMatchObject({ available: true, version: 0 })
      expect(await stores.places.choose(id, false, later(2))).toMatchObject({
        available: false,
        version: 1,
        announcedVersion: 0,
        chosenAt: later(2),
      })
      expect(await stores.places.choose(id, false, later(3))).toMatchObject({ version: 1, chosenAt: later(2) })
      expect((await stores.places.unannounced(100)).map((one) => one.id)).toContain(id)
      await stores.places.choose(id, true, later(4))
      await stores.places.announced(id, 1)
      expect(await read(id)).toMatchObject({ version: 2, announcedVersion: 1, idleSince: later(4) })
      expect((await stores.places.unannounced(100)).map((one) => one.id)).toContain(id)
      await stores.places.announced(id, 2)
      await stores.places.announced(id, 1)
      expect(await read(id)).toMatchObject({ version: 2, announcedVersion: 2 })
      expect((await stores.places.unannounced(100)).map((one) => one.id)).not.toContain(id)
    })
    test('nobody unknown, and nobody who is no agent any more, can choose', async () => {
      expect(await stores.places.choose(nextId(), false, noon)).toBeNull()
      const id = await agent()
      await stores.places.enrol({ id, agent: false, iat: 200 }, noon)
      expect(await stores.places.choose(id, false, noon)).toBeNull()
    })
  })

  describe('reserving', () => {
    test.each([
      ['automatic', {}, true],
      ['automatic', { online: false }, false],
      ['automatic', { available: false }, false],
      ['known', { online: false, available: false }, true],
      ['force', { online: false, available: false }, true],
    ] as const)('%s with %o: %s', async (mode, given, expected) => {
      const id = await agent(given)
      expect(await stores.places.reserve(id, place(`${id} ${mode}`), mode, 5)).toBe(expected)
      expect((await read(id))?.active).toHaveLength(expected ? 1 : 0)
    })
    test('at capacity only force gets a place', async () => {
      const id = await agent()
      for (const token of ['a', 'b']) await stores.places.reserve(id, place(`full ${token}`), 'known', 2)
      expect(await stores.places.reserve(id, place('full c'), 'automatic', 2)).toBe(false)
      expect(await stores.places.reserve(id, place('full d'), 'known', 2)).toBe(false)
      expect(await stores.places.reserve(id, place('full e'), 'force', 2)).toBe(true)
      expect((await read(id))?.active).toHaveLength(3)
    })
    test('nobody unknown, and nobody who is no agent any more, gets a place, even by force', async () => {
      expect(await stores.places.reserve(nextId(), place('unknown'), 'force', 5)).toBe(false)
      const id = await agent()
      await stores.places.enrol({ id, agent: false, iat: 200 }, noon)
      expect(await stores.places.reserve(id, place('lowered'), 'force', 5)).toBe(false)
    })
    test('the place tells its conversation, token and time', async () => {
      const id = await agent()
      await stores.places.reserve(id, place('told', 'conversation 1', later(7)), 'automatic', 5)
      expect(await read(id)).toMatchObject({
        active: [{ conversationId: 'conversation 1', token: 'told', since: later(7) }],
        idleSince: later(7),
      })
    })
    test('200 concurrent reserves never exceed a capacity of 5', async () => {
      const id = await agent()
      const taken = await Promise.all(Array.from({ length: 200 }, (_, n) => stores.places.reserve(id, place(`storm ${n}`), 'automatic', 5)))
      expect(taken.filter(Boolean)).toHaveLength(5)
      expect((await read(id))?.active).toHaveLength(5)
    })
    test('reserves and releases at once leave exactly what was not released', async () => {
      const id = await agent()
      const kept = new Set<string>()
      await Promise.all(
        Array.from({ length: 100 }, async (_, n) => {
          const token = `mixed ${n}`
          if (!(await stores.places.reserve(id, place(token), 'automatic', 5))) return
          if (n % 3 === 0) kept.add(token)
          else await stores.places.release(id, token, noon)
        }),
      )
      const active = (await read(id))?.active.map(({ token }) => token) ?? []
      expect(new Set(active)).toEqual(kept)
      expect(active.length).toBeLessThanOrEqual(5)
    })
  })

  describe('releasing', () => {
    test('a token gives its place back once', async () => {
      const id = await agent()
      await stores.places.reserve(id, place('once'), 'automatic', 5)
      expect(await stores.places.release(id, 'once', later(3))).toBe(true)
      expect(await stores.places.release(id, 'once', later(4))).toBe(false)
      expect(await read(id)).toMatchObject({ active: [], idleSince: later(3) })
    })
    test('one that came to nothing leaves the agent as idle as before', async () => {
      const id = await agent()
      await stores.places.reserve(id, place('kept', 'c', later(2)), 'automatic', 5)
      await stores.places.reserve(id, place('for nothing', 'd', later(5)), 'automatic', 5)
      expect(await read(id)).toMatchObject({ idleSince: later(5) })
      expect(await stores.places.cancel(id, 'for nothing')).toBe(true)
      expect(await stores.places.cancel(id, 'for nothing')).toBe(false)
      expect(await read(id)).toMatchObject({ active: [{ token: 'kept' }], idleSince: later(2) })
    })
    test('another token of the same conversation stays', async () => {
      const id = await agent()
      await stores.places.reserve(id, place('first', 'same'), 'automatic', 5)
      await stores.places.reserve(id, place('second', 'same'), 'automatic', 5)
      await stores.places.release(id, 'first', noon)
      expect((await read(id))?.active.map(({ token }) => token)).toEqual(['second'])
    })
  })

  describe('lists', () => {
    test('free are those online, available and with room', async () => {
      const [free, away, busy, full] = [await agent(), await agent({ online: false }), await agent({ available: false }), await agent()]
      for (let n = 0; n < 5; n++) await stores.places.reserve(full, place(`lists ${n}`), 'known', 5)
      const ids = (await stores.places.free(5)).map(({ id }) => id)
      expect(ids).toContain(free)
      for (const id of [away, busy, full]) expect(ids).not.toContain(id)
    })
    test('holding are those with a place taken before', async () => {
      const [early, late] = [await agent(), await agent()]
      await stores.places.reserve(early, place('early', 'c', later(-1_000)), 'known', 5)
      await stores.places.reserve(late, place('late', 'c', later(1_000)), 'known', 5)
      const ids = (await stores.places.holding(noon)).map(({ id }) => id)
      expect(ids).toContain(early)
      expect(ids).not.toContain(late)
    })
  })
})
