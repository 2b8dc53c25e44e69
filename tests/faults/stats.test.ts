// Statistics against the truth (quality "Lossless" 16): every event shuffled, repeated, some lost, and the figures still equal a recount.

import { headers, statsQueue } from '@fieldline/contracts/topology'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { GetMessage } from 'amqplib'
import { type BrokerHand, brokerHand } from '../support/broker-hand.ts'
import { type BrokerLink, brokerLink } from '../support/broker-link.ts'
import { eventually } from '../support/client.ts'
import { chance, rounds } from '../support/random.ts'
import { type Agent, answered, type Farmer, type Scene, say, scene } from '../support/scene.ts'
import { needAll } from '../support/servers.ts'
import { startServices, type Whole } from '../support/whole.ts'

const suite = needAll('statistics equal a recount', 'AMQP_URL')
describe.each(suite ? [suite] : [])('%s', () => {
  let link: BrokerLink
  let whole: Whole
  let people: Scene
  let hand: BrokerHand
  let agents: Agent[]

  beforeAll(async () => {
    link = await brokerLink(process.env.AMQP_URL ?? '')
    whole = await startServices({
      env: {
        AMQP_URL: link.url,
        STATS_ROLL_UP_MS: '200',
        STATS_GATHER_MS: '50',
        STATS_GAP_WAIT_MS: '300',
        AGENT_CAPACITY: '100',
        AGENT_GRACE_MS: '600000',
      },
    })
    people = scene(whole)
    hand = await brokerHand(process.env.AMQP_URL ?? '', whole.namespace)
    agents = [await people.agent('asha'), await people.agent('meena')]
  }, 90_000)
  afterAll(async () => {
    people?.close()
    await hand?.close()
    await whole?.stop()
    await link?.close()
  }, 40_000)

  /** Farmers and agents at work: messages, readings, resolutions, reopenings, closings, handings over. */
  async function aDay(random: ReturnType<typeof chance>) {
    const farmers = await Promise.all(Array.from({ length: 6 }, () => people.farmer()))
    const done = { resolved: 0, reopened: 0, closed: 0 }
    await Promise.all(
      farmers.map(async (farmer) => {
        const { conversationId } = farmer
        const path = `/conversations/${conversationId}`
        const state = async () => (await answered(() => people.admin('GET', path))).body.data
        for (let step = 0; step < 12 * rounds; step += 1) {
          const { status, assignedSupportId } = await state()
          const agent = agents.find(({ id }) => id === assignedSupportId?._id)
          const act = random.below(6)
          if (act === 0 && agent && status === 'open') {
            expect((await agent.api('PATCH', `${path}/status`, { status: 'resolved' })).status).toBe(200)
            done.resolved += 1
          } else if (act === 1 && agent) expect((await agent.api('PATCH', `${path}/read`)).status).toBe(200)
          else if (act === 2 && status === 'open') {
            const supportId = random.pick(agents).id
            expect((await people.admin('POST', '/support/reassign', { conversationId, supportId })).status).toBe(200)
          } else if (act === 3 && agent && status === 'open') await say(agent, conversationId, `${farmer.id} agent ${step}`)
          else {
            if (status === 'resolved') done.reopened += 1
            await say(farmer, conversationId, `${farmer.id} ${step}`)
          }
        }
      }),
    )
    // The last one's is open in the end, so that what is said later reopens nothing.
    const last = farmers[5] as Farmer
    if ((await answered(() => people.admin('GET', `/conversations/${last.conversationId}`))).body.data.status === 'resolved')
      done.reopened += 1
    await say(last, last.conversationId, 'the last of the day')
    for (const { conversationId } of farmers.slice(0, 2)) {
      expect((await people.admin('PATCH', `/conversations/${conversationId}/status`, { status: 'closed' })).status).toBe(200)
      done.closed += 1
    }
    return { farmers, done, last }
  }

  async function recount(farmers: readonly Farmer[]) {
    const messages = { User: 0, Support: 0, Admin: 0 }
    const byAgent = new Map<string, number>()
    for (const { conversationId } of farmers) {
      for (let after = 0; ; ) {
        const { body } = await answered(() => people.admin('GET', `/messages/${conversationId}?afterSeq=${after}&limit=100`))
        for (const { senderId, seq } of body.data as { senderId: { _id: string; role: keyof typeof messages }; seq: number }[]) {
          messages[senderId.role] += 1
          if (senderId.role === 'Support') byAgent.set(senderId._id, (byAgent.get(senderId._id) ?? 0) + 1)
          after = seq
        }
        if (body.data.length < 100) break
      }
    }
    const { body } = await answered(() => people.admin('GET', '/support/conversations?limit=100'))
    const status = { waiting: 0, open: 0, resolved: 0, closed: 0 }
    for (const each of body.data as { status: keyof typeof status }[]) status[each.status] += 1
    return { messages, byAgent: Object.fromEntries(byAgent), conversations: { total: body.data.length as number, ...status } }
  }

  test('16: events shuffled, repeated up to three times and some lost on the way: the figures equal a recount, and stay so when all comes once more', async () => {
    const random = chance('stats 16')
    link.cut('stats')
    const { farmers, done, last } = await aDay(random)
    const events = await eventually(async () => {
      const taken = await hand.takeAll(statsQueue)
      return taken.length > 0 && taken
    })
    // The relay may still be at it: the last is there when its statuses and words are.
    await eventually(async () => {
      events.push(...(await hand.takeAll(statsQueue)))
      return events.some(({ content }) => content.includes('the last of the day'))
    })

    // A conversation's newest is never among the lost: only a later one could tell of the loss.
    const newest = new Map<string, number>()
    for (const { conversation, eventno } of events.map(placeOf)) newest.set(conversation, Math.max(eventno, newest.get(conversation) ?? 0))
    const kept = events.filter((event) => {
      const { conversation, eventno } = placeOf(event)
      return eventno === newest.get(conversation) || random.next() > 0.1
    })
    process.stderr.write(`stats 16: ${events.length} events, ${events.length - kept.length} lost\n`)
    const repeated = random.shuffled(kept.flatMap((event) => Array.from({ length: 1 + random.below(3) }, () => event)))
    for (const event of repeated) await hand.putBack(statsQueue, event)
    link.restore()

    const truth = await recount(farmers)
    const figures = async () => (await answered(() => people.admin('GET', '/support/stats'))).body.data
    const expected = {
      conversations: truth.conversations,
      totals: { created: farmers.length, closed: done.closed, messages: truth.messages },
    }
    const equal = async () => {
      const now = await figures()
      expect(now).toMatchObject(expected)
      return now
    }
    const first = await eventually(equal, 40_000)
    expect(first.totals).toMatchObject(done)
    const countedByAgent = Object.fromEntries(
      first.agents.map((each: { agent: { _id: string }; messages: number }) => [each.agent._id, each.messages]),
    )
    expect(countedByAgent).toMatchObject(truth.byAgent)

    for (const event of random.shuffled(events)) await hand.putBack(statsQueue, event)
    await say(last, last.conversationId, 'after all repetitions')
    const marked = await eventually(async () => {
      const now = await figures()
      return now.totals.messages.User >= truth.messages.User + 1 && now
    }, 40_000)
    expect(marked.totals).toEqual({ ...first.totals, messages: { ...truth.messages, User: truth.messages.User + 1 } })
    for (const timing of ['waitingTime', 'firstResponseTime', 'resolutionTime']) expect(marked[timing]).toEqual(first[timing])
  }, 120_000)
})

/** Where an event belongs, by its headers. */
function placeOf({ properties }: GetMessage): { conversation: string; eventno: number } {
  return { conversation: String(properties.headers?.[headers.conversation]), eventno: Number(properties.headers?.[headers.eventno]) }
}
