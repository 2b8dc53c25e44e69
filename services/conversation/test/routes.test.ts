// REST of conversation over a real HTTP server, on both databases (spec 2 and 4).
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { eventually, onEachDatabase, type Service, startService, tokenOf } from './service.ts'

let people = 0
const fresh = (name: string) => `${name}-${++people}`

await onEachDatabase((database) => {
  let service: Service
  const asha = tokenOf('Support', 'asha')
  const admin = tokenOf('Admin', 'meena')

  beforeAll(async () => {
    service = await startService(database, { env: { AGENT_CAPACITY: '1000' } })
    await service.online(asha, 'asha')
  })
  afterAll(() => service.stop())

  async function farmer() {
    const id = fresh('farmer')
    const ask = service.as(tokenOf('User', id))
    const { body } = await ask('POST', '/conversations')
    return { id, ask, conversationId: body.data._id as string, first: body }
  }
  const say = (ask: ReturnType<Service['as']>, conversationId: string, content: string, more: object = {}) =>
    ask('POST', '/messages', { conversationId, messageType: 'text', content, ...more })

  describe('a conversation', () => {
    test('is created once, comes back assigned to the agent who is there, and in the seed’s shape', async () => {
      const { id, ask, first } = await farmer()
      expect(first).toMatchObject({
        message: 'Conversation retrieved successfully',
        created: true,
        data: {
          userId: { _id: id, first_name: id, isOnline: false },
          assignedSupportId: { _id: 'asha', role: 'Support' },
          status: 'open',
          unreadCount: {},
          myUnreadCount: 0,
          lastSeq: 0,
          lastMessage: null,
          waitingSince: null,
          previousConversationId: null,
        },
      })
      expect((await ask('POST', '/conversations')).body).toMatchObject({ created: false, data: { _id: first.data._id } })
    })

    test('is one, even under 50 concurrent calls', async () => {
      const ask = service.as(tokenOf('User', fresh('farmer')))
      const answers = await Promise.all(Array.from({ length: 50 }, () => ask('POST', '/conversations')))
      expect(new Set(answers.map(({ body }) => body.data._id)).size).toBe(1)
      expect(answers.map(({ status }) => status)).toEqual(Array(50).fill(200))
      expect(answers.filter(({ body }) => body.created)).toHaveLength(1)
    })
  })

  describe('messages', () => {
    test('are numbered, come back oldest first, page 1 being the newest, and are published in order', async () => {
      const { ask, conversationId } = await farmer()
      for (let n = 1; n <= 5; n += 1) expect((await say(ask, conversationId, `m${n}`)).status).toBe(201)
      const { body } = await ask('GET', `/messages/${conversationId}?limit=2`)
      expect(body).toMatchObject({
        message: 'Messages fetched successfully',
        data: [{ seq: 4, content: 'm4' }, { seq: 5 }],
        pagination: { currentPage: 1, totalPages: 3, totalItems: 5, limit: 2, hasNextPage: true },
      })
      expect((await ask('GET', `/messages/${conversationId}?limit=2&page=3`)).body).toMatchObject({
        data: [{ seq: 1 }],
        pagination: { hasNextPage: false },
      })
      const ours = () => service.published.filter(({ conversationid }) => conversationid === conversationId)
      await eventually(() => ours().length === 8, 'publishing')
      expect(ours().map(({ eventno }) => eventno)).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    })

    test('are counted unread for the other side, and read by one small write', async () => {
      const { id, ask, conversationId } = await farmer()
      await say(ask, conversationId, 'one')
      await say(ask, conversationId, 'two')
      const agent = service.as(asha)
      expect((await agent('GET', `/conversations/${conversationId}`)).body.data).toMatchObject({
        myUnreadCount: 2,
        unreadCount: { asha: 2 },
      })
      const read = await agent('PATCH', `/conversations/${conversationId}/read`)
      expect(read.body).toMatchObject({ message: 'Messages marked as read', data: { myUnreadCount: 0, unreadCount: {} } })
      const [first] = (await ask('GET', `/messages/${conversationId}`)).body.data
      expect(first).toMatchObject({ isRead: true, senderId: { _id: id } })
      await say(agent, conversationId, 'answer')
      expect((await ask('GET', `/conversations/${conversationId}`)).body.data).toMatchObject({ myUnreadCount: 1, unreadCount: { [id]: 1 } })
    })
  })

  test('an admin sees all, internals answer services alone', async () => {
    const { conversationId } = await farmer()
    const all = await service.as(admin)('GET', '/support/conversations?limit=1')
    expect(all.body).toMatchObject({ data: [{ _id: conversationId }], counts: { closed: 0 } })
    const heads = await service.internal('POST', '/heads', { conversationIds: [conversationId] })
    expect(heads.body.heads).toEqual([{ conversationId, eventNo: 3, lastSeq: 0 }])
    const states = await service.internal('POST', '/states', { conversationIds: ['f'.repeat(24), conversationId] })
    expect(states.body.states).toMatchObject([{ conversation: { id: conversationId, status: 'open' }, farmerOnline: false }])
    const roles = await service.internal('POST', '/roles', {
      people: [
        { id: 'nobody', role: 'Support', iat: 1 },
        { id: 'x', role: 'User', iat: 1 },
      ],
    })
    expect(roles.body.roles).toEqual(['Support', 'User'])
    expect((await service.as(admin)('GET', '/../../../internal/conversations')).status).not.toBe(200)
    const snapshot = await service.internal('GET', `/conversations/${conversationId}/snapshot?afterSeq=0`)
    expect(snapshot.body).toMatchObject({ eventNo: 3, lastSeq: 0, messages: [], hasMore: false })
  })
})
