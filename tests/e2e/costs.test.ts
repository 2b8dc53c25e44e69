// What an operation costs, in counts that need no quiet machine: queries, broker publishes, bytes. A change that moves one moves `costs.json` with it, on purpose:
// UPDATE_COSTS=1 npm run jest -- --selectProjects e2e --testPathPatterns costs
import { readFileSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { eventually } from '../support/client.ts'
import { type MongoEar, mongoEar } from '../support/mongo-ear.ts'
import { type Agent, answered, type Farmer, join, type Scene, scene } from '../support/scene.ts'
import { needAll } from '../support/servers.ts'
import { startServices, type Whole } from '../support/whole.ts'

const file = new URL('costs.json', import.meta.url)
const expected = JSON.parse(readFileSync(file, 'utf8')) as Record<string, Record<string, number>>
const found: Record<string, Record<string, number>> = {}
const isUpdate = process.env.UPDATE_COSTS === '1'

const times = 10
const text = 'My tomato leaves are turning yellow, what can I do?'
const never = '3600000'

const suite = needAll('costs of operations', 'MONGODB_URL', 'AMQP_URL')
describe.each(suite ? [suite] : [])('%s', () => {
  let ear: MongoEar
  let whole: Whole
  let people: Scene
  let agent: Agent
  let farmer: Farmer

  beforeAll(async () => {
    ear = await mongoEar(process.env.MONGODB_URL ?? '')
    // Nothing that runs by the clock: only what the operation itself causes is counted.
    const env = { RELAY_SWEEP_MS: never, ASSIGNMENT_SWEEP_MS: never, HEADS_EVERY_MS: never, AGENT_CAPACITY: '100', LOG_LEVEL: 'warn' }
    whole = await startServices({ env: { ...env, MONGODB_URL: ear.url } })
    people = scene(whole)
    agent = await people.agent('asha')
    farmer = await people.farmer('rajesh')
    for (let n = 0; n < 60; n += 1) await send(`warm-${n}`)
    await answered(() => agent.api('PATCH', `/conversations/${farmer.conversationId}/read`))
    await eventually(
      async () => (await answered(() => people.admin('GET', `/conversations/${farmer.conversationId}`))).body.data.status === 'open',
    )
  }, 90_000)
  afterAll(async () => {
    people?.close()
    await whole?.stop()
    await ear?.close()
    if (isUpdate) writeFileSync(file, `${JSON.stringify(found, null, 2)}\n`)
  })

  const send = (key: string) =>
    answered(() => farmer.api('POST', '/messages', { conversationId: farmer.conversationId, content: text, clientMessageId: key }))

  function hold(name: string, costs: Record<string, number>): void {
    found[name] = costs
    if (!isUpdate) expect({ [name]: costs }).toEqual({ [name]: expected[name] })
  }

  /** Commands an operation sends to conversation's database, each; what leaves outboxes by the clock is left out. */
  async function queries(operation: (turn: number) => Promise<unknown>): Promise<Record<string, number>> {
    await operation(-1)
    await quiet()
    ear.heard('')
    const totals: Record<string, number> = {}
    for (let turn = 0; turn < times; turn += 1) {
      await operation(turn)
      await quiet()
    }
    for (const [command, count] of Object.entries(ear.heard('fieldline_conversation'))) {
      // Rounded: a stray one belongs to what runs beside (a pass of the queue after somebody came online), not to the operation.
      const each = Math.round(count / times)
      if (each > 0 && command !== 'update many conversations') totals[command] = each
    }
    return totals
  }
  /** Resolves when everything published so far is confirmed, and what follows from an operation has been asked. */
  async function quiet(): Promise<void> {
    await eventually(async () => (await metric('conversation', 'fieldline_outbox_held_events')) === 0)
  }
  async function metric(service: string, name: string): Promise<number> {
    const lines = await (await fetch(`${whole.processOf(service).url}/metrics`)).text()
    const values = lines.split('\n').filter((line) => line.startsWith(name) && !line.startsWith('#'))
    return values.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
  }

  const page = () => answered(() => farmer.api('GET', `/messages/${farmer.conversationId}?limit=50`))
  const operations: [name: string, operation: (turn: number) => Promise<unknown>][] = [
    ['send', (turn) => send(`rest-${turn}`)],
    ['retry of a send', () => send('rest-0')],
    ['page of 50 messages', page],
    ['my conversations', () => answered(() => farmer.api('GET', '/conversations'))],
    ['support list', () => answered(() => agent.api('GET', '/support/conversations'))],
    ['conversation that is there', () => answered(() => farmer.api('POST', '/conversations'))],
    [
      'send, then read by the agent',
      async (turn) => {
        await send(`read-${turn}`)
        await answered(() => agent.api('PATCH', `/conversations/${farmer.conversationId}/read`))
      },
    ],
  ]
  test.each(operations)('queries of: %s', async (name, operation) => {
    hold(`queries: ${name}`, await queries(operation))
  })

  test('a message is published once', async () => {
    const before = await metric('conversation', 'fieldline_outbox_events_total')
    for (let turn = 0; turn < times; turn += 1) await send(`published-${turn}`)
    await quiet()
    hold('broker publishes: send', { events: ((await metric('conversation', 'fieldline_outbox_events_total')) - before) / times })
  })

  test('bytes and packets on the sockets', async () => {
    const phone = people.connect(farmer.token, { transports: ['websocket'] })
    await phone.next('connect')
    await join(phone, farmer.conversationId)
    await join(agent.client, farmer.conversationId)
    const packets: string[] = []
    phone.socket.io.engine.on('packet', ({ type, data }: { type: string; data?: unknown }) => {
      if (type === 'message') packets.push(String(data))
    })
    await phone.ask('message:send', {
      conversationId: farmer.conversationId,
      messageType: 'text',
      content: text,
      clientMessageId: 'bytes-1',
    })
    await phone.next('message:new', ({ message }) => message.clientMessageId === 'bytes-1')
    const sizeOf = (part: string) => Buffer.byteLength(packets.find((packet) => packet.includes(part)) ?? '')
    hold('bytes: socket', {
      'message:new': sizeOf('"message:new"'),
      'message:sent': sizeOf('"message:sent"'),
      acknowledgement: sizeOf('"ok":true'),
      packets: packets.length,
    })
  })
})
