// Who is online after devices came and went and processes died (issue 6): on two replicas and in the embedded process, by kill -9. `replicas.test.ts` has the lease.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join as path } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { freePort } from '../../scripts/lib/ports.ts'
import { type BrokerLink, brokerLink } from '../support/broker-link.ts'
import { type Client, eventually } from '../support/client.ts'
import { answered, join, type Scene, scene } from '../support/scene.ts'
import { needAll } from '../support/servers.ts'
import { kill, startEmbedded, startServices, token, type Whole } from '../support/whole.ts'

const env = { PRESENCE_LEASE_MS: '2000', PRESENCE_GRACE_MS: '1500', AGENT_GRACE_MS: '600000', AGENT_CAPACITY: '100' }
const reconnects = 50

const about = (from: Client, event: 'user:online' | 'user:offline', { id }: { id: string }) =>
  from.all(event).filter(({ userId }) => userId === id)
const isOnline = async (people: Scene, { conversationId }: { conversationId: string }): Promise<boolean> =>
  (await answered(() => people.admin('GET', `/conversations/${conversationId}`))).body.data.userId.isOnline

const suite = needAll('presence on two replicas', 'AMQP_URL', 'MONGODB_URL')
describe.each(suite ? [suite] : [])('%s', () => {
  let link: BrokerLink
  let whole: Whole
  let people: Scene
  let watching: Client
  const urlOf = (replica: number) => whole.processOf('realtime', replica).url

  beforeAll(async () => {
    link = await brokerLink(process.env.AMQP_URL ?? '')
    whole = await startServices({ replicas: 'realtime=2', env: { ...env, AMQP_URL: link.url } })
    people = scene(whole)
    watching = people.connect(token('Admin', 'admin'))
    await watching.next('connect')
  }, 90_000)
  afterAll(async () => {
    link?.restore()
    people?.close()
    await whole?.stop()
    await link?.close()
  }, 40_000)

  /** A farmer with a device on each of these replicas, known to the watcher. */
  async function withDevices(...replicas: number[]) {
    const farmer = await people.farmer()
    const devices: Client[] = []
    for (const replica of replicas) {
      const device = people.connect(farmer.token, { reconnection: false }, urlOf(replica))
      await device.next('connect')
      devices.push(device)
    }
    await watching.next('user:online', ({ userId }) => userId === farmer.id)
    return { ...farmer, devices }
  }
  /** Somebody who leaves now and is told to be gone: whoever left before that and is to be gone has been told so too. */
  async function aGraceLater(): Promise<void> {
    const other = await withDevices(1)
    other.devices[0]?.close()
    await watching.next('user:offline', ({ userId }) => userId === other.id)
  }

  test('the second device closes: online as long as one is left, wherever it is; then offline, once', async () => {
    const farmer = await withDevices(1, 2, 2)
    for (const device of farmer.devices.slice(0, 2)) {
      device.close()
      await aGraceLater()
      expect(about(watching, 'user:offline', farmer)).toEqual([])
    }
    farmer.devices[2]?.close()
    await watching.next('user:offline', ({ userId }) => userId === farmer.id)
    await eventually(async () => !(await isOnline(people, farmer)))
    expect(about(watching, 'user:online', farmer)).toHaveLength(1)
    expect(about(watching, 'user:offline', farmer)).toEqual([{ userId: farmer.id, isOnline: false, lastSeenAt: expect.any(String) }])
  }, 60_000)

  test(`${reconnects} quick reconnects, to either replica, are no flicker`, async () => {
    const farmer = await withDevices(1)
    let [device] = farmer.devices
    for (let round = 0; round < reconnects; round += 1) {
      device?.close()
      device = people.connect(farmer.token, { reconnection: false }, urlOf(1 + (round % 2)))
      await device.next('connect')
    }
    await aGraceLater()
    expect(about(watching, 'user:online', farmer)).toHaveLength(1)
    expect(about(watching, 'user:offline', farmer)).toEqual([])
    expect(await isOnline(people, farmer)).toBe(true)
  }, 60_000)

  test('a replica that was away from the broker tells its people who left meanwhile', async () => {
    const farmer = await withDevices(2)
    const agent = await people.agent('asha', { reconnection: false }, urlOf(1))
    await answered(() => people.admin('POST', '/support/reassign', { conversationId: farmer.conversationId, supportId: agent.id }))
    await join(agent.client, farmer.conversationId)
    const name = agent.client.socket.io.engine.id?.split('.')[0]
    link.cut(`realtime ${name}`)
    farmer.devices[0]?.close()
    await eventually(async () => !(await isOnline(people, farmer)), 20_000)
    expect(about(agent.client, 'user:offline', farmer)).toEqual([])
    link.restore(`realtime ${name}`)
    await agent.client.next('user:offline', ({ userId }) => userId === farmer.id, 20_000)
    expect(about(agent.client, 'user:offline', farmer)).toEqual([{ userId: farmer.id, isOnline: false, lastSeenAt: expect.any(String) }])
  }, 60_000)

  test('both replicas killed and started again: who comes back stays online, who does not is offline', async () => {
    const [stays, leaves] = [await people.farmer(), await withDevices(2)]
    await people.connect(stays.token).next('connect')
    await watching.next('user:online', ({ userId }) => userId === stays.id)
    const started = whole.nextStart('realtime')
    for (const replica of [1, 2]) kill(whole.processOf('realtime', replica).pid)
    await started
    await watching.next('user:offline', ({ userId }) => userId === leaves.id, 30_000)
    await eventually(async () => !(await isOnline(people, leaves)))
    expect(about(watching, 'user:offline', stays)).toEqual([])
    expect(await isOnline(people, stays)).toBe(true)
  }, 60_000)
})

test('the embedded process killed and started again: who comes back stays online, who does not is offline', async () => {
  const dataDir = mkdtempSync(path(tmpdir(), 'fieldline-'))
  const port = await freePort()
  let whole = await startEmbedded({ dataDir, port, env })
  const people = scene(whole)
  try {
    const watching = people.connect(token('Admin', 'admin'))
    const [stays, leaves] = [await people.farmer(), await people.farmer()]
    await people.connect(stays.token).next('connect')
    await people.connect(leaves.token, { reconnection: false }).next('connect')
    for (const { id } of [stays, leaves]) await watching.next('user:online', ({ userId }) => userId === id)
    kill(whole.processOf('all').pid)
    whole = await startEmbedded({ dataDir, port, env })
    await watching.next('user:offline', ({ userId }) => userId === leaves.id, 30_000)
    await eventually(async () => !(await isOnline(people, leaves)))
    expect(about(watching, 'user:offline', stays)).toEqual([])
    expect(await isOnline(people, stays)).toBe(true)
  } finally {
    people.close()
    await whole.stop()
    rmSync(dataDir, { recursive: true, force: true })
  }
}, 90_000)
