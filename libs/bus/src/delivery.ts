// One delivery as a handler sees it, the headers we add on its way, and the bytes of an event.
import type { Delivery } from './bus.ts'

/** Failed handlings so far. Ours, because broker counts differ between RabbitMQ 3.10 and 4.3. */
export const attemptsHeader = 'x-fieldline-attempts'
/** Where a retried or dead event was published first: on its way back it comes through the default exchange. */
export const exchangeHeader = 'x-fieldline-exchange'
export const routingKeyHeader = 'x-fieldline-routing-key'
/** Why a dead event is dead. */
export const reasonHeader = 'x-fieldline-reason'

type Headers = Readonly<Record<string, unknown>>

/** The event as JSON bytes. @throws TypeError when it has no JSON form */
export function bytesOf(body: unknown): Buffer {
  if (Buffer.isBuffer(body)) return body
  const json = typeof body === 'string' ? body : JSON.stringify(body)
  if (json === undefined) throw new TypeError(`An event body must have a JSON form, got ${typeof body}`)
  return Buffer.from(json)
}

/** A delivery that parses its body when it is read first. */
export class LazyDelivery implements Delivery {
  readonly raw: Buffer
  readonly headers: Headers
  readonly exchange: string
  readonly routingKey: string
  readonly redelivered: boolean
  readonly #acknowledge: () => void
  #parsed: { body: unknown } | null = null
  #acked = false

  constructor(
    from: { raw: Buffer; headers: Headers; exchange: string; routingKey: string; redelivered: boolean },
    acknowledge: () => void,
  ) {
    this.raw = from.raw
    this.headers = from.headers
    this.exchange = textHeader(from.headers, exchangeHeader) ?? from.exchange
    this.routingKey = textHeader(from.headers, routingKeyHeader) ?? from.routingKey
    this.redelivered = from.redelivered
    this.#acknowledge = acknowledge
  }

  get body(): unknown {
    this.#parsed ??= { body: JSON.parse(this.raw.toString()) }
    return this.#parsed.body
  }

  get attempts(): number {
    const failed = this.headers[attemptsHeader]
    return typeof failed === 'number' && Number.isInteger(failed) && failed > 0 ? failed + 1 : 1
  }

  ack(): void {
    if (this.#acked) return
    this.#acked = true
    this.#acknowledge()
  }

  /** The same delivery with a body that was parsed by the consumer's contract. */
  withBody<Body>(body: Body): Delivery<Body> {
    const { raw, headers, exchange, routingKey, redelivered, attempts } = this
    return { body, raw, headers, exchange, routingKey, redelivered, attempts, ack: () => undefined }
  }
}

export function textHeader(headers: Headers, name: string): string | null {
  const value = headers[name]
  return typeof value === 'string' ? value : null
}

/** Headers for the next attempt: one failure more, and where it came from first. */
export function headersForRetry(delivery: Delivery): Record<string, unknown> {
  return {
    ...delivery.headers,
    [attemptsHeader]: delivery.attempts,
    [exchangeHeader]: delivery.exchange,
    [routingKeyHeader]: delivery.routingKey,
  }
}

export function headersForDead(delivery: Delivery, reason: string): Record<string, unknown> {
  return { ...headersForRetry(delivery), [reasonHeader]: reason }
}

/** Headers of a dead event that is put back: as if it had never been tried. Where it came from stays. */
export function headersForReplay(headers: Headers): Record<string, unknown> {
  const { [attemptsHeader]: _attempts, [reasonHeader]: _reason, 'x-death': _death, ...kept } = headers
  return kept
}
