// A message from a farmer's phone to an agent's screen, the same cases against the embedded process and against five processes over the real broker.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import sharp from 'sharp'
import { FormData, fetch } from 'undici'
import { type Client, client, eventually, rest } from '../support/client.ts'
import { withBroker } from '../support/servers.ts'
import { startEmbedded, startServices, token, type Whole } from '../support/whole.ts'

const ways = [
  ['embedded', startEmbedded],
  [withBroker('services'), startServices],
] as const

const inner = ['conversation', 'media', 'realtime', 'stats']

let people = 0
/** A farmer nobody has met, so that cases do not share conversations. */
function aFarmer() {
  people += 1
  const id = `farmer-${people}`
  return { id, token: token('User', id, { firstName: 'Rajesh', lastName: 'Kumar', phone: '+919876543210' }) }
}

describe.each(ways.filter(([name]) => name !== null))('%s', (way, start) => {
  let whole: Whole
  const asha = token('Support', 'asha', { firstName: 'Asha', lastName: 'Patil' })
  const admin = token('Admin', 'meena', { firstName: 'Meena' })
  let agent: Client
  const open: Client[] = []
  const connect = (...args: Parameters<typeof client> extends [string, ...infer Rest] ? Rest : never): Client => {
    const made = client(whole.url, ...args)
    open.push(made)
    return made
  }

  beforeAll(async () => {
    whole = await start({ env: { AGENT_CAPACITY: '100' } })
    agent = connect(asha)
    await agent.next('connect')
    // Known as online before the first farmer comes.
    await eventually(async () => {
      const { body } = await rest(whole.url, admin)('GET', '/support/agents')
      return body.data?.some((each: { _id: string; isOnline: boolean }) => each._id === 'asha' && each.isOnline)
    })
  }, 90_000)
  afterAll(async () => {
    for (const each of open) each.close()
    await whole?.stop()
  }, 30_000)

  async function conversationOf(farmer: { token: string }) {
    const { status, body } = await rest(whole.url, farmer.token)('POST', '/conversations')
    expect(status).toBe(200)
    return body
  }

  async function photoOf(farmer: { token: string }): Promise<Record<string, unknown>> {
    const photo = await sharp({ create: { width: 640, height: 480, channels: 3, background: 'green' } })
      .jpeg()
      .toBuffer()
    const form = new FormData()
    form.append('media', new File([new Uint8Array(photo)], 'crop_disease.jpg'))
    form.append('type', 'image')
    const uploaded = await fetch(`${whole.url}/api/v1/chat/media`, {
      method: 'POST',
      headers: { authorization: `Bearer ${farmer.token}` },
      body: form,
    })
    expect(uploaded.status).toBe(201)
    return ((await uploaded.json()) as { data: [Record<string, unknown>] }).data[0]
  }

  test('a farmer gets one conversation, assigned to the agent who is there, in the seed’s shape', async () => {
    const farmer = aFarmer()
    const first = await conversationOf(farmer)
    expect(first).toMatchObject({
      message: 'Conversation retrieved successfully',
      created: true,
      data: {
        userId: { _id: farmer.id, first_name: 'Rajesh', last_name: 'Kumar', phone: '+919876543210', isOnline: false },
        assignedSupportId: { _id: 'asha', first_name: 'Asha', last_name: 'Patil', role: 'Support' },
        status: 'open',
        unreadCount: {},
        lastSeq: 0,
      },
    })
    const again = await conversationOf(farmer)
    expect(again.created).toBe(false)
    expect(again.data._id).toBe(first.data._id)
    const mine = await rest(whole.url, farmer.token)('GET', '/conversations')
    expect(mine.body).toMatchObject({
      message: 'Conversations fetched successfully',
      data: [{ _id: first.data._id }],
      pagination: { currentPage: 1, totalPages: 1, totalItems: 1 },
    })
  })

  test('a message sent over REST arrives once at another person’s socket, as message:new where joined', async () => {
    const farmer = aFarmer()
    const { data: conversation } = await conversationOf(farmer)
    expect(await agent.ask('conversation:join', { conversationId: conversation._id })).toMatchObject({
      ok: true,
      data: { lastSeq: 0, messages: [], hasMore: false },
    })
    const sent = await rest(whole.url, farmer.token)('POST', '/messages', {
      conversationId: conversation._id,
      messageType: 'text',
      content: 'My leaves turn yellow',
    })
    expect(sent.status).toBe(201)
    expect(sent.body.data).toMatchObject({
      seq: 1,
      content: 'My leaves turn yellow',
      senderId: { _id: farmer.id, role: 'User' },
      isRead: false,
      readAt: null,
    })
    const heard = await agent.next('message:new', ({ conversationId }) => conversationId === conversation._id)
    expect(heard.message).toEqual(sent.body.data)
    // A second message is the proof that nothing of the first comes again after it.
    await rest(whole.url, farmer.token)('POST', '/messages', { conversationId: conversation._id, content: 'Please help' })
    await agent.next('message:new', ({ message }) => message.conversationId === conversation._id && message.seq === 2)
    expect(agent.all('message:new').filter(({ conversationId }) => conversationId === conversation._id)).toHaveLength(2)
    expect(agent.all('notification:new-message').filter(({ conversationId }) => conversationId === conversation._id)).toHaveLength(0)
  })

  test('who has not joined is notified, and who joins later gets what was before', async () => {
    const farmer = aFarmer()
    const { data: conversation } = await conversationOf(farmer)
    await rest(whole.url, farmer.token)('POST', '/messages', { conversationId: conversation._id, content: 'Hello' })
    const note = await agent.next('notification:new-message', ({ conversationId }) => conversationId === conversation._id)
    expect(note).toMatchObject({ sender: { id: farmer.id, name: 'Rajesh Kumar' }, message: { content: 'Hello', seq: 1 } })
    const joined = await agent.ask('conversation:join', { conversationId: conversation._id, afterSeq: 0 })
    expect(joined.data).toMatchObject({
      lastSeq: 1,
      hasMore: false,
      messages: [{ seq: 1, content: 'Hello' }],
      conversation: { _id: conversation._id },
    })
  })

  test.each([
    ['the Flutter sample', { transports: ['websocket'] }],
    ['the Next.js sample', {}],
    ['a client on polling only', { transports: ['polling'] }],
  ])('%s: history by REST, join, send, and its own message comes back through message:new', async (_sample, options) => {
    const farmer = aFarmer()
    const { data: conversation } = await conversationOf(farmer)
    const conversationId = conversation._id
    await rest(whole.url, farmer.token)('POST', '/messages', { conversationId, content: 'before' })
    const history = await rest(whole.url, farmer.token)('GET', `/messages/${conversationId}`)
    expect(history.body).toMatchObject({
      message: 'Messages fetched successfully',
      data: [{ content: 'before', senderId: { _id: farmer.id } }],
      pagination: { currentPage: 1 },
    })
    const phone = connect(farmer.token, options)
    phone.socket.emit('conversation:join', { conversationId })
    phone.socket.emit('message:send', { conversationId, messageType: 'text', content: 'after' })
    const own = await phone.next('message:new', ({ message }) => message.content === 'after')
    expect(own).toMatchObject({
      conversationId,
      message: { seq: 2, senderId: { _id: farmer.id, first_name: 'Rajesh' }, messageType: 'text' },
    })
    const told = await phone.next('message:sent', ({ seq }) => seq === 2)
    expect(told).toMatchObject({ messageId: own.message._id, conversationId, timestamp: own.message.createdAt })
    expect(phone.all('message:new').filter(({ message }) => message.seq === 2)).toHaveLength(1)
  })

  test('a photo from the phone reaches the agent under the links its sender was given, and they open as a browser asks', async () => {
    const farmer = aFarmer()
    const conversationId = (await conversationOf(farmer)).data._id
    const began = new Date().getUTCDate()
    const media = await photoOf(farmer)
    expect(media).toMatchObject({ name: 'crop_disease.jpg', type: 'image', format: 'image/jpeg', width: 640, height: 480 })

    const phone = connect(farmer.token)
    await phone.ask('conversation:join', { conversationId })
    const message = { conversationId, messageType: 'image', mediaId: media._id, content: 'My leaves' }
    expect(await phone.ask('message:send', message)).toMatchObject({ ok: true })
    const ofThis = (told: { conversationId: string }) => told.conversationId === conversationId
    const shown = [
      (await phone.next('message:new', ofThis)).message,
      (await agent.next('notification:new-message', ofThis)).message,
      (await agent.ask('conversation:join', { conversationId, afterSeq: 0 })).data.messages[0],
      (await rest(whole.url, asha)('GET', `/messages/${conversationId}`)).body.data[0],
    ]
    // Links are the same for a day, which may have turned meanwhile.
    const { url, thumbnailUrl, ...file } = media
    const links = new Set([`${url} ${thumbnailUrl}`])
    for (const { messageType, mediaId, media: seen } of shown) {
      expect({ messageType, mediaId, seen }).toMatchObject({ messageType: 'image', mediaId: media._id, seen: file })
      links.add(`${seen.url} ${seen.thumbnailUrl}`)
    }
    expect(links.size).toBeLessThanOrEqual(new Date().getUTCDate() === began ? 1 : 2)

    for (const link of [String(url), String(thumbnailUrl)]) {
      const whole = await fetch(link)
      expect([whole.status, whole.headers.get('content-type')]).toEqual([200, 'image/jpeg'])
      expect(whole.headers.get('content-security-policy')).toContain('sandbox')
      const bytes = Buffer.from(await whole.arrayBuffer())
      const etag = String(whole.headers.get('etag'))
      const part = await fetch(link, { headers: { range: 'bytes=10-19' } })
      expect([part.status, part.headers.get('content-range')]).toEqual([206, `bytes 10-19/${bytes.length}`])
      expect(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(10, 20))).toBe(true)
      const head = await fetch(link, { method: 'HEAD' })
      expect([head.status, head.headers.get('content-length'), head.headers.get('etag')]).toEqual([200, String(bytes.length), etag])
      expect((await fetch(link, { headers: { 'if-none-match': etag } })).status).toBe(304)
      expect((await fetch(link, { headers: { range: `bytes=${bytes.length}-` } })).status).toBe(416)
    }
  })

  test('a photo sent into a closed conversation lands in the current one, also one that was sent before; both conversations show it', async () => {
    const farmer = aFarmer()
    const closed = (await conversationOf(farmer)).data._id
    const { _id: mediaId } = await photoOf(farmer)
    const as = rest(whole.url, farmer.token)
    const photo = { conversationId: closed, messageType: 'image', mediaId }
    expect((await as('POST', '/messages', { ...photo, clientMessageId: 'before' })).status).toBe(201)
    await rest(whole.url, admin)('PATCH', `/conversations/${closed}/status`, { status: 'closed' })

    const landed = await as('POST', '/messages', { ...photo, clientMessageId: 'after' })
    expect(landed).toMatchObject({ status: 201, body: { data: { seq: 1, mediaId } } })
    const current = landed.body.data.conversationId
    expect(current).not.toBe(closed)
    expect(await as('POST', '/messages', { ...photo, clientMessageId: 'after' })).toMatchObject({
      status: 200,
      body: { data: { _id: landed.body.data._id } },
    })
    expect((await as('POST', '/messages', { ...photo, conversationId: current })).status).toBe(201)
    for (const [conversationId, times] of [
      [closed, 1],
      [current, 2],
    ]) {
      const { body } = await rest(whole.url, asha)('GET', `/messages/${conversationId}`)
      const shown: { media: { url: string } }[] = body.data
      expect(shown).toHaveLength(times)
      for (const { media } of shown) expect((await fetch(media.url)).status).toBe(200)
    }
  })

  test('a retry with the same key gets the original; another content under it 409', async () => {
    const farmer = aFarmer()
    const { data: conversation } = await conversationOf(farmer)
    const send = rest(whole.url, farmer.token)
    const message = { conversationId: conversation._id, content: 'once', clientMessageId: 'phone-1' }
    const first = await send('POST', '/messages', message)
    const second = await send('POST', '/messages', message)
    const third = await send('POST', '/messages', { ...message, clientMessageId: undefined }, { headers: { 'idempotency-key': 'phone-1' } })
    expect([first.status, second.status, third.status]).toEqual([201, 200, 200])
    expect(second.body.data._id).toBe(first.body.data._id)
    expect(third.body.data._id).toBe(first.body.data._id)
    expect(await send('POST', '/messages', { ...message, content: 'twice' })).toMatchObject({
      status: 409,
      body: { success: false, code: 'IDEMPOTENCY_CONFLICT' },
    })
  })

  test('bad input gets the envelope over REST, and an error with a failed acknowledgement over the socket', async () => {
    const farmer = aFarmer()
    const { data: conversation } = await conversationOf(farmer)
    const as = rest(whole.url, farmer.token)
    const unknown = 'f'.repeat(24)
    const long = 'x'.repeat(5_000)
    const answers = {
      'no token': await rest(whole.url)('GET', '/conversations'),
      'a broken token': await rest(whole.url, 'not.a.token')('GET', '/conversations'),
      'no JSON': await as('POST', '/messages', '{"conversationId": ', { raw: true }),
      'an operator for an id': await as('POST', '/messages', { conversationId: { $ne: null }, content: 'x' }),
      'an unknown conversation': await as('POST', '/messages', { conversationId: unknown, content: 'x' }),
      'a message of 5,000 characters': await as('POST', '/messages', { conversationId: conversation._id, content: long }),
    }
    expect(Object.fromEntries(Object.entries(answers).map(([name, { status }]) => [name, status]))).toEqual({
      'no token': 401,
      'a broken token': 401,
      'no JSON': 400,
      'an operator for an id': 400,
      'an unknown conversation': 404,
      'a message of 5,000 characters': 400,
    })
    for (const { body } of Object.values(answers))
      expect(body).toMatchObject({ success: false, message: expect.any(String), code: expect.any(String), requestId: expect.any(String) })

    const phone = connect(farmer.token)
    const overSocket = {
      'an operator for an id': [{ conversationId: { $ne: null }, content: 'x' }, 'VALIDATION_FAILED'],
      'an unknown conversation': [{ conversationId: unknown, content: 'x' }, 'CONVERSATION_NOT_FOUND'],
      'a message of 5,000 characters': [{ conversationId: conversation._id, content: long }, 'VALIDATION_FAILED'],
    } as const
    for (const [payload, code] of Object.values(overSocket)) {
      expect(await phone.ask('message:send', payload)).toMatchObject({
        ok: false,
        error: { code, message: expect.any(String), retryable: false },
      })
    }
    await eventually(() => phone.all('error').length === 3)
    expect(phone.all('error')[0]).toMatchObject({ code: 'VALIDATION_FAILED', event: 'message:send', retryable: false })
    for (const bad of [undefined, 'not.a.token']) {
      const refused = connect(bad)
      const error = await refused.next('connect_error')
      expect(error.data).toMatchObject({ code: 'UNAUTHENTICATED' })
    }
    expect((await as('GET', '/conversations')).status).toBe(200)
  })

  test('nothing under /internal is reachable through the gateway', async () => {
    for (const path of ['/internal/heads', `/internal/conversations/${'a'.repeat(24)}/snapshot`, '/internal/presence']) {
      expect((await rest(whole.url, admin)('GET', path)).status).toBe(404)
    }
  })

  test('statistics count what happened', async () => {
    const before = await rest(whole.url, admin)('GET', '/support/stats')
    expect(before.status).toBe(200)
    await conversationOf(aFarmer())
    await eventually(async () => {
      const { body } = await rest(whole.url, admin)('GET', '/support/stats')
      return body.data.conversations.total > before.body.data.conversations.total
    })
    expect((await rest(whole.url, aFarmer().token)('GET', '/support/stats')).status).toBe(403)
  })

  test('every process is live and ready, and shows its metrics', async () => {
    expect(new Set(whole.started.map(({ pid }) => pid)).size).toBe(way === 'services' ? 5 : 1)
    for (const url of new Set(whole.started.map((each) => each.url))) {
      expect((await rest(url)('GET', '/health/live')).status).toBe(200)
      const ready = await rest(url)('GET', '/health/ready')
      expect(ready).toMatchObject({ status: 200, body: { status: 'ready' } })
      const metrics = await rest(url)('GET', '/metrics')
      expect(metrics.body).toContain('fieldline_http_request_duration_seconds')
      if (way === 'services') continue
      // One process shows all five's, each under its own name, so that none hides another's.
      const named = Object.keys(ready.body.dependencies)
      expect(named).toEqual(expect.arrayContaining(inner.map((service) => `${service}/broker`)))
      for (const service of [...inner, 'gateway']) expect(metrics.body).toContain(`service="${service}"`)
    }
  })
})
