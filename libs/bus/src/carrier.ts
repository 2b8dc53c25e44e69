// The trace context beside an event: taken from the active span, checked, restored. An invalid carrier never travels on.
import { type Context, context, propagation, ROOT_CONTEXT } from '@opentelemetry/api'
import type { Carrier } from './bus.ts'

// W3C Trace Context, version 00: ids of only zeros are what a switched-off exporter yields.
const traceparent = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/

/** The carrier if it is valid, else null. */
export function validCarrier(carrier: { readonly traceparent?: unknown; readonly tracestate?: unknown } | undefined): Carrier | null {
  if (typeof carrier?.traceparent !== 'string' || !traceparent.test(carrier.traceparent)) return null
  const { tracestate } = carrier
  const kept = typeof tracestate === 'string' && tracestate !== '' && tracestate.length <= 512
  return kept ? { traceparent: carrier.traceparent, tracestate } : { traceparent: carrier.traceparent }
}

/** The active trace, to be stored with an event; undefined when there is none (never an invalid one). */
export function activeCarrier(): Carrier | undefined {
  const found: Record<string, string> = {}
  propagation.inject(context.active(), found)
  return validCarrier(found) ?? undefined
}

/** Where an event's publishing or handling belongs: its stored trace, or none. */
export function contextOf(carrier: Carrier | null): Context {
  return carrier === null ? ROOT_CONTEXT : propagation.extract(ROOT_CONTEXT, carrier)
}

/** The carrier an outgoing event travels with: its own, or the active one if it names none. */
export function carrierFor(event: { readonly carrier?: Carrier }): Carrier | null {
  return event.carrier === undefined ? (activeCarrier() ?? null) : validCarrier(event.carrier)
}
