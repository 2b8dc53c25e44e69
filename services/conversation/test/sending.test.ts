// Sending over REST, on both databases: once per key, to the farmer's current conversation, with media kept first (spec 2 and 4).

import { newId } from '@fieldline/service/ids'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { eventually, onEachDatabase, type Service, startService, tokenOf } from './service.ts'

let people = 0

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
    people += 1
    const id = `${database.name}-farmer-${people}`
    const ask = service.as(tokenOf('User', id))
    const { body } = await ask('POST', '/conversations')
    return { id, ask, conversationId: body.data._id as string }
  }
  const say = (
    ask: ReturnType<Service['as']>,
    conversationId: string,
    content: string,
    more: object = {},
    headers?: Record<string, string>,
  ) => ask('POST', '/messages', { conversationId, messageType: 'text', content, ...more }, headers)
  const change = (conversationId: string, status: string) =>
    service.as(admin)('PATCH', `/conversations/${conversationId}/status`, { status })
  const history = async (ask: ReturnType<Service['as']>, conversationId: string) =>
    (await ask('GET', `/messages/${conversationId}`)).body.data

  describe('a key', () => {
    test('makes five calls at once one message, of one id', async () => {
      const { ask, conversationId } = await farmer()
      const answers = await Promise.all(Array.from({ length: 5 }, () => say(ask, conversationId, 'once', { clientMessageId: 'k1' })))
      expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 200, 200, 200, 201])
      expect(new Set(answers.map(({ body }) => body.data._id)).size).toBe(1)
      expect(await history(ask, conversationId)).toHaveLength(1)
      expect(answers[0]?.body.data.clientMessageId).toBe('k1')
    })

    test('may stand in Idempotency-Key, and in both if they agree', async () => {
      const { ask, conversationId } = await farmer()
      const first = await say(ask, conversationId, 'hello', {}, { 'idempotency-key': 'k2' })
      const again = await say(ask, conversationId, 'hello', { clientMessageId: 'k2' }, { 'idempotency-key': 'k2' })
      expect([first.status, again.status]).toEqual([201, 200])
      expect(again.body.data._id).toBe(first.body.data._id)
      expect((await say(ask, conversationId, 'hello', { clientMessageId: 'other' }, { 'idempotency-key': 'k2' })).status).toBe(400)
      expect((await say(ask, conversationId, 'hello', {}, { 'idempotency-key': 'with blank' })).status).toBe(400)
    })

    test.each([null, ''])('written as %j is none: not stored, not shown, and the header’s counts', async (clientMessageId) => {
      const { ask, conversationId } = await farmer()
      const answers = [
        await say(ask, conversationId, 'twice', { clientMessageId, messageType: clientMessageId }),
        await say(ask, conversationId, 'twice', { clientMessageId }),
      ]
      expect(answers.map(({ status }) => status)).toEqual([201, 201])
      const messages = await history(ask, conversationId)
      expect(messages).toMatchObject([
        { messageType: 'text', seq: 1 },
        { messageType: 'text', seq: 2 },
      ])
      for (const message of [...messages, ...answers.map(({ body }) => body.data)]) expect(message).not.toHaveProperty('clientMessageId')

      const keyed = await say(ask, conversationId, 'once', { clientMessageId }, { 'idempotency-key': 'k6' })
      const again = await say(ask, conversationId, 'once', {}, { 'idempotency-key': 'k6' })
      expect([keyed.status, again.status, again.body.data._id]).toEqual([201, 200, keyed.body.data._id])
    })

    test('with other content, or for another conversation, is 409; another sender’s same key is their own', async () => {
      const { ask, conversationId } = await farmer()
      await say(ask, conversationId, 'first', { clientMessageId: 'k3' })
      expect((await say(ask, conversationId, 'second', { clientMessageId: 'k3' })).body).toMatchObject({
        success: false,
        code: 'IDEMPOTENCY_CONFLICT',
      })
      expect((await say(service.as(asha), conversationId, 'mine', { clientMessageId: 'k3' })).status).toBe(201)
      const other = await farmer()
      expect((await say(service.as(asha), other.conversationId, 'mine', { clientMessageId: 'k3' })).status).toBe(409)
      expect(await history(ask, conversationId)).toHaveLength(2)
    })

    test('gets the original, whatever happened since: read, closed, or no longer mine', async () => {
      const { ask, conversationId } = await farmer()
      const agent = service.as(asha)
      const first = await say(agent, conversationId, 'take this', { clientMessageId: 'k4' })
      await ask('PATCH', `/conversations/${conversationId}/read`)
      await service.as(admin)('POST', '/support/reassign', { conversationId, supportId: null })
      expect((await say(agent, conversationId, 'take this', { clientMessageId: 'k4' })).body.data).toMatchObject({
        _id: first.body.data._id,
        isRead: true,
      })
      await change(conversationId, 'closed')
      expect((await say(agent, conversationId, 'take this', { clientMessageId: 'k4' })).status).toBe(200)
    })
  })

  describe('to a closed conversation', () => {
    test('a farmer’s message lands in the current one, made if need be, and a retry finds it there even when that closed too', async () => {
      const { ask, conversationId } = await farmer()
      await say(ask, conversationId, 'before')
      await change(conversationId, 'closed')
      const landed = await say(ask, conversationId, 'after', { clientMessageId: 'k5' })
      expect(landed.status).toBe(201)
      const current = landed.body.data.conversationId
      expect(current).not.toBe(conversationId)
      expect(landed.body.data.seq).toBe(1)
      expect((await ask('POST', '/conversations')).body).toMatchObject({
        created: false,
        data: { _id: current, previousConversationId: conversationId },
      })
      await eventually(
        () => service.published.find((event) => event.conversationid === current && event.type === 'message.created'),
        'the event',
      )
      expect(service.published.find((event) => event.conversationid === current && event.type === 'message.created')).toMatchObject({
        data: { sentTo: conversationId, message: { content: 'after' } },
      })
      await change(current, 'closed')
      const again = await say(ask, conversationId, 'after', { clientMessageId: 'k5' })
      expect([again.status, again.body.data._id]).toEqual([200, landed.body.data._id])
      expect((await say(ask, conversationId, 'other', { clientMessageId: 'k5' })).status).toBe(409)
    })

    test('many at once land in one', async () => {
      const { ask, conversationId } = await farmer()
      await change(conversationId, 'closed')
      const sent = await Promise.all(Array.from({ length: 10 }, (_, n) => say(ask, conversationId, `m${n}`)))
      expect(new Set(sent.map(({ body }) => body.data.conversationId)).size).toBe(1)
      expect(sent.map(({ body }) => body.data.seq).toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    })

    test('an agent’s and an admin’s is refused', async () => {
      const { conversationId } = await farmer()
      await change(conversationId, 'closed')
      for (const token of [asha, admin])
        expect((await say(service.as(token), conversationId, 'late')).body.code).toBe('CONVERSATION_CLOSED')
    })
  })

  test('a farmer’s message reopens a resolved conversation to the agent who is there, with the message', async () => {
    const { ask, conversationId } = await farmer()
    await say(ask, conversationId, 'help')
    await service.as(asha)('PATCH', `/conversations/${conversationId}/status`, { status: 'resolved' })
    await say(ask, conversationId, 'still there?')
    expect((await ask('GET', `/conversations/${conversationId}`)).body.data).toMatchObject({
      status: 'open',
      assignedSupportId: { _id: 'asha' },
      lastSeq: 2,
    })
    const decisions = (await service.as(admin)('GET', `/conversations/${conversationId}/assignments`)).body.data
    expect(decisions.map(({ reason }: { reason: string }) => reason)).toEqual(['least-busy', 'reopened'])
  })

  describe('media', () => {
    const mediaId = newId()
    const image = (conversationId: string, more: object = {}) => ({ conversationId, messageType: 'image', mediaId, ...more })

    test('is kept for the message before it is sent, and shown with a signed link', async () => {
      const { id, ask, conversationId } = await farmer()
      const { status, body } = await ask('POST', '/messages', image(conversationId, { content: 'my leaf', clientMessageId: 'm1' }))
      expect(status).toBe(201)
      expect(body.data).toMatchObject({
        messageType: 'image',
        content: 'my leaf',
        mediaId,
        media: { _id: mediaId, type: 'image', name: 'leaf.jpg' },
      })
      expect(body.data.media.url).toMatch(/\/uploads\/chat\/[0-9a-f]{24}\/[^/]+\/leaf\.jpg$/)
      expect(service.media.asked.at(-1)).toEqual({ ownerId: id, type: 'image', conversationId, messageId: body.data._id, farmerId: id })
      const asked = service.media.asked.length
      expect((await ask('POST', '/messages', image(conversationId, { content: 'my leaf', clientMessageId: 'm1' }))).status).toBe(200)
      expect(service.media.asked).toHaveLength(asked)
    })

    test('of somebody else is refused as media says; with media away it is 503 and text goes on', async () => {
      const { ask, conversationId } = await farmer()
      const before = service.media.answer
      const refuse = (status: number, code: string) => () => ({ status, body: { success: false, message: 'no', code, requestId: 'x' } })
      try {
        service.media.answer = refuse(404, 'MEDIA_NOT_FOUND')
        expect((await ask('POST', '/messages', image(conversationId))).body.code).toBe('MEDIA_NOT_FOUND')
        service.media.answer = refuse(409, 'MEDIA_IN_USE')
        expect((await ask('POST', '/messages', image(conversationId))).status).toBe(409)
        service.media.answer = refuse(503, 'UNAVAILABLE')
        const away = await ask('POST', '/messages', image(conversationId))
        expect([away.status, away.headers['retry-after']]).toEqual([503, '1'])
        expect((await say(ask, conversationId, 'text')).status).toBe(201)
        expect((await history(ask, conversationId)).map(({ seq }: { seq: number }) => seq)).toEqual([1])
      } finally {
        service.media.answer = before
      }
    })

    test('named into a closed conversation is kept where the message lands, in the name of the farmer', async () => {
      const { id, ask, conversationId } = await farmer()
      const before = service.media.answer
      service.media.answer = () => ({ status: 503, body: { success: false, message: 'no', code: 'UNAVAILABLE', requestId: 'x' } })
      const photo = image(conversationId, { clientMessageId: 'm2' })
      expect((await ask('POST', '/messages', photo)).status).toBe(503)
      service.media.answer = before
      await change(conversationId, 'closed')
      const landed = await ask('POST', '/messages', photo)
      expect(landed.status).toBe(201)
      const { _id: messageId, conversationId: current } = landed.body.data
      expect(current).not.toBe(conversationId)
      expect(service.media.asked.at(-1)).toEqual({ ownerId: id, type: 'image', conversationId: current, messageId, farmerId: id })
      expect((await ask('POST', '/messages', photo)).body.data._id).toBe(messageId)
      expect(await history(ask, current)).toHaveLength(1)
    })

    test('isn’t asked about for who may not write', async () => {
      const { conversationId } = await farmer()
      const stranger = await farmer()
      const asked = service.media.asked.length
      expect((await stranger.ask('POST', '/messages', image(conversationId))).status).toBe(403)
      expect(service.media.asked).toHaveLength(asked)
    })
  })
})
