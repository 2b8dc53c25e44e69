// Two replicas on one broker and one presence database: each message once, wherever its sender and its receivers are.

import type { ConversationId } from '@fieldline/contracts/ids'
import type { App } from '@fieldline/service/lifecycle'
import { backing } from '@fieldline/testing/backing'
import { admin, asha, rajesh } from '@fieldline/testing/factories'
import { eventually, once } from '@fieldline/testing/until'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import mongoose from 'mongoose'
import { type House, openHouse } from './house.ts'
import { cleanBroker } from './rabbit-cleanup.ts'

const rabbit = await backing('rabbitmq')
const mongo = await backing('mongodb')
/** Long beside what a busy machine stands still for. */
const graceMs = 1_000
const suite = rabbit && mongo ? describe : describe.skip

suite(rabbit && mongo ? 'two replicas (rabbitmq, mongodb)' : 'SKIPPED, no rabbitmq or no mongodb answers: two replicas', () => {
  const brokerUrl = rabbit?.url ?? ''
  const databaseUrl = mongo?.url ?? ''
  let house: House
  let one: App & { readonly url: string }
  let two: App & { readonly url: string }
  let id: ConversationId
  beforeEach(async () => {
    house = await openHouse(brokerUrl)
    const env = {
      DATABASE_URL: databaseUrl,
      TAKEOVER_MS: '150',
      PRESENCE_LEASE_MS: '2000',
      PRESENCE_GRACE_MS: `${graceMs}`,
      HEADS_EVERY_MS: '500',
    }
    one = await house.replica({ ...env, INSTANCE_NAME: 'one' })
    two = await house.replica({ ...env, INSTANCE_NAME: 'two' })
    id = house.conversation.create(rajesh, asha)
  })
  afterEach(async () => {
    await house.stop()
    await cleanBroker(brokerUrl, house.namespace)
    const connection = await mongoose.createConnection(databaseUrl, { dbName: `${house.namespace}fieldline_realtime` }).asPromise()
    await connection.dropDatabase()
    await connection.close()
  })

  test('sender and receiver on different replicas: delivered once, in order', async () => {
    const farmer = await house.client(one, rajesh)
    const agent = await house.client(two, asha)
    await farmer.join(id)
    await agent.join(id)
    for (let n = 1; n <= 30; n += 1) (n % 2 ? farmer : agent).socket.emit('message:send', { conversationId: id, content: `m${n}` })
    await eventually(() => farmer.texts.length >= 30 && agent.texts.length >= 30)
    const all = house.conversation.messages(id).map(({ content }) => content)
    expect(farmer.texts).toEqual(all)
    expect(agent.texts).toEqual(all)
  })

  test('typing is told across replicas to the others only, and expires by itself', async () => {
    const farmer = await house.client(one, rajesh)
    const tablet = await house.client(two, rajesh)
    const agent = await house.client(two, asha)
    await Promise.all([farmer.join(id), tablet.join(id), agent.join(id)])
    farmer.socket.emit('typing:start', { conversationId: id })
    await eventually(() => agent.of('typing:user-typing').length === 1)
    expect(agent.of('typing:user-typing')).toEqual([{ conversationId: id, userId: 'rajesh', userName: 'Rajesh Kumar' }])
    farmer.socket.emit('typing:stop')
    await eventually(() => agent.of('typing:user-stopped').length === 1)
    expect([...farmer.heard, ...tablet.heard].filter(({ event }) => event.startsWith('typing'))).toEqual([])
  })

  test('online at the first socket anywhere, offline a grace after the last; admins are told, and the versions grow', async () => {
    const watcher = await house.client(two, admin)
    const phone = await house.client(one, rajesh)
    await eventually(() => watcher.of('user:online').some(({ userId }) => userId === 'rajesh'))
    const laptop = await house.client(two, rajesh)
    phone.socket.disconnect()
    await new Promise((resolve) => setTimeout(resolve, 1.5 * graceMs))
    expect(watcher.of('user:offline')).toEqual([])
    laptop.socket.disconnect()
    await eventually(() => watcher.of('user:offline').some(({ userId }) => userId === 'rajesh'))
    expect(watcher.of('user:offline')[0]).toEqual({ userId: 'rajesh', isOnline: false, lastSeenAt: expect.any(String) })
    expect(watcher.of('user:online').filter(({ userId }) => userId === 'rajesh')).toHaveLength(1)
  })

  test('fifty quick reconnects within the grace are no flicker', async () => {
    const watcher = await house.client(two, admin)
    const farmer = await house.client(one, rajesh)
    await eventually(() => watcher.of('user:online').some(({ userId }) => userId === 'rajesh'))
    for (let n = 0; n < 50; n += 1) {
      const back = once(farmer.socket, 'connect')
      farmer.socket.disconnect().connect()
      await back
    }
    await new Promise((resolve) => setTimeout(resolve, 1.5 * graceMs))
    expect(watcher.of('user:offline')).toEqual([])
    expect(watcher.of('user:online').filter(({ userId }) => userId === 'rajesh')).toHaveLength(1)
  })

  test('a client of a replica that is drained comes back by itself, takes its room over elsewhere, and misses nothing', async () => {
    const farmer = await house.client(one, rajesh, { reconnectionDelay: 300 })
    await farmer.join(id)
    await house.conversation.send(id, asha, 'before')
    await eventually(() => farmer.texts.length === 1)
    await new Promise((resolve) => setTimeout(resolve, 100))
    const back = once(farmer.socket, 'connect')
    const stopped = one.stop()
    await house.conversation.send(id, asha, 'between')
    Object.assign(farmer.socket.io, { uri: two.url })
    await stopped
    await back
    await house.conversation.send(id, asha, 'after')
    await eventually(() => farmer.texts.length >= 3)
    expect(farmer.texts).toEqual(['before', 'between', 'after'])
  })
})
