// Between the commit and the screen (quality "Lossless" 1–3, 9–11): conversation and stats killed at each step, two realtime replicas, one effect each.
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { type BrokerLink, brokerLink } from '../support/broker-link.ts'
import { eventually, rest } from '../support/client.ts'
import { type Agent, type Farmer, heard, join, type Scene, say, scene } from '../support/scene.ts'
import { needAll } from '../support/servers.ts'
import { kill, startServices, type Whole } from '../support/whole.ts'

const suite = needAll('between the commit and the screen', 'AMQP_URL', 'MONGODB_URL')
describe.each(suite ? [suite] : [])('%s', () => {
  let link: BrokerLink
  let whole: Whole
  let people: Scene
  let asha: Agent

  beforeAll(async () => {
    link = await brokerLink(process.env.AMQP_URL ?? '')
    whole = await startServices({
      replicas: 'realtime=2',
      env: {
        AMQP_URL: link.url,
        AGENT_CAPACITY: '100',
        AGENT_GRACE_MS: '600000',
        STATS_ROLL_UP_MS: '200',
        STATS_GATHER_MS: '50',
        STATS_GAP_WAIT_MS: '500',
      },
    })
    people = scene(whole)
    asha = await people.agent('asha')
  }, 90_000)
  afterEach(() => link?.restore())
  afterAll(async () => {
    people?.close()
    await whole?.stop()
    await link?.close()
  }, 30_000)

  /** A farmer and the agent, each with a socket that has joined from the beginning. */
  async function twoJoined() {
    const farmer = await people.farmer()
    const phone = people.connect(farmer.token)
    for (const each of [phone, asha.client]) await join(each, farmer.conversationId)
    return { farmer, phone }
  }

  /** Ends with a message that comes after everything: whatever would come again has come before it. */
  async function expectOnceInOrder(farmer: Farmer, phone: Agent['client'], count: number) {
    await say(farmer, farmer.conversationId, `${farmer.id} last`)
    for (const each of [phone, asha.client]) {
      await each.next('message:new', ({ message }) => message.content === `${farmer.id} last`, 40_000)
    }
    const history = await people.history(farmer.conversationId)
    expect(history.map(({ seq }) => seq)).toEqual(Array.from({ length: count + 1 }, (_, index) => index + 1))
    for (const each of [phone, asha.client]) expect(heard(each, farmer.conversationId)).toEqual(history)
  }

  async function killAndWait(service: string, replica = 1) {
    const restarted = whole.nextStart(service)
    kill(whole.processOf(service, replica).pid)
    link.drop(service)
    link.restore()
    const { url } = await restarted
    await eventually(async () => (await rest(url)('GET', '/health/ready')).status === 200, 30_000)
  }

  async function counted() {
    const { body } = await people.admin('GET', '/support/stats')
    return body.data.totals.messages as { User: number; Support: number }
  }

  /** Waits until statistics have counted a message that the agent says now: what was published before it has been handled by then. */
  async function expectCounted(farmer: Farmer, before: { User: number; Support: number }, farmersMessages: number) {
    await say(asha, farmer.conversationId, `agent to ${farmer.id}`)
    const now = await eventually(async () => {
      const totals = await counted()
      return totals.Support > before.Support && totals
    }, 30_000)
    expect(now).toMatchObject({ User: before.User + farmersMessages, Support: before.Support + 1 })
  }

  const three = (farmer: Farmer) => ['one', 'two', 'three'].map((content) => `${farmer.id} ${content}`)

  test('1: conversation killed between the commit and the publish: every client gets each message once', async () => {
    const { farmer, phone } = await twoJoined()
    link.hold('conversation', 'out')
    for (const content of three(farmer)) await say(farmer, farmer.conversationId, content)
    expect(heard(asha.client, farmer.conversationId)).toEqual([])
    await killAndWait('conversation')
    await expectOnceInOrder(farmer, phone, 3)
  }, 90_000)

  test('2: conversation killed after the publish, before it has taken the confirm: no client and no figure counts twice', async () => {
    const { farmer, phone } = await twoJoined()
    const before = await counted()
    link.hold('conversation', 'in')
    for (const content of three(farmer)) await say(farmer, farmer.conversationId, content)
    await asha.client.next('message:new', ({ message }) => message.content === `${farmer.id} three`)
    await killAndWait('conversation')
    await expectOnceInOrder(farmer, phone, 3)
    await expectCounted(farmer, before, 4)
  }, 90_000)

  test('3: stats killed before the broker has its acknowledgements: redelivered, counted once', async () => {
    const { farmer } = await twoJoined()
    const before = await counted()
    link.hold('stats', 'out')
    for (const content of three(farmer)) await say(farmer, farmer.conversationId, content)
    await eventually(async () => (await counted()).User === before.User + 3, 30_000)
    await killAndWait('stats')
    await expectCounted(farmer, before, 3)
  }, 90_000)

  test('9: one clientMessageId five times at once, over HTTP and sockets of both replicas: one message; other content: 409', async () => {
    const farmer = await people.farmer()
    const { conversationId } = farmer
    const sockets = [1, 2].map((replica) => people.connect(farmer.token, {}, whole.processOf('realtime', replica).url))
    for (const each of sockets) await each.next('connect')
    const body = { conversationId, content: 'hello', clientMessageId: 'the-same' }
    const answers = await Promise.all([
      ...[1, 2, 3].map(async () => {
        const answer = await farmer.api('POST', '/messages', body)
        return { status: answer.status, id: answer.body.data?._id }
      }),
      ...sockets.map(async (socket) => {
        const answer = await socket.ask('message:send', body)
        return { status: answer.ok ? 200 : answer.error, id: answer.data?.messageId }
      }),
    ])
    const [one] = await people.history(conversationId)
    expect(answers.map(({ id }) => id)).toEqual(answers.map(() => one?._id))
    expect(answers.filter(({ status }) => status === 201).length).toBeLessThanOrEqual(1)
    expect(answers.every(({ status }) => status === 200 || status === 201)).toBe(true)
    expect(await people.history(conversationId)).toHaveLength(1)

    expect((await farmer.api('POST', '/messages', { ...body, content: 'other' })).status).toBe(409)
    expect(await sockets[0]?.ask('message:send', { ...body, content: 'other' })).toMatchObject({
      ok: false,
      error: { code: 'IDEMPOTENCY_CONFLICT' },
    })
    expect(await people.history(conversationId)).toHaveLength(1)
  }, 60_000)

  test('10: a client away, back on another replica: the gap is filled, in order, none twice', async () => {
    const { farmer } = await twoJoined()
    const { conversationId } = farmer
    const [first, second] = [1, 2].map((replica) => whole.processOf('realtime', replica).url)
    const before = people.connect(farmer.token, {}, first)
    await join(before, conversationId)
    for (const content of three(farmer)) await say(farmer, conversationId, content)
    await before.next('message:new', ({ message }) => message.seq === 3)
    before.close()

    const missed = Array.from({ length: 30 }, (_, index) => index)
    await Promise.all([
      ...missed.map((index) => say(farmer, conversationId, `farmer ${index}`)),
      ...missed.map((index) => say(asha, conversationId, `agent ${index}`)),
    ])
    const back = people.connect(farmer.token, {}, second)
    const writing = say(asha, conversationId, 'while it joins')
    const joined = await back.ask('conversation:join', { conversationId, afterSeq: 3 })
    await writing
    await say(asha, conversationId, 'the end')
    await back.next('message:new', ({ message }) => message.content === 'the end')
    const list = [...heard(before, conversationId), ...joined.data.messages, ...heard(back, conversationId)]
    expect(list.map(({ _id, seq }) => [_id, seq])).toEqual((await people.history(conversationId)).map(({ _id, seq }) => [_id, seq]))
    expect(list).toHaveLength(3 + 60 + 2)
  }, 60_000)

  test('11: sender and receiver on two replicas: each message is delivered once to each, in order', async () => {
    const farmer = await people.farmer()
    const { conversationId } = farmer
    const [one, two] = [1, 2].map((replica) => whole.processOf('realtime', replica).url)
    const phone = people.connect(farmer.token, {}, one)
    const desk = people.connect(asha.token, {}, two)
    for (const each of [phone, desk]) await join(each, conversationId)
    const sending = Array.from({ length: 20 }, (_, index) => [
      phone.ask('message:send', { conversationId, content: `farmer ${index}` }),
      desk.ask('message:send', { conversationId, content: `agent ${index}` }),
    ]).flat()
    for (const answer of await Promise.all(sending)) expect(answer).toMatchObject({ ok: true })
    for (const each of [phone, desk]) await each.next('message:new', ({ message }) => message.seq === 40)
    await say(farmer, conversationId, 'last')
    for (const each of [phone, desk]) await each.next('message:new', ({ message }) => message.content === 'last')
    const history = await people.history(conversationId)
    expect(history).toHaveLength(41)
    for (const each of [phone, desk]) expect(heard(each, conversationId)).toEqual(history)
    for (const each of [phone, desk]) expect(each.all('message:sent')).toHaveLength(20)
    for (const who of ['farmer', 'agent']) {
      const said = history.filter(({ content }) => content.startsWith(`${who} `)).map(({ content }) => content)
      expect(said).toEqual(Array.from({ length: 20 }, (_, index) => `${who} ${index}`))
    }
  }, 60_000)
})
