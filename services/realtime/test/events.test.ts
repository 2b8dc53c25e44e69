// Who hears what besides messages: receipts, typing, lists, presence, statistics, and rights that change (spec 5).

import { namespaced, namespacedName } from '@fieldline/bus/bus'
import { connectBus } from '@fieldline/bus/connect'
import type { ConversationId } from '@fieldline/contracts/ids'
import { serverEvents } from '@fieldline/contracts/socket'
import { signalsExchange, topology } from '@fieldline/contracts/topology'
import type { App } from '@fieldline/service/lifecycle'
import { admin, asha, meena, person, rajesh, sunita, tokenFor } from '@fieldline/testing/factories'
import { eventually } from '@fieldline/testing/until'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { type Client, type House, openHouse } from './house.ts'

let house: House
let app: App & { readonly url: string }
let id: ConversationId
beforeEach(async () => {
  house = await openHouse()
  app = await house.replica({ TYPING_EXPIRES_MS: '200', TYPING_EVERY_MS: '1000', PRESENCE_GRACE_MS: '200', STATS_UPDATED_EVERY_MS: '300' })
  id = house.conversation.create(rajesh, asha)
})
afterEach(async () => {
  await house.stop()
})
/** Everything heard has the shape of the contract. */
function wellFormed(...clients: Client[]): void {
  for (const { heard } of clients)
    for (const { event, payload } of heard)
      expect(serverEvents[event as keyof typeof serverEvents].safeParse(payload)).toMatchObject({ success: true })
}

test('reading one message up to gives a receipt for each newly read one, the newest 50, to everyone joined', async () => {
  const farmer = await house.client(app, rajesh)
  const agent = await house.client(app, asha)
  await farmer.join(id)
  await agent.join(id)
  const sent = []
  for (let n = 1; n <= 60; n += 1) sent.push(await house.conversation.send(id, rajesh, `m${n}`))
  expect(await agent.ask('message:read', { messageId: sent[4]?.id, conversationId: id })).toEqual({ ok: true, data: {} })
  await eventually(() => farmer.of('message:read-receipt').length === 5)
  expect(farmer.of('message:read-receipt').at(-1)).toEqual({
    messageId: sent[4]?.id,
    readBy: 'asha',
    readAt: expect.any(String),
    conversationId: id,
    upToSeq: 5,
  })
  expect(await agent.ask('conversation:mark-all-read', id)).toEqual({ ok: true, data: {} })
  await eventually(() => farmer.of('message:read-receipt').length === 55)
  expect(farmer.of('message:read-receipt').at(-1)).toMatchObject({ messageId: sent[59]?.id, upToSeq: 60 })
  wellFormed(farmer, agent)
})

test('typing is told to the others once in a while, ends by itself, and sending ends it', async () => {
  const farmer = await house.client(app, rajesh)
  const agent = await house.client(app, asha)
  await farmer.join(id)
  await agent.join(id)
  for (let n = 0; n < 30; n += 1) farmer.socket.emit('typing:start', { conversationId: id })
  await eventually(() => agent.of('typing:user-stopped').length === 1)
  expect(agent.of('typing:user-typing')).toHaveLength(1)
  farmer.socket.emit('typing:start', id)
  await eventually(() => agent.of('typing:user-typing').length === 2)
  await farmer.ask('message:send', { conversationId: id, content: 'done' })
  await eventually(() => agent.texts.length === 1)
  const order = agent.heard.map(({ event }) => event).slice(-2)
  expect(order).toEqual(['typing:user-stopped', 'message:new'])
  expect(farmer.heard.filter(({ event }) => event.startsWith('typing'))).toEqual([])
  wellFormed(farmer, agent)
})

test('a message sent by REST ends typing too; one sent by socket ends nothing that was begun after it', async () => {
  const farmer = await house.client(app, rajesh)
  const agent = await house.client(app, asha)
  await farmer.join(id)
  await agent.join(id)
  await farmer.ask('typing:start', { conversationId: id })
  await house.conversation.send(id, rajesh, 'by REST')
  farmer.socket.emit('typing:start', { conversationId: id })
  farmer.socket.emit('message:send', { conversationId: id, content: 'by socket' })
  farmer.socket.emit('typing:start', { conversationId: id })
  await eventually(() => agent.texts.length === 2)
  expect(agent.heard.map(({ event }) => event)).toEqual([
    ...['typing:user-typing', 'typing:user-stopped', 'message:new'],
    ...['typing:user-typing', 'typing:user-stopped', 'typing:user-typing', 'message:new'],
  ])
  await eventually(() => agent.of('typing:user-stopped').length === 3)
})

test('a message changes the lists of admins and of its sender on other devices: told once in a while, the last change included', async () => {
  const boss = await house.client(app, admin)
  const phone = await house.client(app, rajesh)
  const laptop = await house.client(app, rajesh)
  await phone.join(id)
  const others = [await house.client(app, asha), await house.client(app, meena)]
  house.conversation.down = true
  for (let n = 1; n <= 9; n += 1) await house.conversation.send(id, rajesh, `m${n}`)
  await eventually(() => house.conversation.asked.filter((one) => one.endsWith('/states')).length > 1)
  house.conversation.down = false
  await house.conversation.send(id, rajesh, 'm10')
  const shown = (client: Client) => client.of('conversation:updated').map(({ conversation }) => conversation.lastMessage?.content)
  await eventually(() => [boss, laptop].every((client) => shown(client).at(-1) === 'm10'))
  expect(shown(boss).length).toBeLessThanOrEqual(2)
  await house.conversation.read(id, asha)
  await eventually(() => boss.of('conversation:updated').length > 0 && shown(phone).length === 1)
  expect([shown(phone), ...others.map(shown)]).toEqual([['m10'], ['m10'], []])
  wellFormed(boss, phone, laptop, ...others)
})

test('with SUPPORT_SEES=all a message changes every agent’s lists: told of it once, whichever way', async () => {
  const seeing = await house.replica({ SUPPORT_SEES: 'all' })
  const [assigned, other] = [await house.client(seeing, asha), await house.client(seeing, meena)]
  await house.conversation.send(id, rajesh, 'on every list')
  await eventually(() => other.of('conversation:updated').length === 1 && assigned.of('notification:new-message').length === 1)
  const waiting = house.conversation.create(sunita)
  await house.conversation.send(waiting, sunita, 'anybody?')
  await eventually(() =>
    [assigned, other].every((agent) => agent.of('notification:new-message').some(({ conversationId }) => conversationId === waiting)),
  )
  // What follows comes in a later round than all of that.
  await house.conversation.send(id, asha, 'mine')
  await eventually(() => other.of('conversation:updated').length === 2 && assigned.of('conversation:updated').length === 1)
  expect(assigned.of('conversation:updated')[0]?.conversation.lastMessage?.content).toBe('mine')
})

test('beginning and ending to type in turn makes no flood for the others', async () => {
  const farmer = await house.client(app, rajesh)
  const agent = await house.client(app, asha)
  await farmer.join(id)
  await agent.join(id)
  for (let n = 0; n < 100; n += 1) {
    farmer.socket.emit('typing:start', { conversationId: id })
    farmer.socket.emit('typing:stop', { conversationId: id })
  }
  await farmer.ask('message:send', { conversationId: id, content: 'done' })
  await eventually(() => agent.texts.length === 1)
  expect(agent.of('typing:user-typing').length).toBeGreaterThan(0)
  expect(agent.heard.filter(({ event }) => event.startsWith('typing')).length).toBeLessThanOrEqual(12)
  expect(farmer.of('error')).toEqual([])
})

test('whoever has not joined is not heard typing', async () => {
  const stranger = await house.client(app, sunita)
  const agent = await house.client(app, asha)
  await agent.join(id)
  expect(await stranger.ask('typing:start', { conversationId: id })).toMatchObject({ ok: true })
  expect(agent.of('typing:user-typing')).toEqual([])
  expect(stranger.of('error')).toEqual([])
})

test('an assignment is told to everyone whose lists it changes, and to the former agent without what was said', async () => {
  const [farmer, former, next, boss, other] = await Promise.all([rajesh, asha, meena, admin, sunita].map((who) => house.client(app, who)))
  await house.conversation.send(id, rajesh, 'private')
  await house.conversation.assign(id, meena)
  await eventually(() => [farmer, former, next, boss].every((client) => client?.of('conversation:assigned').length === 1))
  expect(farmer?.of('conversation:assigned')[0]).toMatchObject({
    conversation: { _id: id, assignedSupportId: { _id: 'meena' }, lastMessage: { content: 'private' } },
  })
  expect(former?.of('conversation:assigned')[0]).toMatchObject({
    conversation: { assignedSupportId: { _id: 'meena' }, lastMessage: null, unreadCount: {} },
  })
  expect(former?.of('conversation:assigned')[0]?.conversation.userId.phone).toBeNull()
  expect(other?.heard.filter(({ event }) => event.startsWith('conversation'))).toEqual([])
  for (const client of [farmer, former, next, boss, other]) if (client) wellFormed(client)
})

test('what enters the queue is told to every agent', async () => {
  const agents = [await house.client(app, asha), await house.client(app, meena)]
  await house.conversation.assign(id, null)
  await eventually(() =>
    agents.every((agent) => agent.of('conversation:assigned').length === 1 && agent.of('conversation:updated').length === 1),
  )
  expect(agents[1]?.of('conversation:updated')[0]).toMatchObject({ conversation: { _id: id, status: 'waiting', assignedSupportId: null } })
})

test('online and offline are told to whoever joined a conversation with that person, and to admins, and to nobody else', async () => {
  const agent = await house.client(app, asha)
  const boss = await house.client(app, admin)
  const stranger = await house.client(app, meena)
  await agent.join(id)
  const farmer = await house.client(app, rajesh)
  await eventually(() => agent.of('user:online').length === 1 && boss.of('user:online').some(({ userId }) => userId === 'rajesh'))
  expect(agent.of('user:online')[0]).toEqual({ userId: 'rajesh', isOnline: true, lastSeenAt: null })
  farmer.socket.disconnect()
  await eventually(() => agent.of('user:offline').length === 1)
  expect(agent.of('user:offline')[0]).toEqual({ userId: 'rajesh', isOnline: false, lastSeenAt: expect.any(String) })
  expect(stranger.heard).toEqual([])
  wellFormed(agent, boss)
})

test('figures that moved are told to agents and admins, the last change included, not more often than is useful', async () => {
  const [agent, boss, farmer] = [await house.client(app, asha), await house.client(app, admin), await house.client(app, rajesh)]
  const bus = await connectBus(house.brokerUrl, { topology: namespaced(topology, house.namespace), name: 'stats' })
  const changed = () =>
    bus.signal({
      exchange: namespacedName(signalsExchange, house.namespace),
      routingKey: 'stats.changed',
      id: 's',
      body: { type: 'stats.changed', at: new Date().toISOString() },
    })
  for (let n = 0; n < 20; n += 1) changed()
  await eventually(() => agent.of('stats:updated').length === 2 && boss.of('stats:updated').length === 2)
  expect(farmer.heard).toEqual([])
  wellFormed(agent, boss)
  await bus.close()
})

test('a role that a newer token lowered stops working on older connections at once', async () => {
  const now = Math.floor(Date.now() / 1_000)
  const boss = await house.client(app, admin, { token: tokenFor(admin, { claims: { iat: now - 100 } }) })
  await boss.join(id)
  const demoted = await house.client(app, person('User', 'admin'), { token: tokenFor(person('User', 'admin'), { claims: { iat: now } }) })
  const farmer = await house.client(app, rajesh)
  await farmer.join(id)
  // The newer token is known when its socket's presence is written.
  await eventually(async () => {
    await house.conversation.send(id, rajesh, 'anybody?')
    const before = boss.texts.length
    await house.conversation.send(id, rajesh, 'and now?')
    await eventually(() => farmer.texts.includes('and now?') && farmer.texts.length === house.conversation.messages(id).length)
    return boss.texts.length === before
  })
  expect(await boss.ask('conversation:join', id)).toMatchObject({ ok: false, error: { code: 'FORBIDDEN' } })
  demoted.socket.disconnect()
})

test('a role that was lowered where no socket tells of it stops working on open connections', async () => {
  const checked = await house.replica({ ROLES_EVERY_MS: '20' })
  const waiting = house.conversation.create(sunita)
  const [boss, agent, kept, farmer] = await Promise.all([admin, asha, meena, sunita].map((who) => house.client(checked, who)))
  await boss?.join(waiting)
  await agent?.join(waiting)
  await farmer?.join(waiting)
  house.conversation.lowered.set('admin', 'User').set('asha', 'User')
  const heard = () => [boss, agent].map((client) => client?.heard.length)
  await eventually(async () => {
    const before = heard()
    const { seq } = await house.conversation.send(waiting, sunita, 'anybody?')
    await eventually(() => farmer?.texts.length === seq && kept?.of('notification:new-message').length === seq)
    return String(heard()) === String(before)
  })
})

test('a message that lands in the current conversation takes its sender there', async () => {
  const current = house.conversation.create(rajesh, asha)
  house.conversation.landing.set(id, current)
  const farmer = await house.client(app, rajesh)
  expect(await farmer.ask('message:send', { conversationId: id, content: 'still there?' })).toMatchObject({
    ok: true,
    data: { conversationId: current, seq: 1 },
  })
  await eventually(() => farmer.texts.length === 1)
  expect(farmer.of('message:new')[0]?.conversationId).toBe(current)
})

test('a retry with the same key is answered with the original, and told once', async () => {
  const farmer = await house.client(app, rajesh)
  await farmer.join(id)
  const command = { conversationId: id, content: 'once', clientMessageId: 'k-1' }
  const answers = await Promise.all(Array.from({ length: 5 }, () => farmer.ask('message:send', command)))
  expect(new Set(answers.map((answer) => answer.ok && answer.data.messageId)).size).toBe(1)
  await house.conversation.send(id, asha, 'end')
  await eventually(() => farmer.texts.length === 2)
  expect(farmer.texts).toEqual(['once', 'end'])
})

test('while conversation is away a send is tried on under its key, and answered once it is back', async () => {
  const farmer = await house.client(app, rajesh)
  await farmer.join(id)
  house.conversation.down = true
  const answer = farmer.ask('message:send', { conversationId: id, content: 'patience' })
  await eventually(() => house.conversation.asked.filter((one) => one.endsWith('/messages')).length >= 3)
  house.conversation.down = false
  expect(await answer).toMatchObject({ ok: true, data: { seq: 1 } })
  await eventually(() => farmer.texts.length === 1)
})
