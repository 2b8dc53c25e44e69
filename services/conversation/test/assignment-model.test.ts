// Random people doing random things at two replicas, one of which may be cut off in the middle: whatever happened, after a sweep places equal
// assignments, nobody is above capacity, and nobody waits while an agent is free.

import { AppError } from '@fieldline/contracts/errors'
import type { ConversationId } from '@fieldline/contracts/ids'
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { ConversationStore } from '../src/conversations/conversation.store.ts'
import type { Conversation } from '../src/conversations/conversation.ts'
import { changeStatus } from '../src/conversations/lifecycle.ts'
import { forEachDatabase } from './assignment-databases.ts'
import { createWorld, person, type Replica } from './assignment-world.ts'

const agents = ['asha', 'meena', 'ravi'] as const
const agentOf = fc.constantFrom(...agents)
const which = fc.nat({ max: 9 })
const at = fc.nat({ max: 1 })

const step = fc.oneof(
  fc.record({ does: fc.constant('create' as const), at }),
  fc.record({ does: fc.constant('claim' as const), at, agent: agentOf, which }),
  fc.record({ does: fc.constant('reassign' as const), at, agent: fc.option(agentOf), which }),
  fc.record({
    does: fc.constant('status' as const),
    at,
    to: fc.constantFrom('waiting' as const, 'resolved' as const, 'closed' as const),
    which,
  }),
  fc.record({ does: fc.constant('say' as const), at, which }),
  fc.record({ does: fc.constant('presence' as const), at, agent: agentOf, online: fc.boolean() }),
  fc.record({ does: fc.constant('available' as const), at, agent: agentOf, available: fc.boolean() }),
  fc.record({ does: fc.constant('sweep' as const), at }),
)
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never
/** Steps in one round run at once. `fault` is what becomes of every third write of the second replica. */
const story = fc.record({
  rounds: fc.array(fc.array(step, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 6 }),
  fault: fc.constantFrom('none' as const, 'lost before' as const, 'answer lost' as const, 'lands late' as const),
})
type Story = typeof story extends fc.Arbitrary<infer S> ? S : never

const capacity = 2
const admin = person('admin', 'Admin')

/** Every third commit fails in the way named, each with an outcome that the writer can't know. */
function faulty(
  store: ConversationStore,
  fault: 'none' | 'lost before' | 'answer lost' | 'lands late',
  late: Promise<unknown>[],
): ConversationStore {
  let writes = 0
  return {
    ...store,
    async commit(...given) {
      if (fault === 'none' || ++writes % 3 !== 0) return store.commit(...given)
      const away = new AppError('UNAVAILABLE', 'the answer was lost')
      if (fault === 'answer lost') await store.commit(...given)
      if (fault === 'lands late') late.push(new Promise((resolve) => setTimeout(resolve, 15)).then(() => store.commit(...given)))
      throw away
    },
  }
}

await forEachDatabase((open, rounds) => {
  test('places equal assignments, whatever people and crashes do', async () => {
    const stores = await open()
    // fast-check leaves a story where the time limit meets it: it runs on, and needs its stores to the end.
    let telling: Promise<void> = Promise.resolve()
    const tell = async ({ rounds: told, fault }: Story) => {
      await stores.clear()
      const world = createWorld(stores, { capacity, coolingMs: 1 })
      const late: Promise<unknown>[] = []
      const replicas: Replica[] = [world.replica(), world.replica(faulty(stores.conversations, fault, late))]
      const [sound] = replicas as [Replica, Replica]
      for (const agent of agents) await sound.people.recognize(person(agent, 'Support'))
      const ids: ConversationId[] = []
      for (const steps of told) await Promise.all(steps.map((one) => run(one, replicas, ids, world).catch(refused)))
      await Promise.allSettled(late)
      for (const replica of replicas) await replica.stop()

      const fresh = world.replica()
      world.pass(world.settings.orphanAfterMs + 1)
      await fresh.sweeper.sweep()
      await fresh.queue.drained()
      await check(ids, world)
      await fresh.stop()
    }
    try {
      await fc.assert(
        fc.asyncProperty(story, (told) => {
          telling = tell(told)
          return telling
        }),
        { numRuns: rounds, interruptAfterTimeLimit: 12_000 },
      )
      await telling
    } finally {
      await Promise.allSettled([telling])
      await stores.close()
    }
  })
})

async function run(one: Step, replicas: readonly Replica[], ids: ConversationId[], world: ReturnType<typeof createWorld>): Promise<void> {
  const here = replicas[one.at] as Replica
  const id = 'which' in one ? ids[one.which % Math.max(ids.length, 1)] : undefined
  if (one.does === 'create') ids.push(await here.create(`farmer ${ids.length}`))
  else if (one.does === 'presence') {
    await world.presence(here, one.agent, one.online)
    here.queue.request()
  } else if (one.does === 'available') await here.agents.setAvailable(one.agent, one.available)
  else if (one.does === 'sweep') await here.sweeper.sweep()
  else if (id === undefined) return
  else if (one.does === 'say') {
    // A resolved one is reopened, to its agent where there is a place; for a closed one there is a successor.
    const farmer = (await world.load(id))?.farmer.id
    const landed = await here.say(id, person(String(farmer)))
    if (!ids.includes(landed)) ids.push(landed)
  } else if (one.does === 'claim') await here.assignments.claim(id, person(one.agent, 'Support'))
  else if (one.does === 'reassign')
    await here.assignments.reassign({ conversationId: id, supportId: one.agent, reason: undefined, force: false }, admin)
  else await here.commands.execute(id, { decide: (it, now) => changeStatus(it, { to: one.to, by: admin, reason: null }, now) })
}

/** What a person is told is no fault; anything else is. */
function refused(error: unknown): void {
  if (!(error instanceof AppError)) throw error
}

async function check(ids: readonly ConversationId[], world: ReturnType<typeof createWorld>): Promise<void> {
  const all = (await Promise.all(ids.map((id) => world.load(id)))).filter((one): one is Conversation => one !== null)
  for (const agent of agents) {
    const held = (await world.held(agent)).map(({ conversationId, token }) => `${conversationId} ${token}`)
    const assigned = all.filter((it) => it.status === 'open' && it.assigned?.person.id === agent)
    expect(held.sort()).toEqual(assigned.map((it) => `${it.id} ${it.assigned?.placeToken}`).sort())
    expect(held.length).toBeLessThanOrEqual(capacity)
  }
  const free = await world.free()
  if (free.length > 0) expect(all.filter(({ waitingSince }) => waitingSince !== null)).toEqual([])
}
