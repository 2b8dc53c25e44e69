// Assignment through the whole service: real HTTP, real wiring, events of agents on the bus, on both databases.

import type { ConversationView } from '@fieldline/contracts/conversations'
import type { AgentView } from '@fieldline/contracts/people'
import { afterEach, describe, expect, test } from '@jest/globals'
import { type Answer, eventually, onEachDatabase, type Service, type ServiceOptions, startService, tokenOf } from './service.ts'

const admin = tokenOf('Admin', 'boss')
const agentToken = (id: string) => tokenOf('Support', id)

await onEachDatabase((database) => {
  const services: Service[] = []
  afterEach(async () => {
    for (const service of services.splice(0).reverse()) await service.stop()
  })
  async function start(env: Record<string, string> = {}, options: ServiceOptions = {}): Promise<Service> {
    const service = await startService(database, { ...options, env: { ASSIGNMENT_SWEEP_MS: '100', ...env } })
    services.push(service)
    return service
  }
  const dataOf = <Data>(answer: Answer): Data => {
    expect(answer.status).toBeLessThan(300)
    return answer.body.data as Data
  }
  const create = async (service: Service, farmer: string) =>
    dataOf<ConversationView>(await service.as(tokenOf('User', farmer))('POST', '/conversations'))
  const read = async (service: Service, id: string) => dataOf<ConversationView>(await service.as(admin)('GET', `/conversations/${id}`))
  const agents = async (service: Service) => dataOf<AgentView[]>(await service.as(admin)('GET', '/support/agents'))
  const say = async (service: Service, token: string, conversationId: string, content = 'hello') =>
    expect((await service.as(token)('POST', '/messages', { conversationId, messageType: 'text', content })).status).toBe(201)
  const set = async (service: Service, token: string, id: string, status: string) =>
    expect((await service.as(token)('PATCH', `/conversations/${id}/status`, { status })).status).toBe(200)

  test('200 concurrent creates over 10 agents of capacity 5: 50 open, 150 waiting, nobody with 6', async () => {
    const service = await start()
    for (let n = 0; n < 10; n++) await service.online(agentToken(`agent${n}`), `agent${n}`)
    const made = await Promise.all(Array.from({ length: 200 }, (_, n) => create(service, `farmer${n}`)))
    expect(new Set(made.map(({ _id }) => _id)).size).toBe(200)
    const counts = async () => (await service.as(admin)('GET', '/support/conversations?limit=1')).body.counts
    await eventually(async () => (await counts()).open === 50, 'fifty being open')
    expect(await counts()).toMatchObject({ open: 50, waiting: 150 })
    expect((await agents(service)).map(({ active }) => active)).toEqual(Array(10).fill(5))
  })

  test('50 creates of one farmer at once make one conversation, and all come back assigned', async () => {
    const service = await start({ ASSIGNMENT_SWEEP_MS: '60000' })
    await service.online(agentToken('asha'), 'asha')
    const answers = await Promise.all(Array.from({ length: 50 }, () => service.as(tokenOf('User', 'farmer'))('POST', '/conversations')))
    expect(answers.filter(({ body }) => body.created)).toHaveLength(1)
    const [first] = answers
    for (const { status, body } of answers) {
      expect(status).toBe(200)
      expect(body.data).toMatchObject({ _id: first?.body.data._id, status: 'open', assignedSupportId: { _id: 'asha' } })
    }
  })

  test('a place freed by resolving goes to who waits longest, before anybody asks', async () => {
    const service = await start({ AGENT_CAPACITY: '1' })
    const asha = agentToken('asha')
    await service.online(asha, 'asha')
    const [held, first, second] = [await create(service, 'f1'), await create(service, 'f2'), await create(service, 'f3')]
    expect([held.status, first.status, second.status]).toEqual(['open', 'waiting', 'waiting'])
    await set(service, asha, held._id, 'resolved')
    await eventually(async () => (await read(service, first._id)).status === 'open', 'the oldest being assigned')
    expect((await read(service, second._id)).status).toBe('waiting')
  })

  describe('reopening', () => {
    test('a farmer’s message brings a resolved one back to the same agent, message and assignment in one write', async () => {
      const service = await start()
      const [asha, farmer] = [agentToken('asha'), tokenOf('User', 'farmer')]
      await service.online(asha, 'asha')
      const { _id } = await create(service, 'farmer')
      await say(service, farmer, _id)
      await set(service, asha, _id, 'resolved')
      await eventually(async () => (await agents(service))[0]?.active === 0, 'the place being free')
      await say(service, farmer, _id, 'still broken')
      expect(await read(service, _id)).toMatchObject({ status: 'open', assignedSupportId: { _id: 'asha' } })
      expect((await agents(service))[0]?.active).toBe(1)
      const events = () => service.published.filter(({ conversationid }) => conversationid === _id)
      await eventually(() => events().filter(({ type }) => type === 'message.created').length === 2, 'everything being published')
      const last = events()
        .slice(-3)
        .map((event) => [event.type, event.time] as const)
      expect(new Set(last.map(([, time]) => time)).size).toBe(1)
      expect(last.map(([type]) => type)).toEqual(['conversation.assigned', 'conversation.status-changed', 'message.created'])
    })
    test('an agent’s message leaves it resolved; without a place there it waits', async () => {
      const service = await start({ AGENT_CAPACITY: '1' })
      const [asha, farmer] = [agentToken('asha'), tokenOf('User', 'farmer')]
      await service.online(asha, 'asha')
      const { _id } = await create(service, 'farmer')
      await say(service, farmer, _id)
      await set(service, asha, _id, 'resolved')
      await say(service, asha, _id, 'bye')
      expect((await read(service, _id)).status).toBe('resolved')
      await create(service, 'other')
      await eventually(async () => (await agents(service))[0]?.active === 1, 'the other being assigned')
      await say(service, farmer, _id, 'still broken')
      expect(await read(service, _id)).toMatchObject({ status: 'waiting', assignedSupportId: null })
    })
  })

  describe('an agent who is gone', () => {
    test('loses it to the next one when the farmer writes', async () => {
      const service = await start({ AGENT_GRACE_MS: '50', ASSIGNMENT_SWEEP_MS: '60000' })
      const [asha, farmer] = [agentToken('asha'), tokenOf('User', 'farmer')]
      await service.online(asha, 'asha')
      const { _id } = await create(service, 'farmer')
      await say(service, farmer, _id)
      await say(service, asha, _id, 'answered')
      await service.online(asha, 'asha', false)
      await service.online(agentToken('meena'), 'meena')
      await eventually(async () => {
        await say(service, farmer, _id, 'anybody?')
        return (await read(service, _id)).assignedSupportId?._id === 'meena'
      }, 'Meena having it')
    })
    test('an agent whose role a newer token lowered loses everything, and the older token claims nothing', async () => {
      const service = await start()
      const before = Math.floor(Date.now() / 1_000) - 100
      const asha = tokenOf('Support', 'asha', { iat: before })
      await service.online(asha, 'asha')
      const { _id } = await create(service, 'farmer')
      await say(service, tokenOf('User', 'farmer'), _id)
      await service.as(tokenOf('User', 'asha', { iat: before + 50 }))('GET', '/conversations')
      await eventually(async () => (await read(service, _id)).status === 'waiting', 'it being given back')
      expect((await service.as(asha)('POST', `/support/conversations/${_id}/claim`)).status).toBe(403)
      expect((await service.as(asha)('GET', '/support/agents')).status).toBe(403)
      expect(await agents(service)).toEqual([])
    })
  })

  test('an empty conversation gives its place back and leaves the queue; its first message brings it back', async () => {
    const service = await start({ EMPTY_RELEASE_MS: '300', AGENT_CAPACITY: '1' })
    await service.online(agentToken('asha'), 'asha')
    const held = await create(service, 'f1')
    const waiting = await create(service, 'f2')
    expect([held.status, waiting.status]).toEqual(['open', 'waiting'])
    for (const { _id } of [held, waiting])
      await eventually(async () => {
        const { status, waitingSince } = await read(service, _id)
        return status === 'waiting' && waitingSince === null
      }, 'it leaving the queue')
    await say(service, tokenOf('User', 'f2'), waiting._id)
    await eventually(async () => (await read(service, waiting._id)).assignedSupportId?._id === 'asha', 'it being assigned')
  })

  test('resolved ones close by themselves after their time', async () => {
    const service = await start({ RESOLVED_CLOSES_AFTER_MS: '200' })
    const asha = agentToken('asha')
    await service.online(asha, 'asha')
    const { _id } = await create(service, 'farmer')
    await set(service, asha, _id, 'resolved')
    await eventually(async () => (await read(service, _id)).status === 'closed', 'it being closed')
  })

  test('unavailable agents get nothing; becoming available is a cause', async () => {
    const service = await start()
    const asha = agentToken('asha')
    await service.online(asha, 'asha')
    await service.as(asha)('PATCH', '/support/availability', { available: false })
    const { _id, status } = await create(service, 'farmer')
    expect(status).toBe('waiting')
    await service.as(asha)('PATCH', '/support/availability', { available: true })
    await eventually(async () => (await read(service, _id)).status === 'open', 'it being assigned')
  })
})
