// A realtime replica that dies or is told to stop (quality "Lossless" 12, 13): who was there, who still is, and what they had been answered.

import { monitorEventLoopDelay } from 'node:perf_hooks'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { type Client, eventually, rest } from '../support/client.ts'
import { answered, type Scene, scene } from '../support/scene.ts'
import { needAll } from '../support/servers.ts'
import { kill, startServices, token, type Whole } from '../support/whole.ts'

const leaseMs = 2_000
const graceMs = 500
const drainMs = 10_000
const spreadMs = 3_000
const crowd = 1_000

const suite = needAll('a realtime replica ends', 'AMQP_URL', 'MONGODB_URL')
describe.each(suite ? [suite] : [])('%s', () => {
  let whole: Whole
  let people: Scene

  beforeAll(async () => {
    whole = await startServices({
      replicas: 'realtime=2',
      env: {
        PRESENCE_LEASE_MS: String(leaseMs),
        PRESENCE_GRACE_MS: String(graceMs),
        DRAIN_MS: String(drainMs),
        DRAIN_SPREAD_MS: String(spreadMs),
        AGENT_CAPACITY: '100',
      },
    })
    people = scene(whole)
  }, 90_000)
  afterAll(async () => {
    people?.close()
    await whole?.stop()
  }, 40_000)

  test('12: a replica killed: its people are offline within the lease, whoever has a second device stays online', async () => {
    const [stays, dies] = [1, 2].map((replica) => whole.processOf('realtime', replica).url)
    const alone = await people.farmer()
    const twice = await people.farmer()
    const watching = people.connect(token('Admin', 'admin'), {}, stays)
    await watching.next('connect')
    const once = { reconnection: false }
    for (const [person, url] of [
      [alone, dies],
      [twice, dies],
      [twice, stays],
    ] as const) {
      await people.connect(person.token, once, url).next('connect')
    }
    for (const { id } of [alone, twice]) await watching.next('user:online', ({ userId }) => userId === id)

    kill(whole.processOf('realtime', 2).pid)
    const told = await watching.next('user:offline', ({ userId }) => userId === alone.id, leaseMs + graceMs + 5_000)
    expect(told).toMatchObject({ isOnline: false, lastSeenAt: expect.any(String) })
    // The reaper that ended one device of that replica has ended them all: conversation tells what it was told of both.
    await eventually(async () => (await isOnline(alone.conversationId)) === false)
    expect(await isOnline(twice.conversationId)).toBe(true)
    expect(watching.all('user:offline').map(({ userId }) => userId)).not.toContain(twice.id)
  }, 60_000)

  async function isOnline(conversationId: string): Promise<boolean> {
    return (await answered(() => people.admin('GET', `/conversations/${conversationId}`))).body.data.userId.isOnline
  }

  test(`13: SIGTERM with ${crowd} sockets: unready first, they come back by themselves spread out, no answered message is lost, gone within the grace`, async () => {
    const { url, pid } = whole.processOf('realtime', 1)
    await eventually(async () => (await rest(url)('GET', '/health/ready')).status === 200)
    const slowly = { transports: ['websocket'], reconnectionDelay: 1_000, reconnectionDelayMax: 3_000 }
    const all: Client[] = []
    for (let start = 0; start < crowd; start += 100) {
      const some = Array.from({ length: 100 }, (_, index) => people.connect(token('User', `crowd-${start + index}`), slowly, url))
      await Promise.all(some.map((each) => each.next('connect', () => true, 30_000)))
      all.push(...some)
    }
    const ends: number[] = []
    for (const { socket } of all) socket.once('disconnect', () => ends.push(performance.now()))

    const writers = await Promise.all(Array.from({ length: 4 }, () => people.farmer()))
    const acknowledged: { conversationId: string; messageId: string }[] = []
    const writing = writers.map(async ({ token: own, conversationId }) => {
      const { socket } = people.connect(own, slowly, url)
      await new Promise<void>((resolve) => socket.once('connect', () => resolve()))
      const until = new Promise<'ended'>((resolve) => socket.once('disconnect', () => resolve('ended')))
      for (let index = 0; ; index += 1) {
        const answer = await Promise.race([socket.emitWithAck('message:send', { conversationId, content: `m${index}` }), until])
        if (answer === 'ended') return
        if (answer.ok) acknowledged.push({ conversationId, messageId: answer.data.messageId })
      }
    })
    await eventually(() => acknowledged.length > 50)

    const lag = monitorEventLoopDelay({ resolution: 5 })
    lag.enable()
    const restarted = whole.nextStart('realtime')
    const asked = performance.now()
    kill(pid, 'SIGTERM')
    const unready = await eventually(async () => {
      const { status } = await rest(url)('GET', '/health/ready')
      return status === 503 && { at: performance.now() }
    })
    const gone = await eventually(() => !isAlive(pid) && { at: performance.now() }, drainMs + 10_000)
    await restarted
    await Promise.all(writing)

    lag.disable()
    expect(gone.at - asked).toBeLessThan(drainMs + 1_000)
    expect(ends).toHaveLength(crowd)
    const first = Math.min(...ends)
    expect(unready.at).toBeLessThan(first + 250)
    // Jitter: spread over the window. An end is seen as late as this process lags, so a tenth of the window is judged with that much more of it.
    expect(Math.max(...ends) - first).toBeGreaterThan(spreadMs / 2)
    const tenth = spreadMs / 10
    const perTenth = Map.groupBy(ends, (at) => Math.floor((at - first) / tenth))
    const fair = (crowd * (tenth + lag.max / 1e6)) / spreadMs
    expect(Math.max(...[...perTenth.values()].map(({ length }) => length))).toBeLessThan(1.5 * fair)

    await Promise.all(all.map((each) => eventually(() => each.socket.connected, 30_000)))
    for (const { conversationId } of writers) {
      const ids = (await people.history(conversationId)).map(({ _id }) => _id)
      expect(new Set(ids).size).toBe(ids.length)
      const answeredHere = acknowledged.filter((each) => each.conversationId === conversationId)
      expect(ids).toEqual(expect.arrayContaining(answeredHere.map(({ messageId }) => messageId)))
    }
  }, 120_000)
})

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
