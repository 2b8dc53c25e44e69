// Which headers pass the gateway, in and out. Only what a service needs goes in, so nothing that looks like an identity does.
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { isSpanContextValid, trace } from '@opentelemetry/api'
import type { Origin } from './address.ts'

const passedIn = [
  'accept',
  'accept-language',
  'authorization',
  'content-encoding',
  'content-type',
  'idempotency-key',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'range',
  'user-agent',
] as const
/** The Socket.IO handshake names its person in `auth.token` only, so no `authorization` here. */
const passedToRealtime = ['accept', 'accept-encoding', 'accept-language', 'content-type', 'origin', 'user-agent'] as const
const traceHeaders = ['traceparent', 'tracestate'] as const

const keptBack = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'server',
  'x-powered-by',
  'x-request-id',
  'date',
])

/** Headers for the service, as name and value in turn. `x-forwarded-*` and the request id are ours alone. */
export function headersIn(req: IncomingMessage, to: 'rest' | 'realtime', origin: Origin, requestId: string): string[] {
  const headers: string[] = []
  for (const name of to === 'rest' ? passedIn : passedToRealtime) take(headers, req.headers, name)
  // A running tracer writes these itself, with this hop in them.
  if (!isTraced()) for (const name of traceHeaders) take(headers, req.headers, name)
  headers.push(
    'x-request-id',
    requestId,
    'x-forwarded-for',
    origin.address,
    'x-forwarded-proto',
    origin.proto,
    'x-forwarded-host',
    origin.host,
  )
  return headers
}

function take(into: string[], from: IncomingHttpHeaders, name: string): void {
  const value = from[name]
  if (typeof value === 'string') into.push(name, value)
}

function isTraced(): boolean {
  const active = trace.getActiveSpan()?.spanContext()
  return active !== undefined && isSpanContextValid(active)
}

/** Whether a header of a service's answer is the client's too. CORS is decided here, not there. */
export function passesOut(name: string): boolean {
  return !keptBack.has(name) && !name.startsWith('access-control-')
}
