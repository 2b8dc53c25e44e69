// Lanes and cursors at work: what was lost on the way is noticed and repaired, rights that went are gone first, one slow conversation holds up no other.

import type { ConversationId } from '@fieldline/contracts/ids'
import type { Joined } from '@fieldline/contracts/socket'
import type { App } from '@fieldline/service/lifecycle'
import { admin, asha, meena, person, rajesh, sunita, tokenFor } from '@fieldline/testing/factories'
import { eventually } from '@fieldline/testing/until'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { type House, openHouse } from './house.ts'

let house: House
let app: App & { readonly url: string }
let id: ConversationId
const contents = () => house.conversation.messages(id).map(({ content }) => content)
beforeEach(async () => {
  house = await openHouse()
  app = await house.replica({ HEADS_EVERY_MS: '100', LANE_EVENTS: '20' })
  id = house.conversation.create(rajesh, asha)
})
afterEach(() => house.stop())
async function lose(work: () => Promise<unknown>): Promise<void> {
  house.conversation.losing = true
  await work()
  house.conversation.losing = false
}

test('a message whose event was lost comes before the next one', async () => {
  const farmer = await house.client(app, rajesh)
  await farmer.join(id)
  await house.conversation.send(id, asha, 'one')
  await lose(() => house.conversation.send(id, asha, 'lost'))
  await house.conversation.send(id, asha, 'three')
  await eventually(() => farmer.texts.length === 3)
  expect(farmer.texts).toEqual(['one', 'lost', 'three'])
})

test('a lost event is noticed without a next one', async () => {
  const farmer = await house.client(app, rajesh)
  await farmer.join(id)
  await lose(() => house.conversation.send(id, asha, 'lost'))
  await eventually(() => farmer.texts.length === 1)
  expect(farmer.texts).toEqual(['lost'])
})

test('a lost read event is repaired: its receipts come', async () => {
  const farmer = await house.client(app, rajesh)
  await farmer.join(id)
  const first = await house.conversation.send(id, rajesh, 'one')
  await eventually(() => farmer.texts.length === 1)
  await lose(() => house.conversation.read(id, asha))
  await eventually(() => farmer.of('message:read-receipt').length === 1)
  expect(farmer.of('message:read-receipt')).toEqual([
    { messageId: first.id, readBy: 'asha', readAt: expect.any(String), conversationId: id, upToSeq: 1 },
  ])
})

test('reassigned away, the former agent leaves the room at once and hears nothing that follows', async () => {
  const former = await house.client(app, asha)
  const next = await house.client(app, meena)
  await former.join(id)
  await house.conversation.assign(id, meena)
  await house.conversation.send(id, rajesh, 'not for asha')
  await eventually(() => next.of('notification:new-message').length === 1)
  expect(former.texts).toEqual([])
  expect(former.of('notification:new-message')).toEqual([])
  expect(former.of('conversation:assigned')).toHaveLength(1)
  expect(await former.ask('conversation:join', id)).toMatchObject({ ok: false, error: { code: 'FORBIDDEN' } })
})

test('who lost the right is put out first, even if the event about it was lost on the way', async () => {
  const former = await house.client(app, asha)
  const farmer = await house.client(app, rajesh)
  await former.join(id)
  await farmer.join(id)
  await lose(async () => {
    await house.conversation.assign(id, meena)
    await house.conversation.send(id, rajesh, 'not for asha')
  })
  await house.conversation.send(id, rajesh, 'nor this')
  await eventually(() => farmer.texts.length === 2)
  expect(former.texts).toEqual([])
})

test("with the farmer's current conversation goes the right to hear the earlier ones", async () => {
  const earlier = house.conversation.create(rajesh, meena)
  house.conversation.granted.add('asha')
  const former = await house.client(app, asha)
  await former.join(earlier)
  await house.conversation.send(earlier, rajesh, 'heard')
  await eventually(() => former.texts.length === 1)
  house.conversation.granted.delete('asha')
  await house.conversation.assign(id, meena)
  await eventually(() => former.of('conversation:assigned').length === 1)
  await house.conversation.send(earlier, rajesh, 'not for asha')
  const farmer = await house.client(app, rajesh)
  expect((await farmer.join(earlier, 0)).lastSeq).toBe(2)
  expect(former.texts).toEqual(['heard'])
})

test('that right goes also where the event that took it was lost, and with the role', async () => {
  const earlier = house.conversation.create(rajesh, meena)
  house.conversation.granted.add('asha')
  const former = await house.client(app, asha)
  await former.join(earlier)
  house.conversation.granted.delete('asha')
  await lose(() => house.conversation.assign(id, meena))
  await house.conversation.assign(id, sunita)
  const farmer = await house.client(app, rajesh)
  await farmer.join(earlier)
  await house.conversation.send(earlier, rajesh, 'not for asha')
  await eventually(() => farmer.texts.length === 1)

  house.conversation.granted.add('asha')
  await former.join(earlier)
  house.conversation.granted.delete('asha')
  const demoted = person('User', 'asha')
  await house.client(app, demoted, { token: tokenFor(demoted, { claims: { iat: Math.floor(Date.now() / 1_000) + 10 } }) })
  await eventually(async () => {
    const before = former.texts.length
    const { seq } = await house.conversation.send(earlier, rajesh, 'still?')
    await eventually(() => farmer.texts.length === seq)
    return former.texts.length === before
  })
  expect(former.texts).not.toContain('not for asha')
})

test('a repeated join behind one that is tried on is answered', async () => {
  const agent = await house.client(app, asha)
  await agent.join(id)
  const farmer = await house.client(app, rajesh)
  house.conversation.down = true
  const unavailable = { ok: false, error: { code: 'UNAVAILABLE', retryable: true } }
  for (let n = 1; n <= 3; n += 1) expect(await farmer.ask('conversation:join', id)).toMatchObject(unavailable)
  house.conversation.down = false
  await house.conversation.send(id, asha, 'there again')
  await eventually(() => farmer.texts.length === 1)
})

test('repeated and late events are told once', async () => {
  const farmer = await house.client(app, rajesh)
  await farmer.join(id)
  await house.conversation.send(id, asha, 'one')
  await house.conversation.send(id, asha, 'two')
  for (const event of house.conversation.log(id)) await house.conversation.publish(event)
  await house.conversation.send(id, asha, 'three')
  await eventually(() => farmer.texts.length === 3)
  expect(farmer.texts).toEqual(['one', 'two', 'three'])
  expect(farmer.of('notification:new-message')).toEqual([])
})

test('joins race with nothing: ten devices join while messages flow, each gets every message once, in order', async () => {
  const agents = await Promise.all(Array.from({ length: 10 }, () => house.client(app, admin)))
  let flowing = true
  const flow = (async () => {
    for (let n = 1; flowing; n += 1) {
      await house.conversation.send(id, rajesh, `m${n}`)
      await new Promise((resolve) => setImmediate(resolve))
    }
  })()
  const seen = await Promise.all(
    agents.map(async (agent, n) => {
      await eventually(() => house.conversation.messages(id).length > n * 15)
      const { messages, hasMore } = await agent.join(id, n * 10)
      return { from: n * 10, agent, first: messages.map(({ content }) => content), hasMore }
    }),
  )
  flowing = false
  await flow
  await eventually(() => seen.every(({ agent, from, first }) => from + first.length + agent.texts.length === contents().length), {
    what: 'everything',
  })
  for (const { agent, first, from, hasMore } of seen) {
    expect(hasMore).toBe(false)
    expect([...first, ...agent.texts]).toEqual(contents().slice(from))
  }
})

test('what happens while a join is fetched is told behind its acknowledgement', async () => {
  const other = house.conversation.create(sunita, asha)
  const there = await house.client(app, asha)
  await there.join(id)
  await there.join(other)
  await house.conversation.send(id, asha, 'one')
  const farmer = await house.client(app, rajesh)
  const order: (string | null)[] = []
  farmer.socket.on('message:new', ({ message }) => void order.push(message.content))
  const snapshots = () => house.conversation.asked.filter((one) => one.endsWith('/snapshot')).length
  const before = snapshots()
  const release = house.conversation.hold(id, 'read')
  farmer.socket.emit('conversation:join', { conversationId: id, afterSeq: 0 }, ({ data }: { data: Joined }) => {
    order.push(...data.messages.map(({ content }) => content))
  })
  await eventually(() => snapshots() > before)
  await house.conversation.send(id, asha, 'two')
  // What comes after it from the broker is told already: it waits behind the join.
  await house.conversation.send(other, sunita, 'elsewhere')
  await eventually(() => there.texts.includes('elsewhere'))
  release()
  await eventually(() => order.length === 2)
  expect(order).toEqual(['one', 'two'])
})

test('a conversation whose fetch hangs holds up no other, and catches up when it is back', async () => {
  const other = house.conversation.create(sunita, asha)
  const farmer = await house.client(app, rajesh)
  const neighbour = await house.client(app, sunita)
  await farmer.join(id)
  await neighbour.join(other)
  const release = house.conversation.hold(id)
  await lose(() => house.conversation.send(id, asha, 'lost'))
  // More than the lane holds: it overflows, and the fetch covers that too.
  for (let n = 0; n < 40; n += 1) await house.conversation.send(id, asha, `m${n}`)
  await house.conversation.send(other, asha, 'no waiting here')
  await eventually(() => neighbour.texts.length === 1)
  expect(farmer.texts).toEqual([])
  release()
  await eventually(() => farmer.texts.length === 41)
  expect(farmer.texts).toEqual(contents())
})

test('a long absence is told in bounded pages, and `hasMore` says that there is more', async () => {
  for (let n = 1; n <= 250; n += 1) await house.conversation.send(id, asha, `m${n}`)
  const farmer = await house.client(app, rajesh)
  const joined = await farmer.join(id, 10)
  expect(joined).toMatchObject({ lastSeq: 250, hasMore: true })
  expect(joined.messages).toHaveLength(200)
  expect(joined.messages[0]?.seq).toBe(11)
  await house.conversation.send(id, asha, 'next')
  await eventually(() => farmer.texts.length === 1)
})
