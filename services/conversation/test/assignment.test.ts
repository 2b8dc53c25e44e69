// Assignment as a whole: who gets what under concurrency, on every cause, and what is repaired after a crash. Places always equal assignments.

import { AppError } from '@fieldline/contracts/errors'
import type { ConversationId } from '@fieldline/contracts/ids'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import type { ConversationStore } from '../src/conversations/conversation.store.ts'
import type { Conversation } from '../src/conversations/conversation.ts'
import { changeStatus, reopen } from '../src/conversations/lifecycle.ts'
import { forEachDatabase, type Stores } from './assignment-databases.ts'
import { createWorld, person, type Replica } from './assignment-world.ts'
import { eventually } from './service.ts'

const admin = person('admin', 'Admin')

await forEachDatabase((open) => {
  let stores: Stores
  beforeEach(async () => {
    stores = await open()
  })
  const replicas: Replica[] = []
  afterEach(async () => {
    for (const replica of replicas.splice(0)) await replica.stop()
    await stores.close()
  })

  function setUp(given: Parameters<typeof createWorld>[1] = {}) {
    const world = createWorld(stores, given)
    const replica = (store?: ConversationStore) => {
      const made = world.replica(store)
      replicas.push(made)
      return made
    }
    const here = replica()
    const agent = async (id: string) => {
      await world.presence(here, id, true)
      await here.queue.drained()
      return person(id, 'Support')
    }
    const read = async (id: ConversationId): Promise<Conversation> => {
      const conversation = await world.load(id)
      if (!conversation) throw new Error('no such conversation')
      return conversation
    }
    const whose = async (id: ConversationId) => (await read(id)).assigned?.person.id ?? null
    /** The farmer writes, as far as assignment minds. */
    const write = async (id: ConversationId, by?: string) => {
      await here.commands.execute(id, {
        decide: (it, now) => ({
          after: {
            ...it,
            lastSeq: it.lastSeq + 1,
            waitingSince: it.status === 'waiting' ? (it.waitingSince ?? now) : null,
            lastMessage: {
              id: it.id,
              seq: it.lastSeq + 1,
              senderId: by ?? it.farmer.id,
              messageType: 'text',
              content: 'x',
              createdAt: now,
            } as never,
          },
          facts: [{ type: 'conversation.read', side: 'farmer', fromSeq: 0, upToSeq: 1, readAt: now, messages: [], reader: it.farmer }],
        }),
      })
      if (!by) here.assignments.farmerWrote(await read(id))
      await here.assignments.idle()
      await here.queue.drained()
    }
    const set = (id: ConversationId, to: 'waiting' | 'resolved' | 'closed', by = admin) =>
      here.commands.execute(id, { decide: (it, now) => changeStatus(it, { to, by, reason: null }, now) })
    /** Places equal assignments, and nobody is above capacity. */
    const balanced = async (ids: readonly ConversationId[], agents: readonly string[]) => {
      const open = (await Promise.all(ids.map(read))).filter(({ status }) => status === 'open')
      for (const one of agents) {
        const held = (await world.held(one)).map(({ conversationId, token }) => `${conversationId} ${token}`).sort()
        const assigned = open.filter((it) => it.assigned?.person.id === one).map((it) => `${it.id} ${it.assigned?.placeToken}`)
        expect(held).toEqual(assigned.sort())
        expect(held.length).toBeLessThanOrEqual(world.settings.capacity)
      }
    }
    return { world, here, replica, agent, read, whose, write, set, balanced }
  }

  describe('handing out', () => {
    test('200 concurrent creates over 10 agents of capacity 5: 50 open, 150 waiting, nobody with 6, on two replicas', async () => {
      const { here, replica, agent, balanced } = setUp()
      const agents = Array.from({ length: 10 }, (_, n) => `agent ${n}`)
      for (const id of agents) await agent(id)
      const at = [here, replica()]
      const ids = await Promise.all(Array.from({ length: 200 }, (_, n) => (at[n % 2] as Replica).create(`farmer ${n}`)))
      // Nothing asks for another pass: those that the creates asked for hand everything out, however slow the machine is.
      const counts = () => stores.conversations.count({ scope: { kind: 'all' } })
      await eventually(async () => (await counts()).open === 50, 'fifty being open', 45_000)
      expect(await counts()).toMatchObject({ open: 50, waiting: 150 })
      await balanced(ids, agents)
    })
    test('a farmer comes back assigned when an agent is free', async () => {
      const { here, agent, read } = setUp()
      await agent('asha')
      expect(await read(await here.create('farmer'))).toMatchObject({
        status: 'open',
        assigned: { person: { id: 'asha' } },
        waitingSince: null,
      })
    })

    const causes: [string, (given: ReturnType<typeof setUp>, busy: ConversationId) => Promise<unknown>][] = [
      ['an agent comes online', ({ agent }) => agent('meena')],
      [
        'an agent becomes available',
        async ({ here, agent, world }) => {
          void world
          await here.people.recognize(person('meena', 'Support'))
          await here.agents.setAvailable('meena', false)
          await agent('meena')
          await here.agents.setAvailable('meena', true)
        },
      ],
      ['a conversation is resolved', ({ set }, busy) => set(busy, 'resolved')],
      ['a conversation is closed', ({ set }, busy) => set(busy, 'closed')],
      [
        'a conversation is reassigned away',
        async ({ here }, busy) => {
          await here.people.recognize(person('ravi', 'Support'))
          await here.assignments.reassign({ conversationId: busy, supportId: 'ravi', reason: undefined, force: false }, admin)
        },
      ],
    ]
    test.each(causes)('the queue drains oldest first when %s', async (_, cause) => {
      const given = setUp({ capacity: 1 })
      const { here, agent, whose } = given
      await agent('asha')
      const busy = await here.create('farmer 0')
      const waiting = [await here.create('farmer 1'), await here.create('farmer 2')] as const
      expect(await whose(busy)).toBe('asha')
      await cause(given, busy)
      await here.assignments.idle()
      await here.queue.drained()
      expect(await whose(waiting[0])).not.toBeNull()
      expect(await whose(waiting[1])).toBeNull()
    })

    test('who gives a conversation back is not given it again for a while, somebody else is', async () => {
      const { here, world, agent, whose, set, write } = setUp({ coolingMs: 60_000 })
      const asha = await agent('asha')
      const id = await here.create('farmer')
      await write(id)
      await set(id, 'waiting', asha)
      await here.queue.drained()
      expect(await whose(id)).toBeNull()
      world.pass(60_000)
      await here.sweeper.sweep()
      await here.queue.drained()
      expect(await whose(id)).toBe('asha')
      await agent('meena')
      await set(id, 'waiting', asha)
      await here.queue.drained()
      expect(await whose(id)).toBe('meena')
    })
  })

  describe('claiming', () => {
    test('exactly one of twenty claimers wins, the others get ALREADY_ASSIGNED and keep no place', async () => {
      const { here, read, balanced } = setUp()
      const agents = Array.from({ length: 20 }, (_, n) => person(`agent ${n}`, 'Support'))
      const id = await here.create('farmer')
      for (const one of agents) await here.people.recognize(one)
      const claims = await Promise.allSettled(agents.map((one) => here.assignments.claim(id, one)))
      expect(claims.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      for (const claim of claims) if (claim.status === 'rejected') expect(claim.reason).toMatchObject({ code: 'ALREADY_ASSIGNED' })
      expect((await read(id)).status).toBe('open')
      await balanced(
        [id],
        agents.map((one) => one.id),
      )
    })
    test('claiming again what one has is no error and no second place', async () => {
      const { here, world, agent } = setUp()
      const id = await here.create('farmer')
      const asha = await agent('asha')
      await here.assignments.claim(id, asha)
      expect(await here.assignments.claim(id, asha)).toMatchObject({ status: 'open' })
      expect(await world.held('asha')).toHaveLength(1)
    })
    test('at capacity: AT_CAPACITY', async () => {
      const { here, agent } = setUp({ capacity: 1 })
      const asha = await agent('asha')
      await here.create('farmer 1')
      const second = await here.create('farmer 2')
      await expect(here.assignments.claim(second, asha)).rejects.toMatchObject({ code: 'AT_CAPACITY' })
    })
    test('a closed one: CONVERSATION_CLOSED; one that there is not: CONVERSATION_NOT_FOUND', async () => {
      const { here, agent, set, world } = setUp()
      const id = await here.create('farmer')
      await set(id, 'closed')
      const asha = await agent('asha')
      await expect(here.assignments.claim(id, asha)).rejects.toMatchObject({ code: 'CONVERSATION_CLOSED' })
      await expect(here.assignments.claim('f'.repeat(24) as ConversationId, asha)).rejects.toMatchObject({ code: 'CONVERSATION_NOT_FOUND' })
      expect(await world.held('asha')).toEqual([])
    })
  })

  describe('reassigning', () => {
    const to = (conversationId: ConversationId, supportId: string | null, force = false) => ({
      conversationId,
      supportId,
      reason: 'holiday',
      force,
    })

    test('moves the place with the conversation, to one who is offline too', async () => {
      const { here, agent, whose, balanced } = setUp()
      await agent('asha')
      const id = await here.create('farmer')
      await here.people.recognize(person('meena', 'Support'))
      await here.assignments.reassign(to(id, 'meena'), admin)
      await here.assignments.idle()
      await here.queue.drained()
      expect(await whose(id)).toBe('meena')
      await balanced([id], ['asha', 'meena'])
    })
    test('null puts it back in the queue, and the one it was taken from is not given it at once', async () => {
      const { here, agent, read, balanced } = setUp()
      await agent('asha')
      const id = await here.create('farmer')
      await here.assignments.reassign(to(id, null), admin)
      await here.queue.drained()
      const conversation = await read(id)
      expect(conversation).toMatchObject({ status: 'waiting', assigned: null })
      expect(conversation.waitingSince).not.toBeNull()
      await balanced([id], ['asha'])
    })
    test('at capacity 409, unless forced', async () => {
      const { here, agent, whose } = setUp({ capacity: 1 })
      await agent('asha')
      await here.create('farmer 1')
      const second = await here.create('farmer 2')
      await expect(here.assignments.reassign(to(second, 'asha'), admin)).rejects.toMatchObject({ code: 'AT_CAPACITY' })
      await here.assignments.reassign(to(second, 'asha', true), admin)
      expect(await whose(second)).toBe('asha')
    })
    test.each(['nobody', 'a farmer'])('to %s: 400 naming the field', async (target) => {
      const { here } = setUp()
      await here.people.recognize(person('a farmer'))
      const id = await here.create('farmer')
      await expect(here.assignments.reassign(to(id, target), admin)).rejects.toMatchObject({
        code: 'VALIDATION_FAILED',
        details: [{ field: 'supportId' }],
      })
    })
    test.each([
      ['resolved', 'ILLEGAL_TRANSITION'],
      ['closed', 'CONVERSATION_CLOSED'],
    ] as const)('a %s one: %s, and no place is kept', async (status, code) => {
      const { here, agent, set, world } = setUp()
      await agent('asha')
      const id = await here.create('farmer')
      await set(id, status)
      await here.assignments.idle()
      await expect(here.assignments.reassign(to(id, 'asha'), admin)).rejects.toMatchObject({ code })
      await expect(here.assignments.reassign(to(id, null), admin)).rejects.toMatchObject({ code })
      expect(await world.held('asha')).toEqual([])
    })
    test('to the one who has it already: nothing happens', async () => {
      const { here, agent, read, world } = setUp()
      await agent('asha')
      const id = await here.create('farmer')
      const before = await read(id)
      await here.assignments.reassign(to(id, 'asha'), admin)
      expect(await read(id)).toEqual(before)
      expect(await world.held('asha')).toHaveLength(1)
    })
  })

  describe('reopening', () => {
    async function resolved(given: ReturnType<typeof setUp>) {
      await given.agent('asha')
      const id = await given.here.create('farmer')
      await given.write(id)
      await given.set(id, 'resolved')
      await given.here.assignments.idle()
      expect(await given.world.held('asha')).toEqual([])
      return id
    }
    test('a place is to be had with the former agent only while online, available and with room', async () => {
      const given = setUp({ capacity: 1 })
      const id = await resolved(given)
      const { here, world, balanced } = given
      const token = await here.assignments.reserve('asha', id)
      expect(token).not.toBeNull()
      await here.commands.execute(id, { decide: (it, now) => reopen(it, token, now) })
      await balanced([id], ['asha'])
      expect(await here.assignments.reserve('asha', id)).toBeNull()
      await given.set(id, 'resolved')
      await here.assignments.idle()
      await here.agents.setAvailable('asha', false)
      expect(await here.assignments.reserve('asha', id)).toBeNull()
      await here.agents.setAvailable('asha', true)
      await world.presence(here, 'asha', false)
      expect(await here.assignments.reserve('asha', id)).toBeNull()
    })
  })

  describe('the sweeper', () => {
    test('a process killed between reserving and assigning leaks nothing', async () => {
      const { world, here, replica, agent, balanced, whose } = setUp({ capacity: 1 })
      const killed = replica({ ...stores.conversations, commit: () => new Promise(() => undefined) })
      await agent('asha')
      const id = await here.create('farmer 0')
      await here.assignments.reassign({ conversationId: id, supportId: null, reason: undefined, force: false }, admin)
      await here.assignments.idle()
      expect(await world.held('asha')).toEqual([])
      void killed.assignments.claim(id, person('asha', 'Support')).catch(() => undefined)
      while ((await world.held('asha')).length === 0) await new Promise((resolve) => setImmediate(resolve))
      await here.sweeper.sweep()
      expect(await world.held('asha')).toHaveLength(1)
      world.pass(world.settings.orphanAfterMs)
      await here.sweeper.sweep()
      await here.queue.drained()
      world.pass(world.settings.coolingMs)
      await here.sweeper.sweep()
      await here.queue.drained()
      expect(await whose(id)).toBe('asha')
      await balanced([id], ['asha'])
      replicas.splice(replicas.indexOf(killed), 1)
    })
    test('a late assigner fails: its place was taken back, so its write must not get in', async () => {
      const { world, here, replica, agent, balanced, read } = setUp()
      let resume: () => void = () => undefined
      const paused = new Promise<void>((resolve) => {
        resume = resolve
      })
      let stopped = false
      const late = replica({
        ...stores.conversations,
        async commit(...given) {
          if (!stopped) {
            stopped = true
            await paused
          }
          return stores.conversations.commit(...given)
        },
      })
      const id = await here.create('farmer')
      await agent('meena')
      await here.agents.setAvailable('meena', false)
      await here.assignments.reassign({ conversationId: id, supportId: null, reason: undefined, force: false }, admin)
      await here.assignments.idle()
      const claiming = late.assignments.claim(id, person('meena', 'Support'))
      while ((await world.held('meena')).length === 0) await new Promise((resolve) => setImmediate(resolve))
      const first = (await world.held('meena')).map(({ token }) => token)
      world.pass(world.settings.orphanAfterMs)
      await here.sweeper.sweep()
      expect(await world.held('meena')).toEqual([])
      resume()
      await claiming
      expect((await read(id)).assigned?.placeToken).not.toBe(first[0])
      await balanced([id], ['meena'])
    })
    test('a write that surely did not get in keeps no place, however often it is tried', async () => {
      const { world, here, replica, agent } = setUp()
      await agent('asha')
      await here.agents.setAvailable('asha', false)
      const id = await here.create('farmer')
      const full = replica({ ...stores.conversations, commit: async () => 'full' })
      const unread = replica({ ...stores.conversations, load: () => Promise.reject(new AppError('UNAVAILABLE', 'away')) })
      await full.agents.setAvailable('asha', true)
      for (const one of [full, unread, full, unread]) await one.queue.drained()
      expect(await world.held('asha')).toEqual([])
      await expect(full.assignments.claim(id, person('asha', 'Support'))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
      await full.queue.drained()
      expect(await world.held('asha')).toEqual([])
    })
    test('a claim whose first write lands late, under its second, holds one place', async () => {
      const { here, replica, agent, balanced } = setUp()
      const id = await here.create('farmer')
      const asha = await agent('asha')
      await here.assignments.reassign({ conversationId: id, supportId: null, reason: undefined, force: false }, admin)
      await here.assignments.idle()
      const commits: Parameters<ConversationStore['commit']>[] = []
      const slow = replica({
        ...stores.conversations,
        async commit(...given) {
          commits.push(given)
          if (commits.length === 1) throw new AppError('UNAVAILABLE', 'the answer was lost')
          const [first] = commits
          if (commits.length === 2 && first) await stores.conversations.commit(...first)
          return stores.conversations.commit(...given)
        },
      })
      expect(await slow.assignments.claim(id, asha)).toMatchObject({ status: 'open' })
      expect(commits).toHaveLength(2)
      await slow.assignments.idle()
      await balanced([id], ['asha'])
    })
    test('what an agent gone longer than the grace has not answered goes back, what is answered stays', async () => {
      const { world, here, agent, write, read } = setUp()
      const asha = await agent('asha')
      const [asked, answered, empty] = [await here.create('farmer 1'), await here.create('farmer 2'), await here.create('farmer 3')]
      await write(asked)
      await write(answered)
      await write(answered, asha.id)
      await world.presence(here, 'asha', false)
      world.pass(world.settings.agentGraceMs / 2)
      await here.sweeper.sweep()
      expect(await read(asked)).toMatchObject({ status: 'open' })
      world.pass(world.settings.agentGraceMs)
      await here.sweeper.sweep()
      await here.assignments.idle()
      expect(await read(asked)).toMatchObject({ status: 'waiting', assigned: null })
      expect(await read(answered)).toMatchObject({ status: 'open' })
      expect(await read(empty)).toMatchObject({ status: 'open' })
      expect((await world.held('asha')).map(({ conversationId }) => conversationId).sort()).toEqual([answered, empty].sort())
    })
    test('what goes back stands in the queue by when its farmer began to wait, before those who came later', async () => {
      const { world, here, agent, whose } = setUp({ capacity: 1 })
      await agent('asha')
      const ids: ConversationId[] = []
      for (const farmer of ['farmer 1', 'farmer 2']) {
        const id = await here.create(farmer)
        await here.say(id, person(farmer))
        ids.push(id)
      }
      const [first, second] = ids as [ConversationId, ConversationId]
      await world.presence(here, 'asha', false)
      world.pass(world.settings.agentGraceMs * 2)
      await here.sweeper.sweep()
      await here.assignments.idle()
      await agent('meena')
      expect([await whose(first), await whose(second)]).toEqual(['meena', null])
    })
    test('not if realtime says that the agent is there, nor while it does not answer', async () => {
      const { world, here, agent, write, read } = setUp()
      await agent('asha')
      const id = await here.create('farmer')
      await write(id)
      await world.presence(here, 'asha', false)
      await world.presence(here, 'asha', true, false)
      world.pass(world.settings.agentGraceMs * 2)
      await here.sweeper.sweep()
      expect(await read(id)).toMatchObject({ status: 'open' })
      expect(await here.people.online(['asha'])).toEqual(new Set(['asha']))
      await world.presence(here, 'asha', false)
      world.realtimeAway()
      world.pass(world.settings.agentGraceMs * 2)
      await here.sweeper.sweep()
      expect(await read(id)).toMatchObject({ status: 'open' })
    })
    test('not by the farmer writing either, if realtime says that the agent is there, or does not answer', async () => {
      const { world, here, agent, write, whose } = setUp()
      await agent('asha')
      const id = await here.create('farmer')
      await world.presence(here, 'asha', false)
      await world.presence(here, 'asha', true, false)
      world.pass(world.settings.agentGraceMs * 2)
      await write(id)
      expect(await whose(id)).toBe('asha')
      expect(await here.people.online(['asha'])).toEqual(new Set(['asha']))
      await world.presence(here, 'asha', false)
      world.realtimeAway()
      world.pass(world.settings.agentGraceMs * 2)
      await write(id)
      expect(await whose(id)).toBe('asha')
    })
    test('a conversation that can not be written keeps no other from its repair', async () => {
      const { world, here, replica, agent, write, read } = setUp({ capacity: 1 })
      const names = ['asha', 'meena'] as const
      const ids: ConversationId[] = []
      for (const name of names) {
        await agent(name)
        const conversationId = await here.create(`farmer of ${name}`)
        ids.push(conversationId)
        await write(conversationId)
        await stores.places.reserve(name, { conversationId, token: `orphan of ${name}`, since: world.clock.now() }, 'force', 1)
      }
      const [stuck, other] = ids as [ConversationId, ConversationId]
      for (const name of names) await world.presence(here, name, false)
      world.pass(world.settings.agentGraceMs * 2)
      const sweeping = replica({
        ...stores.conversations,
        commit: async (before, next, entries) => (before.id === stuck ? 'full' : stores.conversations.commit(before, next, entries)),
        bump: async (id, version) => id !== stuck && stores.conversations.bump(id, version),
      })
      await sweeping.sweeper.sweep()
      await sweeping.assignments.idle()
      expect([await read(stuck), await read(other)]).toMatchObject([{ status: 'open' }, { status: 'waiting' }])
      expect(await world.held('asha')).toHaveLength(2)
      expect(await world.held('meena')).toEqual([])
    })
    test('a whole batch of conversations that can not be written hides nobody behind it', async () => {
      const { world, here, replica, read } = setUp()
      const stuck = new Set<ConversationId>()
      for (let n = 0; n < 200; n += 1) stuck.add(await here.create(`farmer ${n}`))
      const behind = await here.create('the farmer behind')
      world.pass(world.settings.emptyReleaseMs + 1_000)
      const sweeping = replica({
        ...stores.conversations,
        commit: async (before, next, entries) => (stuck.has(before.id) ? 'full' : stores.conversations.commit(before, next, entries)),
      })
      await sweeping.sweeper.sweep()
      expect(await read(behind)).toMatchObject({ status: 'waiting', waitingSince: null })
    })
    test('who is no agent any more gives everything back, also while realtime does not answer', async () => {
      const { world, here, agent, write, read } = setUp()
      await agent('meena')
      await world.presence(here, 'meena', false)
      await agent('asha')
      const id = await here.create('farmer')
      await write(id)
      await here.assignments.reassign(
        { conversationId: await here.create('another'), supportId: 'meena', reason: undefined, force: false },
        admin,
      )
      await here.people.recognize(person('asha', 'User', 200))
      world.realtimeAway()
      world.pass(world.settings.agentGraceMs * 2)
      await here.sweeper.sweep()
      expect(await read(id)).toMatchObject({ status: 'waiting' })
    })
    test('a farmer who writes to an agent who is gone is back in the queue at once, and with somebody else', async () => {
      const { world, here, agent, write, whose } = setUp()
      await agent('asha')
      const id = await here.create('farmer')
      await write(id)
      await write(id, 'asha')
      await world.presence(here, 'asha', false)
      await write(id)
      expect(await whose(id)).toBe('asha')
      world.pass(world.settings.agentGraceMs * 2)
      await agent('meena')
      await write(id)
      expect(await whose(id)).toBe('meena')
      await here.assignments.idle()
      expect(await world.held('asha')).toEqual([])
    })
    test('who is no agent any more gives everything back', async () => {
      const { world, here, agent, write, read } = setUp()
      await agent('asha')
      const id = await here.create('farmer')
      await write(id)
      await write(id, 'asha')
      await here.people.recognize(person('asha', 'User', 200))
      await here.sweeper.sweep()
      await here.assignments.idle()
      expect(await read(id)).toMatchObject({ status: 'waiting' })
      expect(await world.held('asha')).toEqual([])
    })
    test('an empty conversation gives its place back and is in no queue until its first message', async () => {
      const { world, here, agent, read, write, whose } = setUp({ capacity: 1 })
      await agent('asha')
      const [held, waiting] = [await here.create('farmer 1'), await here.create('farmer 2')]
      world.pass(world.settings.emptyReleaseMs + 1_000)
      await here.sweeper.sweep()
      await here.assignments.idle()
      await here.queue.drained()
      for (const id of [held, waiting]) expect(await read(id)).toMatchObject({ status: 'waiting', assigned: null, waitingSince: null })
      expect(await world.held('asha')).toEqual([])
      await write(held)
      expect(await whose(held)).toBe('asha')
      expect(await whose(waiting)).toBeNull()
    })
    test('an admin’s first message in an empty one that stands in no queue puts it there, and hands it out', async () => {
      const { world, here, agent, read, whose } = setUp()
      const id = await here.create('farmer')
      world.pass(world.settings.emptyReleaseMs + 1_000)
      await here.sweeper.sweep()
      expect(await read(id)).toMatchObject({ status: 'waiting', waitingSince: null })
      await agent('asha')
      await here.say(id, admin)
      await eventually(async () => (await whose(id)) === 'asha', 'it being assigned')
    })
    test('resolved ones close after their time, once, on three replicas at once', async () => {
      const { world, here, replica, set, read } = setUp({ resolvedClosesAfterMs: 10_000 })
      const id = await here.create('farmer')
      await here.people.recognize(person('asha', 'Support'))
      await here.assignments.claim(id, person('asha', 'Support'))
      await set(id, 'resolved')
      await here.sweeper.sweep()
      expect(await read(id)).toMatchObject({ status: 'resolved' })
      const { eventNo } = await read(id)
      world.pass(11_000)
      await Promise.all([here, replica(), replica()].map((one) => one.sweeper.sweep()))
      expect(await read(id)).toMatchObject({ status: 'closed', eventNo: eventNo + 1 })
    })
    test('a missed cause is made up for', async () => {
      const { world, here, whose } = setUp()
      const id = await here.create('farmer')
      await world.presence(here, 'asha', true)
      expect(await whose(id)).toBeNull()
      await here.sweeper.sweep()
      await here.queue.drained()
      expect(await whose(id)).toBe('asha')
    })
  })
})
