// Two services' worth of a trace in one process, run under otel.ts by telemetry.test.ts.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInternalTokens } from '../src/internal.ts'
import { silentLogger } from '../src/logger.ts'
import { createPeer } from '../src/peer.ts'
import { currentCarrier, flushTelemetry, span, withCarrier } from '../src/telemetry.ts'

const server = createServer((req, res) => {
  res.end(JSON.stringify({ header: req.headers.traceparent, active: currentCarrier()?.traceparent }))
})
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
const internalTokens = createInternalTokens({ secrets: ['x'.repeat(32)], name: 'fixture' })
const peer = createPeer({
  name: 'it',
  url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  internalTokens,
  log: silentLogger,
})

const told = await span('send', {}, async () => {
  const outer = currentCarrier()
  const { body } = await peer.call<object>({
    method: 'GET',
    path: '/uploads/chat/a/9zz-secret-signature/crop.jpg',
    query: { access_token: 'secret-query' },
  })
  await span('fails', {}, () => Promise.reject(new Error('refused with Bearer secret-token'))).catch(() => undefined)
  const outside = withCarrier(undefined, currentCarrier) ?? null
  const restored = withCarrier(outer, currentCarrier)
  return { outer: outer?.traceparent, ...body, outside, restored: restored?.traceparent }
})
const child = await span('relay', {}, () => currentCarrier()?.traceparent, told.outer ? { parent: { traceparent: told.outer } } : {})
process.stdout.write(`${JSON.stringify({ ...told, child })}\n`)
await peer.stop?.()
server.close()
await flushTelemetry()
