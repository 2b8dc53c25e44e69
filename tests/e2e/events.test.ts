// Every socket event, with the stock client, on both transports: embedded, over the real broker with one realtime replica, and with two whose clients sit apart.
import { type ClientEvent, clientEvents, type ServerEvent, serverEvents } from '@fieldline/contracts/socket'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { type Client, client, eventually, rest } from '../support/client.ts'
import { need, needAll } from '../support/servers.ts'
import { startEmbedded, startServices, token, type Whole } from '../support/whole.ts'

const typingExpiresMs = 1_000
const env = {
  AGENT_CAPACITY: '100',
  AGENT_GRACE_MS: '600000',
  PRESENCE_GRACE_MS: '300',
  TYPING_EXPIRES_MS: String(typingExpiresMs),
  STATS_UPDATED_EVERY_MS: '200',
}
const ways: [name: string | null, replicas: number, start: () => Promise<Whole>][] = [
  ['embedded', 1, () => startEmbedded({ env })],
  [need('over the broker, one realtime replica', 'AMQP_URL'), 1, () => startServices({ env })],
  [needAll('over the broker, two realtime replicas', 'AMQP_URL', 'MONGODB_URL'), 2, () => startServices({ replicas: 'realtime=2', env })],
]

let people = 0

describe.each(ways.filter(([name]) => name !== null))('%s', (_name, replicas, start) => {
  let whole: Whole
  const admin = token('Admin', 'boss')
  beforeAll(async () => {
    whole = await start()
  }, 90_000)
  afterAll(async () => {
    await whole?.stop()
  }, 30_000)

  describe.each([['websocket'], ['polling']])('by %s', (transport) => {
    const open: Client[] = []
    const sent = new Set<string>()
    const [asha, meena] = ['asha', 'meena'].map((name) => {
      const id = `${name}-${transport}`
      return { id, token: token('Support', id) }
    }) as [Someone, Someone]
    let desk: Client

    interface Someone {
      readonly id: string
      readonly token: string
    }
    const aFarmer = (): Someone => {
      const id = `farmer-${transport}-${++people}`
      return { id, token: token('User', id, { firstName: 'Rajesh', lastName: 'Kumar' }) }
    }
    const as = (who: string) => rest(whole.url, who)

    async function connect(who: string): Promise<Client> {
      const made = client(whole.url, who, { transports: [transport] })
      open.push(made)
      await made.next('connect')
      return made
    }
    const replicaOf = ({ socket }: Client) => socket.io.engine.id?.split('.')[0]
    /** A socket on another replica than `other`'s, where there is one. */
    async function connectApart(who: string, other: Client): Promise<Client> {
      const spares: Client[] = []
      for (;;) {
        const made = await connect(who)
        if (replicas === 1 || replicaOf(made) !== replicaOf(other)) {
          for (const spare of spares) spare.close()
          return made
        }
        // The gateway takes the least loaded, so this one fills its replica up; closed at once, its person might go offline in between.
        spares.push(made)
      }
    }
    /** Asks, and notes that this event was tried. */
    function ask(from: Client, event: ClientEvent, payload?: unknown) {
      sent.add(event)
      return from.ask(event, payload)
    }
    function emit(from: Client, event: ClientEvent, ...payload: unknown[]): void {
      sent.add(event)
      from.socket.emit(event, ...payload)
    }
    /** What it was told of that conversation. */
    const of = (from: Client, event: ServerEvent, conversationId: string) =>
      from.all(event).filter((payload) => (payload.conversationId ?? payload.conversation?._id) === conversationId)
    const hears = (from: Client, event: ServerEvent, conversationId: string, count = 1) =>
      eventually(() => of(from, event, conversationId).length >= count)

    /** A farmer's open conversation, assigned to `agent`. */
    async function conversationOf(farmer: Someone, agent = asha): Promise<string> {
      const { body } = await as(farmer.token)('POST', '/conversations')
      const conversationId: string = body.data._id
      if (body.data.assignedSupportId?._id !== agent.id) await reassign(conversationId, agent.id)
      return conversationId
    }
    async function reassign(conversationId: string, supportId: string): Promise<void> {
      const { status, body } = await as(admin)('POST', '/support/reassign', { conversationId, supportId })
      if (status !== 200) throw new Error(`reassign answered ${status}: ${JSON.stringify(body)}`)
    }
    /** A farmer's phone and the agent's desk, both joined. */
    async function bothJoined() {
      const farmer = aFarmer()
      const id = await conversationOf(farmer)
      const phone = await connectApart(farmer.token, desk)
      for (const each of [phone, desk]) expect(await ask(each, 'conversation:join', { conversationId: id })).toMatchObject({ ok: true })
      return { farmer, id, phone }
    }

    beforeAll(async () => {
      desk = await connect(asha.token)
      await connect(meena.token)
      for (const { id } of [asha, meena])
        await eventually(async () => {
          const { body } = await as(admin)('GET', '/support/agents')
          return body.data?.some((each: { _id: string; isOnline: boolean }) => each._id === id && each.isOnline)
        })
    }, 30_000)
    afterAll(async () => {
      for (const each of open) each.close()
    })

    test('message:send → message:new to everyone joined on every device, message:sent to the sending socket, notification:new-message to who has not joined', async () => {
      const { farmer, id, phone } = await bothJoined()
      const laptop = await connectApart(farmer.token, phone)
      const tablet = await connectApart(asha.token, desk)
      // A bare id will do.
      expect(await ask(laptop, 'conversation:join', id)).toMatchObject({ ok: true, data: { lastSeq: 0, messages: [], hasMore: false } })
      const answer = await ask(phone, 'message:send', { conversationId: id, messageType: 'text', content: 'one', clientMessageId: 'k1' })
      // The acknowledgement may be absent, or no function.
      emit(phone, 'message:send', { conversationId: id, content: 'two' })
      emit(phone, 'message:send', { conversationId: id, content: 'three' }, 'no function')
      await hears(desk, 'message:new', id, 3)
      expect(await ask(desk, 'message:send', { conversationId: id, content: 'four' })).toMatchObject({ ok: true, data: { seq: 4 } })
      for (const each of [phone, laptop, desk]) {
        await hears(each, 'message:new', id, 4)
        const heard = of(each, 'message:new', id)
        expect(heard.map(({ message }) => [message.seq, message.content])).toEqual([
          [1, 'one'],
          [2, 'two'],
          [3, 'three'],
          [4, 'four'],
        ])
        expect(heard[0].message).toMatchObject({ senderId: { _id: farmer.id, first_name: 'Rajesh' }, messageType: 'text', isRead: false })
        expect(of(each, 'notification:new-message', id)).toEqual([])
      }
      const told = { messageId: of(desk, 'message:new', id)[0].message._id, conversationId: id, seq: 1, clientMessageId: 'k1' }
      expect(answer).toMatchObject({ ok: true, data: told })
      await hears(phone, 'message:sent', id, 3)
      expect(of(phone, 'message:sent', id)[0]).toMatchObject({ ...told, timestamp: expect.any(String) })
      expect(of(laptop, 'message:sent', id)).toEqual([])
      await hears(tablet, 'notification:new-message', id, 3)
      expect(of(tablet, 'notification:new-message', id)[0]).toMatchObject({
        message: { content: 'one' },
        sender: { id: farmer.id, name: 'Rajesh Kumar' },
      })
      expect(of(tablet, 'message:new', id)).toEqual([])
    })

    test('conversation:join with afterSeq answers with what was missed; conversation:leave ends it', async () => {
      const { farmer, id, phone } = await bothJoined()
      for (const content of ['one', 'two', 'three']) await ask(phone, 'message:send', { conversationId: id, content })
      const back = await connectApart(farmer.token, phone)
      const joined = await ask(back, 'conversation:join', { conversationId: id, afterSeq: 1 })
      expect(joined.data.messages.map(({ content }: { content: string }) => content)).toEqual(['two', 'three'])
      expect(joined.data).toMatchObject({ lastSeq: 3, hasMore: false, conversation: { _id: id, status: 'open' } })
      expect(await ask(back, 'conversation:leave', { conversationId: id })).toEqual({ ok: true, data: {} })
      // Without a conversation: all of this socket's.
      expect(await ask(desk, 'conversation:leave')).toEqual({ ok: true, data: {} })
      await ask(phone, 'message:send', { conversationId: id, content: 'four' })
      await hears(phone, 'message:new', id, 4)
      await hears(desk, 'notification:new-message', id)
      expect(of(desk, 'message:new', id).map(({ message }) => message.seq)).toEqual([1, 2, 3])
      expect(of(back, 'message:new', id)).toEqual([])
    })

    test('while nobody is assigned, notification:new-message goes to every connected agent', async () => {
      // Everybody's, also of those whose going offline is still on its way.
      const { body: known } = await as(admin)('GET', '/support/agents')
      const agents = (known.data as { _id: string }[]).map(({ _id }) => ({ token: token('Support', _id) }))
      for (const each of agents) expect((await as(each.token)('PATCH', '/support/availability', { available: false })).status).toBe(200)
      try {
        const farmer = aFarmer()
        const { body } = await as(farmer.token)('POST', '/conversations')
        expect(body.data.status).toBe('waiting')
        const phone = await connectApart(farmer.token, desk)
        const second = await connectApart(meena.token, phone)
        await ask(phone, 'message:send', { conversationId: body.data._id, content: 'anybody?' })
        for (const each of [desk, second]) await hears(each, 'notification:new-message', body.data._id)
      } finally {
        for (const each of agents) await as(each.token)('PATCH', '/support/availability', { available: true })
      }
    })

    test('message:read and conversation:mark-all-read → message:read-receipt to everyone joined, one per newly read message', async () => {
      const { id, phone } = await bothJoined()
      const ids: string[] = []
      for (const content of ['one', 'two', 'three'])
        ids.push((await ask(phone, 'message:send', { conversationId: id, content })).data.messageId)
      expect(await ask(desk, 'message:read', { messageId: ids[0], conversationId: id })).toEqual({ ok: true, data: {} })
      for (const each of [phone, desk]) await hears(each, 'message:read-receipt', id)
      expect(await ask(desk, 'conversation:mark-all-read', id)).toEqual({ ok: true, data: {} })
      for (const each of [phone, desk]) {
        await hears(each, 'message:read-receipt', id, 3)
        const receipt = { readBy: asha.id, readAt: expect.any(String), conversationId: id }
        expect(of(each, 'message:read-receipt', id)).toEqual([
          { messageId: ids[0], upToSeq: 1, ...receipt },
          { messageId: ids[1], upToSeq: 3, ...receipt },
          { messageId: ids[2], upToSeq: 3, ...receipt },
        ])
      }
    })

    test('typing:start and typing:stop → typing:user-typing and typing:user-stopped to the others only; it ends by itself', async () => {
      const { farmer, id, phone } = await bothJoined()
      const laptop = await connectApart(farmer.token, phone)
      await ask(laptop, 'conversation:join', id)
      for (let n = 0; n < 20; n += 1) emit(phone, 'typing:start', { conversationId: id })
      await hears(desk, 'typing:user-typing', id)
      emit(phone, 'typing:stop')
      await hears(desk, 'typing:user-stopped', id)
      emit(phone, 'typing:start', id)
      await hears(desk, 'typing:user-typing', id, 2)
      const began = performance.now()
      await hears(desk, 'typing:user-stopped', id, 2)
      expect(performance.now() - began).toBeGreaterThan(typingExpiresMs / 3)
      const whom = { conversationId: id, userId: farmer.id, userName: 'Rajesh Kumar' }
      expect(of(desk, 'typing:user-typing', id)).toEqual([whom, whom])
      expect(of(desk, 'typing:user-stopped', id)).toEqual([whom, whom])
      for (const each of [phone, laptop])
        expect(each.told.filter(({ event }) => event.startsWith('typing') || event === 'error')).toEqual([])
    })

    test('user:online and user:offline to whoever has joined a conversation with that person, and to admins', async () => {
      const farmer = aFarmer()
      const id = await conversationOf(farmer)
      await ask(desk, 'conversation:join', id)
      const boss = await connectApart(admin, desk)
      const phone = await connectApart(farmer.token, desk)
      const about = (from: Client, event: 'user:online' | 'user:offline') => from.all(event).filter(({ userId }) => userId === farmer.id)
      for (const each of [desk, boss]) {
        await eventually(() => about(each, 'user:online').length > 0)
        expect(about(each, 'user:online')).toEqual([{ userId: farmer.id, isOnline: true, lastSeenAt: null }])
      }
      const laptop = await connectApart(farmer.token, phone)
      phone.close()
      await eventually(() => !phone.socket.connected)
      laptop.close()
      for (const each of [desk, boss]) {
        await eventually(() => about(each, 'user:offline').length > 0)
        expect(about(each, 'user:offline')).toEqual([{ userId: farmer.id, isOnline: false, lastSeenAt: expect.any(String) }])
        expect(about(each, 'user:online')).toHaveLength(1)
      }
    })

    test('conversation:assigned and conversation:updated to everyone whose lists it changes; the former agent is out of the room at once', async () => {
      const { id, phone } = await bothJoined()
      const next = await connectApart(meena.token, desk)
      const boss = await connectApart(admin, desk)
      await reassign(id, meena.id)
      for (const each of [phone, desk, next, boss]) {
        await eventually(() =>
          of(each, 'conversation:assigned', id).some(({ conversation }) => conversation.assignedSupportId?._id === meena.id),
        )
      }
      await ask(phone, 'message:send', { conversationId: id, content: 'not for asha' })
      await hears(next, 'notification:new-message', id)
      expect((await as(meena.token)('PATCH', `/conversations/${id}/status`, { status: 'resolved' })).status).toBe(200)
      for (const each of [phone, next, boss])
        await eventually(() => of(each, 'conversation:updated', id).some(({ conversation }) => conversation.status === 'resolved'))
      expect(of(desk, 'message:new', id)).toEqual([])
      expect(of(desk, 'notification:new-message', id)).toEqual([])
    })

    test('conversation:updated after a message, and after it was read, to admins; to the sender on a device that has not joined', async () => {
      const { id, phone, farmer } = await bothJoined()
      const boss = await connectApart(admin, desk)
      const tablet = await connectApart(farmer.token, phone)
      await ask(phone, 'message:send', { conversationId: id, content: 'on every list' })
      for (const each of [boss, tablet])
        await eventually(() =>
          of(each, 'conversation:updated', id).some(({ conversation }) => conversation.lastMessage?.content === 'on every list'),
        )
      const before = of(boss, 'conversation:updated', id).length
      await ask(desk, 'conversation:mark-all-read', { conversationId: id })
      await eventually(() => of(boss, 'conversation:updated', id).length > before)
    })

    test('stats:updated to agents and admins', async () => {
      const boss = await connectApart(admin, desk)
      const phone = await connect(aFarmer().token)
      const before = [desk, boss].map((each) => each.all('stats:updated').length)
      await conversationOf(aFarmer())
      for (const [index, each] of [desk, boss].entries()) await eventually(() => each.all('stats:updated').length > (before[index] ?? 0))
      expect(phone.all('stats:updated')).toEqual([])
    })

    test('auth:expiring ahead; auth:refresh extends; without it `error` TOKEN_EXPIRED and an end for good', async () => {
      const farmer = aFarmer()
      const brief = token('User', farmer.id, { expiresIn: 4 })
      const [stays, leaves] = [await connect(brief), await connect(brief)]
      for (const each of [stays, leaves]) await each.next('auth:expiring')
      expect(await ask(stays, 'auth:refresh', { token: farmer.token })).toMatchObject({ ok: true, data: { expiresAt: expect.any(String) } })
      await leaves.next('error', ({ code }) => code === 'TOKEN_EXPIRED')
      await leaves.next('disconnect')
      expect(leaves.socket.active).toBe(false)
      expect(await ask(stays, 'conversation:leave')).toMatchObject({ ok: true })
    })

    test('each event is refused on its own, by acknowledgement and by `error`: a foreign conversation, a wrong payload; typing in silence', async () => {
      const { id } = await bothJoined()
      const stranger = await connectApart(aFarmer().token, desk)
      const foreign: [ClientEvent, unknown][] = [
        ['conversation:join', { conversationId: id }],
        ['message:send', { conversationId: id, content: 'let me in', clientMessageId: 'c' }],
        ['message:read', { conversationId: id, messageId: id }],
        ['conversation:mark-all-read', { conversationId: id }],
        ['auth:refresh', { token: asha.token }],
      ]
      for (const [event, payload] of foreign) {
        const { ok, error } = await ask(stranger, event, payload)
        expect({ event, ok, code: error?.code, retryable: error?.retryable }).toEqual({
          event,
          ok: false,
          code: 'FORBIDDEN',
          retryable: false,
        })
        await stranger.next('error', (told) => told.event === event && told.code === 'FORBIDDEN' && typeof told.message === 'string')
        expect(await ask(stranger, event, { conversationId: { $ne: null } })).toMatchObject({
          ok: false,
          error: { code: 'VALIDATION_FAILED' },
        })
        await stranger.next('error', (told) => told.event === event && told.code === 'VALIDATION_FAILED')
      }
      const errors = stranger.all('error').length
      emit(stranger, 'typing:start', { conversationId: id })
      emit(stranger, 'typing:stop', { conversationId: { $ne: null } })
      await ask(stranger, 'conversation:leave')
      expect(stranger.all('error')).toHaveLength(errors)
      expect(of(desk, 'typing:user-typing', id)).toEqual([])
      expect(of(desk, 'message:new', id)).toEqual([])
    })

    test('every event of the contract was sent and heard here, each in the shape of the contract', () => {
      const heard = open.flatMap(({ told }) => told).filter(({ event }) => !['connect', 'disconnect', 'connect_error'].includes(event))
      for (const { event, payload } of heard) {
        const { success, error } = serverEvents[event as ServerEvent].safeParse(payload)
        expect({ event, success, error: error?.message }).toEqual({ event, success: true, error: undefined })
      }
      expect([...sent].sort()).toEqual(Object.keys(clientEvents).sort())
      expect([...new Set(heard.map(({ event }) => event))].sort()).toEqual(Object.keys(serverEvents).sort())
      if (replicas > 1) expect(new Set(open.map(replicaOf).filter(Boolean)).size).toBe(replicas)
    })
  })
})
