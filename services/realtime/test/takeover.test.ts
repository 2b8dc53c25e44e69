// The seed's client joins once and never again, and must miss nothing: lost connections, killed replicas, phone and laptop together (spec 5).

import type { ConversationId } from '@fieldline/contracts/ids'
import type { Joined } from '@fieldline/contracts/socket'
import type { App } from '@fieldline/service/lifecycle'
import { asha, meena, rajesh, tokenFor } from '@fieldline/testing/factories'
import { eventually, once } from '@fieldline/testing/until'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { type Client, type House, openHouse } from './house.ts'

/** As a network does it: no goodbye. */
function cut({ socket }: Client): void {
  socket.io.engine.transport.close()
  socket.io.engine.close()
}

describe.each([
  ['websocket', { nameless: false }],
  ['polling', { nameless: false }],
  ['websocket', { nameless: true }],
])('over %s, %j', (transport, { nameless }) => {
  let house: House
  let app: App & { readonly url: string }
  let id: ConversationId
  const by = { transports: [transport], nameless }
  const snapshots = () => house.conversation.asked.filter((one) => one.endsWith('/snapshot')).length
  const contents = () => house.conversation.messages(id).map(({ content }) => content)
  beforeEach(async () => {
    house = await openHouse()
    app = await house.replica({ TAKEOVER_MS: '150' })
    id = house.conversation.create(rajesh, asha)
  })
  afterEach(() => house.stop())

  test('a client that joined once gets its room and what it missed after each of 20 lost connections', async () => {
    const farmer = await house.client(app, rajesh, by)
    farmer.socket.emit('conversation:join', { conversationId: id })
    await eventually(() => house.conversation.asked.some((one) => one.endsWith('/snapshot')))
    for (let round = 0; round < 20; round += 1) {
      await house.conversation.send(id, asha, `heard ${round}`)
      await eventually(() => farmer.texts.length === house.conversation.messages(id).length, { what: `round ${round}` })
      // What is unconfirmed at the cut may come twice; here the client has had the time to confirm.
      await new Promise((resolve) => setTimeout(resolve, transport === 'polling' ? 120 : 80))
      const back = once(farmer.socket, 'connect')
      cut(farmer)
      await house.conversation.send(id, asha, `missed ${round}`)
      await back
    }
    await eventually(() => farmer.texts.length >= 40)
    expect(farmer.texts).toEqual(contents())
  })

  test('what it missed comes before anything of its own', async () => {
    const farmer = await house.client(app, rajesh, by)
    await farmer.join(id)
    const back = once(farmer.socket, 'connect')
    cut(farmer)
    await house.conversation.send(id, asha, 'missed')
    await back
    farmer.socket.emit('message:send', { conversationId: id, content: 'mine' })
    await eventually(() => farmer.texts.length === 2)
    expect(farmer.texts).toEqual(['missed', 'mine'])
  })

  test('a client that joins of itself with `afterSeq` gets nothing twice', async () => {
    const farmer = await house.client(app, rajesh, by)
    await farmer.join(id, 0)
    const back = once(farmer.socket, 'connect')
    cut(farmer)
    await house.conversation.send(id, asha, 'missed')
    await back
    const joined = await farmer.join(id, 0)
    expect(joined.messages.map(({ content }) => content)).toEqual(['missed'])
    await new Promise((resolve) => setTimeout(resolve, 400))
    expect(farmer.texts).toEqual([])
  })

  test('a client that once said it has more than there is misses nothing of what follows', async () => {
    const farmer = await house.client(app, rajesh, by)
    await farmer.join(id, 1_000_000)
    const back = once(farmer.socket, 'connect')
    cut(farmer)
    await house.conversation.send(id, asha, 'missed')
    await back
    await eventually(() => farmer.texts.length === 1)
    expect(farmer.texts).toEqual(['missed'])
  })

  test('when phone and laptop drop together each gets its rooms and what it missed', async () => {
    const phone = await house.client(app, rajesh, { ...by, token: tokenFor(rajesh, { claims: { device: 'phone' } }) })
    const laptop = await house.client(app, rajesh, { ...by, token: tokenFor(rajesh, { claims: { device: 'laptop' } }) })
    await Promise.all([phone.join(id), laptop.join(id)])
    const back = [once(phone.socket, 'connect'), once(laptop.socket, 'connect')]
    cut(phone)
    cut(laptop)
    await house.conversation.send(id, asha, 'missed')
    await Promise.all(back)
    await house.conversation.send(id, asha, 'after')
    await eventually(() => phone.texts.length >= 2 && laptop.texts.length >= 2)
    expect(phone.texts).toEqual(contents())
    expect(laptop.texts).toEqual(contents())
  })

  test('a connection lost while its first join is under way gets it on the next, from when it was wished for', async () => {
    const release = house.conversation.hold(id)
    const farmer = await house.client(app, rajesh, by)
    const { createdAt } = await house.conversation.send(id, asha, 'before the join')
    // Only times can tell the two apart.
    await eventually(() => Date.now() > Date.parse(createdAt))
    farmer.socket.emit('conversation:join', { conversationId: id })
    await eventually(() => snapshots() === 1)
    const back = once(farmer.socket, 'connect')
    cut(farmer)
    await house.conversation.send(id, asha, 'missed')
    await back
    release()
    await eventually(() => farmer.texts.includes('missed'))
    expect(farmer.texts).toEqual(['missed'])
  })

  test('a connection lost while its device is being taken over is no loss to the next', async () => {
    const farmer = await house.client(app, rajesh, by)
    await farmer.join(id)
    const release = house.conversation.hold(id)
    for (const [round, content] of ['missed', 'missed again'].entries()) {
      const back = once(farmer.socket, 'connect')
      cut(farmer)
      await house.conversation.send(id, asha, content)
      await back
      await eventually(() => snapshots() === 2 + round, { what: `the device is taken over after ${content}` })
    }
    release()
    await eventually(() => farmer.texts.length >= 2)
    expect(farmer.texts).toEqual(['missed', 'missed again'])
  })

  test('what it leaves while it is away, or before it is joined again, it is not joined again', async () => {
    const farmer = await house.client(app, rajesh, by)
    const agent = await house.client(app, asha)
    const kept = house.conversation.create(rajesh, asha)
    for (const each of [id, kept]) {
      await farmer.join(each)
      await agent.join(each)
    }
    const back = once(farmer.socket, 'connect')
    const gone = once(farmer.socket, 'disconnect')
    cut(farmer)
    await gone
    farmer.socket.emit('conversation:leave', { conversationId: id })
    await back
    await house.conversation.send(id, asha, 'unheard')
    await house.conversation.send(kept, asha, 'heard')
    await eventually(() => farmer.texts.includes('heard'))
    await house.conversation.send(id, asha, 'nor this')
    await eventually(() => farmer.of('notification:new-message').some(({ message }) => message.content === 'nor this'))
    expect(farmer.texts).toEqual(['heard'])
  })

  test('a send does not join again what was left before it was answered', async () => {
    const farmer = await house.client(app, rajesh, by)
    const sent = farmer.ask('message:send', { conversationId: id, content: 'mine' })
    const left = farmer.ask('conversation:leave', { conversationId: id })
    expect([await sent, await left]).toMatchObject([{ ok: true }, { ok: true }])
    await house.conversation.send(id, asha, 'unheard')
    await eventually(() => farmer.of('notification:new-message').some(({ message }) => message.content === 'unheard'))
    expect(farmer.texts).toEqual([])
  })

  test('a chat that was opened and left before is not told again what it showed, after a lost connection', async () => {
    const before = await house.client(app, rajesh, { ...by, forceNew: true })
    await before.join(id)
    await house.conversation.send(id, asha, 'seen before')
    await eventually(() => before.texts.length === 1)
    before.socket.disconnect()
    for (let n = 0; n < 5; n += 1) await house.conversation.send(id, asha, `history ${n}`)
    const farmer = await house.client(app, rajesh, by)
    await farmer.join(id, ...(nameless ? [6] : []))
    const back = once(farmer.socket, 'connect')
    cut(farmer)
    await house.conversation.send(id, asha, 'missed')
    await back
    if (nameless) expect((await farmer.join(id, 6)).messages.map(({ content }) => content)).toEqual(['missed'])
    await house.conversation.send(id, asha, 'live')
    await eventually(() => farmer.texts.includes('live'))
    expect(farmer.texts).toEqual(nameless ? ['live'] : ['missed', 'live'])
  })

  test('a join that failed for a passing reason is tried on, and what came meanwhile is told', async () => {
    const farmer = await house.client(app, rajesh, by)
    house.conversation.down = true
    expect(await farmer.ask('conversation:join', { conversationId: id })).toMatchObject({
      ok: false,
      error: { code: 'UNAVAILABLE', retryable: true },
    })
    await house.conversation.send(id, asha, 'meanwhile')
    house.conversation.down = false
    await eventually(() => farmer.texts.length === 1)
    expect(farmer.texts).toEqual(['meanwhile'])
  })
})

test('however much was sent since a join that never came about was wished for, the next connection is told all of it', async () => {
  const house = await openHouse()
  try {
    const app = await house.replica({ TAKEOVER_MS: '150' })
    const id = house.conversation.create(rajesh, asha)
    const release = house.conversation.hold(id)
    const farmer = await house.client(app, rajesh)
    farmer.socket.emit('conversation:join', { conversationId: id })
    await eventually(() => house.conversation.asked.some((one) => one.endsWith('/snapshot')))
    const back = once(farmer.socket, 'connect')
    cut(farmer)
    for (let n = 1; n <= 1_001; n += 1) await house.conversation.send(id, asha, `m${n}`)
    await back
    release()
    await eventually(() => farmer.texts.includes('m1001'))
    expect(farmer.texts).toEqual(house.conversation.messages(id).map(({ content }) => content))
  } finally {
    await house.stop()
  }
})

test('a conversation that cannot be read holds up no send into another after a reconnect', async () => {
  const house = await openHouse()
  try {
    const app = await house.replica({ TAKEOVER_MS: '150', FETCH_TIMEOUT_MS: '50' })
    const [id, unreadable] = [house.conversation.create(rajesh, asha), house.conversation.create(rajesh, asha)]
    const farmer = await house.client(app, rajesh)
    for (const each of [id, unreadable]) await farmer.join(each)
    const release = house.conversation.hold(unreadable)
    const back = once(farmer.socket, 'connect')
    cut(farmer)
    await house.conversation.send(id, asha, 'missed')
    await back
    expect(await farmer.ask('message:send', { conversationId: id, content: 'mine' })).toMatchObject({ ok: true })
    await eventually(() => farmer.texts.length === 2)
    expect(farmer.texts).toEqual(['missed', 'mine'])
    release()
  } finally {
    await house.stop()
  }
})

test.each(['too many', 'not its own'])('a join with `afterSeq` that was refused (%s) is no promise to join: a send joins', async (why) => {
  const house = await openHouse()
  try {
    const app = await house.replica({ JOINED_ROOMS_MOST: '1' })
    const id = house.conversation.create(rajesh, why === 'too many' ? asha : null)
    const agent = await house.client(app, asha)
    const other = house.conversation.create(rajesh, asha)
    if (why === 'too many') await agent.join(other)
    else await house.conversation.assign(id, meena)
    expect(await agent.ask('conversation:join', { conversationId: id, afterSeq: 0 })).toMatchObject({ ok: false })
    if (why === 'too many') await agent.ask('conversation:leave', other)
    else await house.conversation.assign(id, asha)
    await agent.ask('message:send', { conversationId: id, content: 'mine' })
    await eventually(() => agent.texts.length === 1, { timeoutMs: 3_000 })
  } finally {
    await house.stop()
  }
})

test('a client that uses `afterSeq` gets nothing twice, also when what it buffered is quicker than its join', async () => {
  const house = await openHouse()
  try {
    const app = await house.replica({ TAKEOVER_MS: '300', CONFIRM_MS: '1000' })
    const id = house.conversation.create(rajesh, asha)
    const farmer = await house.client(app, rajesh)
    const list: (string | null)[] = []
    let last = 0
    farmer.socket.on('message:new', ({ message }: { message: { seq: number; content: string } }) => {
      list.push(message.content)
      last = Math.max(last, message.seq)
    })
    const join = async (): Promise<void> => {
      const answer = await farmer.ask<Joined>('conversation:join', { conversationId: id, afterSeq: last })
      if (!answer.ok) return join()
      for (const { content, seq } of answer.data.messages) {
        list.push(content)
        last = Math.max(last, seq)
      }
    }
    await join()
    for (let round = 0; round < 5; round += 1) {
      await house.conversation.send(id, asha, `unconfirmed ${round}`)
      await eventually(() => list.includes(`unconfirmed ${round}`))
      const gone = once(farmer.socket, 'disconnect')
      cut(farmer)
      await gone
      // Emits buffered while away go out before the application's connect handler runs.
      farmer.socket.emit('message:send', { conversationId: id, content: `buffered ${round}` })
      await house.conversation.send(id, asha, `missed ${round}`)
      const joined = new Promise<void>((resolve) => farmer.socket.once('connect', () => void join().then(resolve)))
      await joined
      await eventually(() => house.conversation.messages(id).length === list.length, { what: `round ${round}` })
    }
    expect(list).toEqual(house.conversation.messages(id).map(({ content }) => content))
  } finally {
    await house.stop()
  }
})

test('a socket that ends while two joins of one conversation are under way leaves no room behind', async () => {
  const house = await openHouse()
  try {
    const app = await house.replica()
    const id = house.conversation.create(rajesh, asha)
    const farmer = await house.client(app, rajesh)
    const release = house.conversation.hold(id)
    for (const afterSeq of [0, 1]) farmer.socket.emit('conversation:join', { conversationId: id, afterSeq })
    await eventually(() => house.conversation.asked.some((one) => one.endsWith('/snapshot')))
    const followed = async () => /conversations_followed(?:\{[^}]*\})? (\d+)/.exec(await (await fetch(`${app.url}/metrics`)).text())?.[1]
    expect(await followed()).toBe('1')
    farmer.socket.disconnect()
    release()
    await eventually(async () => (await followed()) === '0')
  } finally {
    await house.stop()
  }
})
