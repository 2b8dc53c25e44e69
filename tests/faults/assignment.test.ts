// Handing out under a crowd (quality "Lossless" 19): nobody over capacity, nobody twice, also with two conversation replicas of which one is killed.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { eventually, rest } from '../support/client.ts'
import { type Agent, answered, type Scene, say, scene } from '../support/scene.ts'
import { needAll } from '../support/servers.ts'
import { kill, startServices, token, type Whole } from '../support/whole.ts'

interface Shown {
  _id: string
  status: string
  userId: { _id: string }
  assignedSupportId: { _id: string } | null
}
const capacity = 5
const crowd = 200

const suite = needAll('handing out under a crowd', 'AMQP_URL', 'MONGODB_URL')
describe.each(suite ? [suite] : [])('%s', () => {
  let whole: Whole
  let people: Scene
  let agents: Agent[]

  beforeAll(async () => {
    whole = await startServices({
      replicas: 'conversation=2',
      env: { AGENT_CAPACITY: String(capacity), AGENT_GRACE_MS: '600000', EMPTY_RELEASE_MS: '600000' },
    })
    people = scene(whole)
    agents = await Promise.all(Array.from({ length: 10 }, (_, index) => people.agent(`agent-${index}`)))
  }, 90_000)
  afterAll(async () => {
    people?.close()
    await whole?.stop()
  }, 40_000)

  async function everything(): Promise<Shown[]> {
    const all: Shown[] = []
    let cursor: string | undefined
    do {
      const { body } = await answered(() => people.admin('GET', `/support/conversations?limit=100${cursor ? `&cursor=${cursor}` : ''}`))
      all.push(...body.data)
      cursor = body.pagination.nextCursor
    } while (cursor)
    return all
  }
  async function expectFair(all: readonly Shown[]) {
    expect(new Set(all.map(({ _id }) => _id)).size).toBe(all.length)
    const held = Map.groupBy(
      all.filter(({ status }) => status === 'open'),
      ({ assignedSupportId }) => String(assignedSupportId?._id),
    )
    for (const [, each] of held) expect(each.length).toBeLessThanOrEqual(capacity)
    for (const one of all)
      expect(one.assignedSupportId === null).toBe(one.status === 'waiting' || (one.status === 'closed' && one.assignedSupportId === null))
    const { body } = await answered(() => people.admin('GET', '/support/agents'))
    for (const { _id, active } of body.data as { _id: string; active: number }[])
      expect([_id, active]).toEqual([_id, held.get(_id)?.length ?? 0])
  }

  test('19: 200 farmers come at once, each with two calls, to 10 agents of capacity 5: 50 open, 150 waiting, none over, nobody twice', async () => {
    const calls = await Promise.all(
      Array.from({ length: crowd * 2 }, async (_, index) => {
        const own = token('User', `crowd-${index % crowd}`)
        const { body } = await answered(() => rest(whole.url, own)('POST', '/conversations'))
        return { farmer: index % crowd, id: body.data._id as string }
      }),
    )
    for (const [, both] of Map.groupBy(calls, ({ farmer }) => farmer)) expect(new Set(both.map(({ id }) => id)).size).toBe(1)
    const all = await eventually(async () => {
      const now = await everything()
      return now.filter(({ status }) => status === 'open').length >= 50 && now
    })
    expect(all).toHaveLength(crowd)
    expect(all.filter(({ status }) => status === 'open')).toHaveLength(50)
    expect(all.filter(({ status }) => status === 'waiting')).toHaveLength(150)
    await expectFair(all)
  }, 90_000)

  test('places are given back and handed on while one conversation replica is killed: every place filled again, none over, none leaked', async () => {
    const open = (await everything()).filter(({ status }) => status === 'open')
    const restarted = whole.nextStart('conversation')
    let closed = 0
    await Promise.all(
      open.slice(0, 30).map(async ({ _id, assignedSupportId }) => {
        const agent = agents.find(({ id }) => id === assignedSupportId?._id)
        await answered(() => (agent as Agent).api('PATCH', `/conversations/${_id}/status`, { status: 'closed' }))
        closed += 1
        if (closed === 10) kill(whole.processOf('conversation', 1).pid)
      }),
    )
    await restarted
    const all = await eventually(async () => {
      const now = await everything()
      const full = Map.groupBy(
        now.filter(({ status }) => status === 'open'),
        ({ assignedSupportId }) => String(assignedSupportId?._id),
      )
      return [...full.values()].filter(({ length }) => length === capacity).length === agents.length && now
    }, 60_000)
    expect(all.filter(({ status }) => status === 'open')).toHaveLength(50)
    expect(all.filter(({ status }) => status === 'waiting')).toHaveLength(120)
    await expectFair(all)
    // Whoever waits is still served: a farmer's message lands, and the queue goes on.
    const [waiting] = all.filter(({ status }) => status === 'waiting')
    const own = token('User', String(waiting?.userId._id))
    await say({ id: String(waiting?.userId._id), token: own, api: rest(whole.url, own) }, String(waiting?._id), 'still here')
  }, 120_000)
})
