// Spans by hand, and the trace context carried over the places where it breaks by itself: relay, lane, memory bus.
import {
  type Attributes,
  context,
  type Exception,
  isSpanContextValid,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api'
import { scrub } from './logger.ts'

/** W3C trace context as it is stored beside an event. */
export interface Carrier {
  traceparent: string
  tracestate?: string
}

const tracer = trace.getTracer('fieldline')
const kinds = {
  internal: SpanKind.INTERNAL,
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
}

export interface SpanOptions {
  /** The span's parent instead of the active one. */
  parent?: Carrier | undefined
  kind?: keyof typeof kinds
}

/** Runs `fn` in a span of its own; a rejection marks it failed and goes on. Costs next to nothing where no SDK runs. */
export async function span<T>(
  name: string,
  attributes: Attributes,
  fn: (span: Span) => Promise<T> | T,
  options: SpanOptions = {},
): Promise<T> {
  const from = options.parent ? contextOf(options.parent) : context.active()
  return tracer.startActiveSpan(name, { attributes, kind: kinds[options.kind ?? 'internal'] }, from, async (active) => {
    try {
      return await fn(active)
    } catch (error) {
      active.recordException(Error.isError(error) ? harmless(error) : scrub(String(error)))
      active.setStatus({ code: SpanStatusCode.ERROR })
      throw error
    } finally {
      active.end()
    }
  })
}

/** The active trace, to be stored; undefined where there is none, so that no zero ids are ever kept. */
export function currentCarrier(): Carrier | undefined {
  const active = trace.getSpanContext(context.active())
  if (!active || !isSpanContextValid(active)) return undefined
  const carrier: { traceparent?: string; tracestate?: string } = {}
  propagation.inject(context.active(), carrier)
  const { traceparent, tracestate } = carrier
  if (traceparent === undefined) return undefined
  return tracestate === undefined || tracestate === '' ? { traceparent } : { traceparent, tracestate }
}

/** Runs `fn` as part of a stored trace; without one, of none: what happens to be active here is somebody else's. */
export function withCarrier<T>(carrier: Carrier | undefined, fn: () => T): T {
  return context.with(carrier ? contextOf(carrier) : ROOT_CONTEXT, fn)
}

function harmless({ name, message, stack }: Error): Exception {
  return { name, message: scrub(message), ...(stack === undefined ? {} : { stack: scrub(stack) }) }
}

const addresses = /^(http\.(url|target)|url\.(full|path|query))$/

/** Takes out of a request's span what opens something: the query, where somebody may have put a token, and the signature of a media link. */
export function withoutKeys(active: Span): void {
  const attributes = 'attributes' in active ? (active.attributes as Attributes) : {}
  for (const [name, value] of Object.entries(attributes)) {
    if (!addresses.test(name) || typeof value !== 'string') continue
    const [path = ''] = name === 'url.query' ? [] : value.split('?', 1)
    active.setAttribute(name, path.replace(/(\/uploads\/chat\/[^/]*\/)[^/]+/, '$1[signature]'))
  }
}

const flushKey = Symbol.for('fieldline.telemetry.flush')

/** `otel.ts` runs before everything and leaves here how its last spans are sent. */
export function onFlush(flush: () => Promise<void>): void {
  Object.assign(globalThis, { [flushKey]: flush })
}

/** Sends what spans are left, within 2 s. */
export async function flushTelemetry(): Promise<void> {
  const flush: unknown = Reflect.get(globalThis, flushKey)
  if (typeof flush !== 'function') return
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, 2_000)
  })
  await Promise.race([Promise.resolve(flush()).catch(() => undefined), late])
  clearTimeout(timer)
}

function contextOf(carrier: Carrier) {
  return propagation.extract(ROOT_CONTEXT, carrier)
}
