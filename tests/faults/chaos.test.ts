// Everything at once (issue 6): 20 clients, 10 conversations, 2 replicas, messages by REST and socket, while processes and connections are ended by chance.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { type BrokerLink, brokerLink } from '../support/broker-link.ts'
import { eventually } from '../support/client.ts'
import { type Link, link } from '../support/link.ts'
import { chance, rounds } from '../support/random.ts'
import { type Reader, reader } from '../support/reader.ts'
import { type Agent, type Farmer, type Scene, say, scene } from '../support/scene.ts'
import { needAll } from '../support/servers.ts'
import { kill, startServices, type Whole } from '../support/whole.ts'

const conversations = 10
const each = 20 * rounds
const faults = [
  'realtime 1 killed',
  'realtime 2 killed',
  'conversation killed',
  'broker cut',
  'broker cut for realtime',
  'broker held for conversation',
  'clients dropped',
  'clients cut',
] as const
type Fault = (typeof faults)[number]

const suite = needAll('chaos', 'AMQP_URL', 'MONGODB_URL')
describe.each(suite ? [suite] : [])('%s', () => {
  let toBroker: BrokerLink
  let toGateway: Link
  let whole: Whole
  let people: Scene

  beforeAll(async () => {
    toBroker = await brokerLink(process.env.AMQP_URL ?? '')
    whole = await startServices({
      replicas: 'realtime=2',
      env: { AMQP_URL: toBroker.url, AGENT_CAPACITY: '1', AGENT_GRACE_MS: '3600000', PRESENCE_GRACE_MS: '3600000' },
    })
    toGateway = await link(Number(new URL(whole.url).port))
    people = scene(whole)
  }, 90_000)
  afterAll(async () => {
    toBroker?.restore()
    toGateway?.restore()
    people?.close()
    await toGateway?.close()
    await whole?.stop()
    await toBroker?.close()
  }, 40_000)

  test(
    'every client’s list equals the history, in seq order, without a double, whatever was killed and cut meanwhile',
    async () => {
      const random = chance('chaos')
      const agents = new Map<string, Agent>()
      for (let index = 0; index < conversations; index += 1) {
        const agent = await people.agent(`agent-${index}`)
        agents.set(agent.id, agent)
      }
      const url = `http://127.0.0.1:${toGateway.port}`
      const pairs: { farmer: Farmer; agent: Agent; phone: Reader; desk: Reader }[] = []
      for (let index = 0; index < conversations; index += 1) {
        const farmer = await people.farmer()
        const { body } = await farmer.api('GET', `/conversations/${farmer.conversationId}`)
        const agent = agents.get(body.data.assignedSupportId?._id)
        if (!agent) throw new Error(`nobody took ${farmer.conversationId}: ${JSON.stringify(body.data)}`)
        const transports = () => random.pick([['websocket'], ['polling', 'websocket'], ['polling']])
        pairs.push({
          farmer,
          agent,
          phone: reader(url, farmer.token, farmer.conversationId, { transports: transports() }),
          desk: reader(url, agent.token, farmer.conversationId, { transports: transports() }),
        })
      }
      try {
        let said = 0
        const writing = pairs.flatMap(({ farmer, desk }) => [
          (async () => {
            for (let index = 0; index < each; index += 1, said += 1) await say(farmer, farmer.conversationId, `${farmer.id} ${index}`)
          })(),
          (async () => {
            for (let index = 0; index < each; index += 1, said += 1) await desk.say(`to ${farmer.id} ${index}`)
          })(),
        ])
        const total = conversations * 2 * each
        // A writer that gives up is told at the end, with what had been done to it.
        const written = Promise.all(writing)
        written.catch(() => undefined)
        const done: string[] = []
        // Each fault in each round, in an order of chance: no run leaves one out.
        const acts = Array.from({ length: rounds }, () => random.shuffled(faults)).flat()
        for (const [index, fault] of acts.entries()) {
          await eventually(() => said >= (total * (index + 1)) / (acts.length + 2), 60_000)
          await wreak(fault, random, said, () => said)
          done.push(fault)
        }
        process.stderr.write(`chaos: ${done.join(', ')}\n`)
        await written

        await Promise.all(pairs.map(({ farmer }) => say(farmer, farmer.conversationId, `${farmer.id} last`)))
        for (const { farmer, phone, desk } of pairs) {
          const history = await people.history(farmer.conversationId)
          expect(history.map(({ seq }) => seq)).toEqual(Array.from({ length: 2 * each + 1 }, (_, index) => index + 1))
          for (const prefix of [`${farmer.id} `, `to ${farmer.id} `]) {
            const own = history
              .filter(({ content }) => content.startsWith(prefix) && !content.endsWith('last'))
              .map(({ content }) => content)
            expect(own).toEqual(Array.from({ length: each }, (_, index) => `${prefix}${index}`))
          }
          for (const { list } of [phone, desk]) {
            await eventually(() => list.some(({ content }) => content === `${farmer.id} last`), 60_000)
            // Numbers first: they show at a glance what is missing, double or out of order.
            expect(list.map(({ seq }) => seq).join(' ')).toBe(history.map(({ seq }) => seq).join(' '))
            expect(list).toEqual(history)
          }
        }
      } finally {
        for (const { phone, desk } of pairs) {
          phone.close()
          desk.close()
        }
      }
    },
    180_000 * rounds,
  )

  /** One fault, ended before the next begins. Its length is told by how much was said meanwhile, or a second and a half. */
  async function wreak(fault: Fault, random: ReturnType<typeof chance>, before: number, now: () => number): Promise<void> {
    const began = performance.now()
    const meanwhile = () => eventually(() => now() >= before + 20 || performance.now() - began > 1_500)
    const die = async (service: string, replica: number) => {
      const restarted = whole.nextStart(service)
      kill(whole.processOf(service, replica).pid)
      await restarted
    }
    const ways: Record<Fault, () => Promise<void>> = {
      'realtime 1 killed': () => die('realtime', 1),
      'realtime 2 killed': () => die('realtime', 2),
      'conversation killed': () => die('conversation', 1),
      async 'broker cut'() {
        toBroker.cut()
        await meanwhile()
        toBroker.restore()
      },
      async 'broker cut for realtime'() {
        toBroker.cut('realtime')
        await meanwhile()
        toBroker.restore('realtime')
      },
      async 'broker held for conversation'() {
        toBroker.hold('conversation', random.pick(['in', 'out'] as const))
        await meanwhile()
        if (random.next() < 0.5) toBroker.drop('conversation')
        toBroker.restore('conversation')
      },
      async 'clients dropped'() {
        toGateway.drop()
      },
      async 'clients cut'() {
        toGateway.cut()
        await meanwhile()
        toGateway.restore()
      },
    }
    await ways[fault]()
  }
})
