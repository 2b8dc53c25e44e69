// One trace: a message:send is followed through realtime, conversation, the broker hop and the emit, in a collector; of the embedded process too.
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { client, eventually, rest } from '../support/client.ts'
import { type Collector, jaeger, ownCollector, type SeenSpan } from '../support/collector.ts'
import { withBroker } from '../support/servers.ts'
import { startEmbedded, startServices, token, type Whole } from '../support/whole.ts'

const { JAEGER_URL, OTLP_URL = 'http://127.0.0.1:4318' } = process.env
const realCollector = async () => (JAEGER_URL ? jaeger(JAEGER_URL, OTLP_URL) : ownCollector())
const [service, emit] = [(name: string) => (span: SeenSpan) => span.service === name, ({ name }: SeenSpan) => /message:new/.test(name)]
const ways = [
  ['the embedded process', startEmbedded, ownCollector, { 'socket door': ({ name }: SeenSpan) => name === 'socket message:send', emit }],
  [
    withBroker('five processes'),
    startServices,
    realCollector,
    { realtime: service('realtime'), conversation: service('conversation'), 'broker hop': ({ onBroker }: SeenSpan) => onBroker, emit },
  ],
] as const

describe.each(ways.filter(([name]) => name !== null))('%s', (_name, start, collect, rooms) => {
  let collector: Collector
  let whole: Whole
  beforeAll(async () => {
    collector = await collect()
    whole = await start({ env: collector.env })
  }, 90_000)
  afterAll(async () => {
    await whole?.stop()
    await collector?.close()
  }, 30_000)

  test('message:send shows each of its rooms under one trace id', async () => {
    const farmer = token('User', 'farmer-traced')
    const { body } = await rest(whole.url, farmer)('POST', '/conversations')
    const phone = client(whole.url, farmer, { transports: ['websocket'] })
    const traceId = randomBytes(16).toString('hex')
    try {
      await phone.ask('conversation:join', { conversationId: body.data._id })
      expect(
        await phone.ask('message:send', {
          conversationId: body.data._id,
          content: 'follow me',
          traceparent: `00-${traceId}-00f067aa0ba902b7-01`,
        }),
      ).toMatchObject({ ok: true })
      await phone.next('message:new')
    } finally {
      phone.close()
    }
    // Each process sends its spans in its own time.
    await eventually(async () => {
      const spans = await collector.spansOf(traceId)
      const missing = Object.entries(rooms).filter(([, isIt]) => !spans.some(isIt))
      if (missing.length > 0) throw new Error(`no span of ${missing.map(([room]) => room).join(', ')} among ${JSON.stringify(spans)}`)
      return true
    }, 30_000)
  }, 60_000)
})
