// The path of a message through one replica, with stock clients on both transports.

import type { ConversationId } from '@fieldline/contracts/ids'
import type { App } from '@fieldline/service/lifecycle'
import { asha, meena, rajesh, sunita } from '@fieldline/testing/factories'
import { eventually } from '@fieldline/testing/until'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { type House, openHouse } from './house.ts'

describe.each([['websocket'], ['polling']])('over %s', (transport) => {
  let house: House
  let app: App & { readonly url: string }
  let id: ConversationId
  const by = { transports: [transport] }
  beforeEach(async () => {
    house = await openHouse()
    app = await house.replica()
    id = house.conversation.create(rajesh, asha)
  })
  afterEach(() => house.stop())

  test('a message reaches everyone joined, the sender too, in order, and the sender hears that it was committed', async () => {
    const farmer = await house.client(app, rajesh, by)
    const agent = await house.client(app, asha, by)
    await farmer.join(id)
    await agent.join(id)
    for (let n = 1; n <= 20; n += 1) farmer.socket.emit('message:send', { conversationId: id, messageType: 'text', content: `m${n}` })
    const all = Array.from({ length: 20 }, (_, n) => `m${n + 1}`)
    await eventually(() => agent.texts.length === 20 && farmer.texts.length === 20)
    expect(agent.texts).toEqual(all)
    expect(farmer.texts).toEqual(all)
    // The last one's delivery and its confirmation come by two ways.
    await eventually(() => farmer.of('message:sent').length === 20)
    expect(farmer.of('message:sent')).toHaveLength(20)
    expect(agent.of('message:sent')).toHaveLength(0)
    expect(agent.of('notification:new-message')).toHaveLength(0)
  })

  test('a send needs no join before it and joins its sender', async () => {
    const farmer = await house.client(app, rajesh, by)
    const answer = await farmer.ask('message:send', { conversationId: id, content: 'hello' })
    expect(answer).toMatchObject({ ok: true, data: { conversationId: id, seq: 1, messageId: expect.any(String) } })
    await eventually(() => farmer.texts.length === 1)
    await house.conversation.send(id, asha, 'yes?')
    await eventually(() => farmer.texts.length === 2)
    expect(farmer.texts).toEqual(['hello', 'yes?'])
  })

  test('what is sent right behind a join, or one after the other without any, is told to its sender, each once and in order', async () => {
    const farmer = await house.client(app, rajesh, by)
    const agent = await house.client(app, asha, by)
    farmer.socket.emit('conversation:join', { conversationId: id })
    for (let n = 1; n <= 5; n += 1) farmer.socket.emit('message:send', { conversationId: id, content: `f${n}` })
    for (let n = 1; n <= 5; n += 1) agent.socket.emit('message:send', { conversationId: id, content: `a${n}` })
    await eventually(() => farmer.texts.length === 10 && house.conversation.messages(id).length === 10)
    const all = house.conversation.messages(id).map(({ content }) => content)
    expect(farmer.texts).toEqual(all)
    await eventually(() => agent.texts.includes('a5') && agent.texts.includes(all.at(-1) ?? ''))
    expect(agent.texts).toEqual(all.slice(all.indexOf('a1')))
  })

  test('participants who have not joined get a notification, on each of their devices; strangers get nothing', async () => {
    const phone = await house.client(app, asha, by)
    const laptop = await house.client(app, asha, by)
    const stranger = await house.client(app, meena, by)
    const other = await house.client(app, sunita, by)
    const farmer = await house.client(app, rajesh, by)
    await farmer.ask('message:send', { conversationId: id, content: 'hello' })
    await eventually(() => phone.of('notification:new-message').length === 1 && laptop.of('notification:new-message').length === 1)
    expect(phone.of('notification:new-message')[0]).toMatchObject({
      conversationId: id,
      sender: { id: 'rajesh', name: 'Rajesh Kumar' },
      message: { content: 'hello' },
    })
    expect(stranger.heard).toEqual([])
    expect(other.heard).toEqual([])
    expect(farmer.of('notification:new-message')).toEqual([])
  })

  test('while nobody is assigned every connected agent is notified', async () => {
    const waiting = house.conversation.create(sunita)
    const one = await house.client(app, asha, by)
    const two = await house.client(app, meena, by)
    await house.conversation.send(waiting, sunita, 'anybody?')
    await eventually(() => one.of('notification:new-message').length === 1 && two.of('notification:new-message').length === 1)
    expect(one.texts).toEqual([])
  })

  test('a failure is told by acknowledgement and by an error event that names what was asked', async () => {
    const stranger = await house.client(app, sunita, by)
    const answer = await stranger.ask('message:send', { conversationId: id, content: 'let me in', clientMessageId: 'c1' })
    expect(answer).toMatchObject({ ok: false, error: { code: 'FORBIDDEN', retryable: false } })
    await eventually(() => stranger.of('error').length === 1)
    expect(stranger.of('error')[0]).toMatchObject({
      code: 'FORBIDDEN',
      event: 'message:send',
      conversationId: id,
      clientMessageId: 'c1',
      retryable: false,
    })
    expect(await stranger.ask('conversation:join', id)).toMatchObject({ ok: false, error: { code: 'FORBIDDEN' } })
  })

  test('a join answers with what was missed after `afterSeq`, and no more than once', async () => {
    for (let n = 1; n <= 5; n += 1) await house.conversation.send(id, rajesh, `m${n}`)
    const agent = await house.client(app, asha, by)
    const joined = await agent.join(id, 3)
    expect(joined.messages.map(({ content }) => content)).toEqual(['m4', 'm5'])
    expect(joined).toMatchObject({ lastSeq: 5, hasMore: false, conversation: { _id: id, status: 'open' } })
    await house.conversation.send(id, rajesh, 'm6')
    await eventually(() => agent.texts.length === 1)
    expect(agent.texts).toEqual(['m6'])
  })

  test('a later join of the same connection is answered in full, whatever it was told before', async () => {
    const farmer = await house.client(app, rajesh, by)
    await farmer.ask('message:send', { conversationId: id, content: 'm1' })
    await farmer.join(id, 0)
    await house.conversation.send(id, asha, 'm2')
    await eventually(() => farmer.texts.includes('m2'))
    const again = await farmer.join(id, 0)
    expect(again.messages.map(({ content }) => content)).toEqual(['m1', 'm2'])
    expect(again).toMatchObject({ lastSeq: 2, hasMore: false })
  })

  test('joins at once are answered each, and one that is taken back is no error', async () => {
    await house.conversation.send(id, rajesh, 'm1')
    const agent = await house.client(app, asha, by)
    const joined = await Promise.all([agent.join(id, 0), agent.join(id), agent.join(id, 0)])
    expect(joined.map(({ messages }) => messages.length)).toEqual([1, 0, 1])
    await agent.ask('conversation:leave', { conversationId: id })
    const release = house.conversation.hold(id)
    const asked = agent.ask('conversation:join', { conversationId: id })
    await agent.ask('conversation:leave', { conversationId: id })
    expect(await asked).toMatchObject({ ok: false, error: { code: 'UNAVAILABLE' } })
    release()
    await agent.join(id)
    expect(agent.of('error')).toEqual([])
  })

  test('what a connection that sent without joining has confirmed is in the answer to its join', async () => {
    const farmer = await house.client(app, rajesh, by)
    await farmer.ask('message:send', { conversationId: id, content: 'm1' })
    await eventually(async () => (await farmer.join(id, 0)).messages.length === 1)
  })

  test('what may be left out may be null, or an empty text', async () => {
    const agent = await house.client(app, asha, by)
    const farmer = await house.client(app, rajesh, by)
    await farmer.join(id)
    expect(await agent.ask('conversation:join', { conversationId: id, afterSeq: null })).toMatchObject({ ok: true, data: { messages: [] } })
    for (const nothing of [null, '']) {
      const command = { conversationId: id, content: 'hello', messageType: nothing, clientMessageId: nothing }
      expect(await farmer.ask('message:send', command)).toMatchObject({ ok: true, data: { clientMessageId: expect.stringMatching(/./) } })
      farmer.socket.emit('typing:start', id)
      await eventually(() => agent.of('typing:user-typing').length > agent.of('typing:user-stopped').length)
      expect(await farmer.ask('typing:stop', { conversationId: nothing })).toEqual({ ok: true, data: {} })
      await eventually(() => agent.of('typing:user-typing').length === agent.of('typing:user-stopped').length)
      expect(await agent.ask('conversation:leave', { conversationId: nothing })).toEqual({ ok: true, data: {} })
      await house.conversation.send(id, rajesh, 'unheard')
      await eventually(() => agent.of('notification:new-message').length === 1)
      await agent.join(id)
      agent.heard.length = 0
    }
    expect([...agent.of('error'), ...farmer.of('error')]).toEqual([])
  })

  test('an error names nothing that was empty', async () => {
    const farmer = await house.client(app, rajesh, by)
    await farmer.ask('message:send', { conversationId: '', content: 'hello', clientMessageId: '' })
    await eventually(() => farmer.of('error').length === 1)
    expect(Object.keys(farmer.of('error')[0] ?? {}).toSorted()).toEqual(['code', 'event', 'message', 'retryable'])
  })

  test('after leaving nothing of the room is heard any more', async () => {
    const agent = await house.client(app, asha, by)
    await agent.join(id)
    await agent.ask('conversation:leave')
    await house.conversation.send(id, rajesh, 'unheard')
    await eventually(() => agent.of('notification:new-message').length === 1)
    expect(agent.texts).toEqual([])
  })
})
