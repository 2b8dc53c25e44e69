// Garbage, floods, limits and bad tokens: nothing dies, nobody else is disturbed, and what ends heals where it should.

import type { ConversationId } from '@fieldline/contracts/ids'
import type { App } from '@fieldline/service/lifecycle'
import { asha, rajesh, sunita, tokenFor } from '@fieldline/testing/factories'
import { eventually, once } from '@fieldline/testing/until'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { type House, openHouse } from './house.ts'

let house: House
let app: App & { readonly url: string }
let id: ConversationId
const start = async (env: Record<string, string> = {}) => {
  app = await house.replica(env)
}
beforeEach(async () => {
  house = await openHouse()
  id = house.conversation.create(rajesh, asha)
})
afterEach(() => house.stop())
const inSeconds = (seconds: number) => Math.floor(Date.now() / 1_000) + seconds

describe('garbage', () => {
  test('wrong payloads, unknown events and wrong acknowledgements are answered, and the neighbour notices nothing', async () => {
    await start()
    const vandal = await house.client(app, sunita)
    const neighbour = await house.client(app, rajesh)
    await neighbour.join(id)
    const deep = `${'['.repeat(10_000)}${']'.repeat(10_000)}`
    const payloads = [
      undefined,
      null,
      0,
      '',
      [],
      Buffer.from('bytes'),
      { conversationId: { $ne: null } },
      { conversationId: id, content: { $gt: '' } },
      JSON.parse('{"__proto__":{"x":1}}'),
    ]
    for (const event of ['conversation:join', 'message:send', 'message:read', 'conversation:mark-all-read'])
      for (const payload of payloads)
        expect(await vandal.ask(event, payload)).toMatchObject({ ok: false, error: { code: 'VALIDATION_FAILED', retryable: false } })
    expect(await vandal.ask('no:such-event', {})).toMatchObject({ ok: false, error: { code: 'BAD_REQUEST' } })
    expect(await vandal.ask('toString', {})).toMatchObject({ ok: false, error: { code: 'BAD_REQUEST' } })
    // Not a function where an acknowledgement would be, and an answer to what was never asked.
    vandal.socket.emit('conversation:join', { conversationId: id }, 'not a function', 42)
    vandal.socket.io.engine.write('342["what?"]')
    // The stock client cannot even encode these: nested 10,000 deep, and the same with an attachment.
    vandal.socket.io.engine.write(`2["message:send",${deep}]`)
    await eventually(() => vandal.of('error').some(({ code }) => code === 'FORBIDDEN'))
    await house.conversation.send(id, asha, 'still here')
    await eventually(() => neighbour.texts.length === 1)
    expect(neighbour.of('error')).toEqual([])
    vandal.socket.io.engine.write(`51-["message:send",${deep}]`)
    vandal.socket.io.engine.write(Buffer.from('attachment') as unknown as string)
    vandal.socket.io.engine.write('4{"not":"a packet"}')
    await house.conversation.send(id, asha, 'and here')
    await eventually(() => neighbour.texts.length === 2)
  })

  test('a megabyte ends only the connection it came on', async () => {
    await start()
    const vandal = await house.client(app, sunita)
    const neighbour = await house.client(app, rajesh)
    const gone = once(vandal.socket, 'disconnect')
    vandal.socket.emit('message:send', { conversationId: id, content: 'x'.repeat(1_000_000) })
    await gone
    expect(await neighbour.ask('message:send', { conversationId: id, content: 'fine' })).toMatchObject({ ok: true })
  })

  test('typing never gets an error, whatever is sent', async () => {
    await start()
    const farmer = await house.client(app, rajesh)
    for (let n = 0; n < 500; n += 1) farmer.socket.emit('typing:start', n % 2 ? { conversationId: id } : { wrong: n })
    await farmer.ask('conversation:join', id)
    expect(farmer.of('error')).toEqual([])
  })
})

describe('limits', () => {
  test('a flood is limited per person, the burst of a reconnect passes, and others are unaffected', async () => {
    await start({ RATE_LIMIT_SEND: '1', RATE_LIMIT_SEND_BURST: '30' })
    const flooder = await house.client(app, rajesh)
    const agent = await house.client(app, asha)
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, n) => flooder.ask('message:send', { conversationId: id, content: `m${n}` })),
    )
    expect(answers.slice(0, 30).every(({ ok }) => ok)).toBe(true)
    expect(answers.slice(32).every((answer) => !answer.ok && answer.error.code === 'RATE_LIMITED' && answer.error.retryable)).toBe(true)
    expect(await agent.ask('message:send', { conversationId: id, content: 'mine' })).toMatchObject({ ok: true })
  })

  test("a person's sockets beyond the limit push out the oldest", async () => {
    await start({ SOCKETS_PER_PERSON: '2' })
    const [first, second, third] = [
      await house.client(app, rajesh, { reconnection: false }),
      await house.client(app, rajesh),
      await house.client(app, rajesh),
    ]
    await eventually(() => !first.socket.connected)
    expect([second.socket.connected, third.socket.connected]).toEqual([true, true])
  })

  test('one socket joins a bounded number of conversations', async () => {
    await start({ JOINED_ROOMS_MOST: '1' })
    const agent = await house.client(app, asha)
    await agent.join(id)
    expect(await agent.ask('conversation:join', house.conversation.create(sunita, asha))).toMatchObject({
      ok: false,
      error: { code: 'RATE_LIMITED' },
    })
  })

  test('joins at once do not pass the limit together', async () => {
    await start({ JOINED_ROOMS_MOST: '2' })
    const agent = await house.client(app, asha)
    const ids = Array.from({ length: 20 }, () => house.conversation.create(sunita, asha))
    const answers = await Promise.all(ids.map((each) => agent.ask('conversation:join', each)))
    expect(answers.filter(({ ok }) => ok)).toHaveLength(2)
    // Again into one it has joined is no further one.
    expect(await agent.ask('conversation:join', ids[0])).toMatchObject({ ok: true })
  })

  test('a reader that does not read is dropped before it eats memory, and comes back by itself', async () => {
    await start({ SLOW_READER_BYTES: '20000' })
    const farmer = await house.client(app, rajesh)
    await farmer.join(id)
    const tcp = (farmer.socket.io.engine.transport as unknown as { ws: { _socket: { pause(): void; resume(): void } } }).ws._socket
    tcp.pause()
    let flowing = true
    const flow = (async () => {
      for (let n = 0; flowing; n += 1) {
        await Promise.all(Array.from({ length: 100 }, () => house.conversation.send(id, asha, `${n} ${'x'.repeat(3_900)}`)))
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    })()
    const dropped = async () => (await (await fetch(`${app.url}/metrics`)).text()).match(/drops_total\{[^}]*slow-reader[^}]*\} 1/)
    await eventually(dropped, { timeoutMs: 20_000, what: 'the drop' })
    flowing = false
    await flow
    const back = once(farmer.socket, 'connect', 10_000)
    tcp.resume()
    await back
    expect(farmer.socket.connected).toBe(true)
  })
})

describe('tokens', () => {
  test.each([
    ['none', '', 'UNAUTHENTICATED'],
    ['a broken one', 'not.a.token', 'UNAUTHENTICATED'],
    ["somebody else's signature", tokenFor(rajesh, { secret: 'another-secret-that-is-long-enough-000' }), 'UNAUTHENTICATED'],
    ['an expired one', tokenFor(rajesh, { expiresIn: -10 }), 'TOKEN_EXPIRED'],
  ])('%s is refused for good', async (_what, token, code) => {
    await start()
    const client = await house.client(app, rajesh, { auth: { token }, token, connected: false })
    const [error] = await once<[Error & { data?: { code: string } }]>(client.socket, 'connect_error')
    expect(error.data?.code).toBe(code)
    expect(client.socket.active).toBe(false)
  })

  test('a token in the query is no token', async () => {
    await start()
    const client = await house.client(app, rajesh, { auth: {}, query: { token: tokenFor(rajesh) }, connected: false })
    const [error] = await once<[Error & { data?: { code: string } }]>(client.socket, 'connect_error')
    expect(error.data?.code).toBe('UNAUTHENTICATED')
  })

  test('expiry is announced ahead, ends the connection for good, and `auth:refresh` by the same person extends it', async () => {
    await start()
    const claims = { exp: inSeconds(3) }
    const [leaves, stays] = [
      await house.client(app, rajesh, { token: tokenFor(rajesh, { claims }) }),
      await house.client(app, asha, { token: tokenFor(asha, { claims }) }),
    ]
    await eventually(() => leaves.of('auth:expiring').length === 1 && stays.of('auth:expiring').length === 1)
    expect(await stays.ask('auth:refresh', { token: tokenFor(rajesh) })).toMatchObject({ ok: false, error: { code: 'FORBIDDEN' } })
    expect(await stays.ask('auth:refresh', { token: tokenFor(asha) })).toMatchObject({ ok: true, data: { expiresAt: expect.any(String) } })
    await eventually(() => leaves.of('error').some(({ code }) => code === 'TOKEN_EXPIRED') && !leaves.socket.connected)
    expect(leaves.socket.active).toBe(false)
    expect(stays.socket.connected).toBe(true)
  })

  test('an origin that is not ours is refused before a session exists', async () => {
    await start({ CORS_ORIGINS: 'https://chat.example' })
    const refused = await house.client(app, rajesh, {
      extraHeaders: { origin: 'https://evil.example' },
      connected: false,
      reconnection: false,
    })
    await once(refused.socket, 'connect_error')
    const native = await house.client(app, rajesh)
    const ours = await house.client(app, asha, { extraHeaders: { origin: 'https://chat.example' } })
    expect([native.socket.connected, ours.socket.connected]).toEqual([true, true])
  })
})

describe('ends', () => {
  test('SIGTERM answers what is in flight, refuses newcomers, and closes so that stock clients come back', async () => {
    await start()
    const farmer = await house.client(app, rajesh)
    await farmer.join(id)
    const pending = farmer.ask('message:send', { conversationId: id, content: 'last words' })
    await eventually(() => house.conversation.asked.includes('POST /api/v1/chat/messages'))
    const gone = once(farmer.socket, 'disconnect')
    await app.stop()
    expect(await pending).toMatchObject({ ok: true })
    expect(await gone).not.toEqual(['io server disconnect'])
    expect(farmer.socket.active).toBe(true)
  })

  test('who never stops talking is answered all that was taken of it, until the end', async () => {
    await start({ RATE_LIMIT_ENABLED: 'false', DRAIN_MS: '6000' })
    const farmer = await house.client(app, rajesh, { reconnection: false })
    await farmer.join(id)
    let answered = 0
    const talk = async (): Promise<void> => {
      const answer = await farmer.ask('message:send', { conversationId: id, content: 'and another thing' }).catch(() => null)
      if (answer?.ok) answered += 1
      if (answer) return talk()
    }
    const talks = [talk(), talk(), talk()]
    await eventually(() => answered > 10)
    await app.stop()
    await Promise.all(talks)
    expect(answered).toBe(house.conversation.messages(id).length)
  })

  test('presence is answered to services and to nobody else, and the replica tells its name', async () => {
    await start({ INSTANCE_NAME: 'rt-1' })
    const farmer = await house.client(app, rajesh)
    const answer = await fetch(`${app.url}/internal/presence`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${tokenFor(rajesh)}` },
      body: '{"personIds":["rajesh"]}',
    })
    expect(answer.status).toBe(401)
    expect(farmer.socket.io.engine.id).toMatch(/^rt-1\./)
    await eventually(async () => {
      const asked = await fetch(`${app.url}/internal/presence`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${house.internalToken}` },
        body: '{"personIds":["rajesh","nobody"]}',
      })
      const { people } = (await asked.json()) as { people: unknown[] }
      expect(people).toEqual([
        { personId: 'rajesh', online: true, version: 1, lastSeenAt: null },
        { personId: 'nobody', online: false, version: 0, lastSeenAt: null },
      ])
      return true
    })
  })
})
