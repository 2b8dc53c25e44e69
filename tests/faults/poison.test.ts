// Events that nobody can take (quality "Lossless" 7, 8): unroutable ones are noticed and kept, poison goes to the dead letters, its neighbours are processed.

import { conversationPeopleQueue, eventsExchange, statsQueue } from '@fieldline/contracts/topology'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { type BrokerHand, brokerHand } from '../support/broker-hand.ts'
import { type BrokerLink, brokerLink } from '../support/broker-link.ts'
import { type Client, eventually, rest } from '../support/client.ts'
import { heard, join, type Scene, say, scene } from '../support/scene.ts'
import { needAll } from '../support/servers.ts'
import { startServices, token, type Whole } from '../support/whole.ts'

const suite = needAll('events nobody can take', 'AMQP_URL')
describe.each(suite ? [suite] : [])('%s', () => {
  let link: BrokerLink
  let whole: Whole
  let people: Scene
  let hand: BrokerHand
  let watching: Client

  beforeAll(async () => {
    link = await brokerLink(process.env.AMQP_URL ?? '')
    whole = await startServices({
      env: { AMQP_URL: link.url, STATS_ROLL_UP_MS: '200', STATS_GATHER_MS: '50', AGENT_CAPACITY: '100', AGENT_GRACE_MS: '600000' },
    })
    people = scene(whole)
    hand = await brokerHand(process.env.AMQP_URL ?? '', whole.namespace)
    watching = people.connect(token('Admin', 'watcher'))
  }, 90_000)
  afterAll(async () => {
    people?.close()
    await hand?.close()
    await whole?.stop()
    await link?.close()
  }, 40_000)

  const countedOfFarmers = async (): Promise<number> => (await people.admin('GET', '/support/stats')).body.data.totals.messages.User
  const restarts = () => whole.started.length

  test('8: poison (not JSON, wrong schema, another type’s body) goes to the dead letters of each queue, its neighbours are processed, nobody dies', async () => {
    const farmer = await people.farmer()
    const { conversationId } = farmer
    await join(watching, conversationId)
    const processes = restarts()
    const before = await countedOfFarmers()
    await say(farmer, conversationId, 'before')
    const headers = { 'x-conversation': conversationId, 'x-eventno': 3 }
    const wrong = {
      specversion: '1.0',
      id: 'x',
      type: 'message.created',
      conversationid: conversationId,
      eventno: 3,
      data: { message: {} },
    }
    for (const key of ['message.created', 'user.online']) {
      await hand.publish(eventsExchange, key, '{ not JSON', headers)
      await hand.publish(eventsExchange, key, { ...wrong, type: key }, headers)
      await hand.publish(eventsExchange, key, [null, 1, 'x'.repeat(10_000)], {})
      await hand.publish(eventsExchange, key, { ...wrong, type: 'never.heard-of' }, { ...headers, 'x-people': '{}' })
    }
    await say(farmer, conversationId, 'after')
    await watching.next('message:new', ({ message }) => message.content === 'after')

    await eventually(async () => (await hand.waiting(`${statsQueue}.dead`)) === 4, 30_000)
    await eventually(async () => (await hand.waiting(`${conversationPeopleQueue}.dead`)) === 4, 30_000)
    await eventually(async () => (await countedOfFarmers()) === before + 2, 30_000)
    await people.agent('meena')
    expect(heard(watching, conversationId)).toEqual(await people.history(conversationId))
    expect(restarts()).toBe(processes)
  }, 90_000)

  test('7: an unroutable event is noticed, stays in the outbox, and is delivered once there is a queue for it', async () => {
    const farmer = await people.farmer()
    const { conversationId } = farmer
    await join(watching, conversationId)
    const before = await countedOfFarmers()
    link.cut('realtime')
    await hand.unbind(statsQueue, eventsExchange, 'message.*')
    // Realtime's exclusive queue goes a moment after its connection.
    await eventually(async () => !(await hand.isRoutable(eventsExchange, 'message.probe')))

    await say(farmer, conversationId, 'to nobody')
    await eventually(async () => unroutable(String((await rest(whole.processOf('conversation').url)('GET', '/metrics')).body)) > 0, 30_000)
    expect(whole.output()).toMatch(/unroutable|no queue/i)

    await hand.bind(statsQueue, eventsExchange, 'message.*')
    link.restore()
    await eventually(async () => (await countedOfFarmers()) === before + 1, 60_000)
    await say(farmer, conversationId, 'to all')
    await watching.next('message:new', ({ message }) => message.content === 'to all', 30_000)
    expect(heard(watching, conversationId)).toEqual(await people.history(conversationId))
    await eventually(async () => (await countedOfFarmers()) === before + 2, 30_000)
  }, 120_000)
})

/** The counter of returned events, whatever room it belongs to. */
function unroutable(metrics: string): number {
  const samples = metrics.split('\n').filter((sample) => /^fieldline_\w*[^#]*unroutable/.test(sample))
  return samples.reduce((sum, sample) => sum + Number(sample.split(' ').at(-1)), 0)
}
