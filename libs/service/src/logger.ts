// Logs: one JSON line an event, with the trace and request they belong to and without what must not be written down.
import { isSpanContextValid, trace } from '@opentelemetry/api'
import { type DestinationStream, destination, type Logger, pino } from 'pino'
import { currentRequestId } from './request-context.ts'

export type { Logger } from 'pino'

const forbidden =
  /^(authorization|proxy-authorization|cookie|set-cookie|token|access_?token|refresh_?token|id_?token|jwt|secrets?|.*secrets?|password|passwd|pass|pwd|phone|phone_?number|credentials?|private_?key|secret_?access_?key|access_?key|api_?key|x-api-key|signature|sig)$/i
const deepest = 6

/** A logger of `name`; to stdout, or to stderr where stdout carries the ready line (`readyLine`). */
export function createLogger(config: { logLevel: string; readyLine?: boolean }, name: string, to?: DestinationStream): Logger {
  return pino(
    {
      name,
      level: config.logLevel,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }), log: (fields) => redact(fields, 0) as Record<string, unknown> },
      serializers: { err: describeError },
      mixin: belonging,
      hooks: {
        // pino takes an error's text for the line's own, and texts are not fields: both are scrubbed here.
        logMethod(args, method) {
          const [first, ...rest] = args as [unknown, ...unknown[]]
          const given: unknown[] = Error.isError(first) && rest.length === 0 ? [{ err: first }, first.message] : args
          method.apply(this, given.map((one) => (typeof one === 'string' ? scrub(one) : one)) as Parameters<typeof method>)
        },
      },
    },
    to ?? destination({ fd: config.readyLine ? 2 : 1, sync: true }),
  )
}

export const silentLogger: Logger = pino({ level: 'silent' })

function belonging(): Record<string, string> {
  const fields: Record<string, string> = {}
  const context = trace.getActiveSpan()?.spanContext()
  if (context && isSpanContextValid(context)) {
    fields.trace_id = context.traceId
    fields.span_id = context.spanId
  }
  const requestId = currentRequestId()
  if (requestId) fields.requestId = requestId
  return fields
}

function redact(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return scrub(value)
  if (typeof value !== 'object' || value === null) return value
  if (Error.isError(value)) return depth === 0 ? { err: value } : describeError(value)
  if (value instanceof Date) return value
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`
  if (depth >= deepest) return '[deep]'
  if (Array.isArray(value)) return value.slice(0, 100).map((item) => redact(item, depth + 1))
  const clean: Record<string, unknown> = {}
  for (const [key, item] of Object.entries(value)) {
    clean[key] = forbidden.test(key) && item !== undefined && item !== null ? '[redacted]' : redact(item, depth + 1)
  }
  return clean
}

/** Credentials inside a text: bearer tokens, JWTs, passwords in URLs. Takes time in proportion to the text, whatever a caller put in it. */
export function scrub(text: string): string {
  if (text.length < 8) return text
  return text
    .replace(/\bBearer\s+[\w.~+/=-]+/gi, 'Bearer [redacted]')
    .replace(/(?<![\w.-])[\w.-]{10,}/g, (run) => (run.includes('eyJ') ? withoutTokens(run) : run))
    .replace(/(\w:\/\/)[^\s/@:]*:[^\s/@]+@/g, '$1[redacted]@')
}

/** JWTs in a run of their characters: two parts and a signature, which may be cut off, the first beginning with `{"` in Base64. */
function withoutTokens(run: string): string {
  const parts = run.split('.')
  const clean: string[] = []
  for (let index = 0; index < parts.length; index += 1) {
    const part = parts[index] ?? ''
    const begins = parts[index + 1] && parts[index + 2] !== undefined ? part.search(/\beyJ[\w-]{4}/) : -1
    clean.push(begins === -1 ? part : `${part.slice(0, begins)}[redacted]`)
    if (begins !== -1) index += 2
  }
  return clean.join('.')
}

/** An error without the fields that libraries hang on it (request headers, configurations). */
function describeError(error: unknown): unknown {
  if (!Error.isError(error)) return redact(error, 1)
  const { name, message, stack, cause } = error
  const code = 'code' in error && (typeof error.code === 'string' || typeof error.code === 'number') ? { code: error.code } : {}
  return {
    type: name,
    message: scrub(message),
    ...code,
    stack: scrub(stack ?? ''),
    ...(cause === undefined ? {} : { cause: Error.isError(cause) ? describeError(cause) : redact(cause, 1) }),
  }
}
