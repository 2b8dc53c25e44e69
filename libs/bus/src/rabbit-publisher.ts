// Writing to RabbitMQ: one confirm channel in call order, returns and confirms matched to callers, back-pressure told; signals apart.
import type { Channel, ChannelModel, ConfirmChannel, Options } from 'amqplib'
import { asError, within } from './attempt.ts'
import { type BusMetrics, Nacked, Unavailable, Unroutable } from './bus.ts'
import { bundling } from './rabbit-turns.ts'

/** More unconfirmed events than any window asks for; beyond it a caller that ignores `writable` is refused, so that memory stays flat. */
const maxUnconfirmed = 10_000

/** Tells which write was returned: not the event's id, as one event may be in flight twice, and confirms come in batches. */
const publishHeader = 'x-fieldline-publish'

interface Pending {
  readonly since: number
  readonly reject: (reason: Error) => void
}

interface Session {
  readonly confirms: ConfirmChannel
  readonly signals: Channel
  /** In the order they were written. */
  readonly pending: Set<Pending>
  /** Returned, and not confirmed yet: by the number they carry in `publishHeader`. */
  readonly returned: Set<number>
  /** Lets what is written in this turn go out together. */
  readonly bundle: () => void
  written: number
  full: boolean
  signalsFull: boolean
  blocked: boolean
  flowingSince: number
}

export class RabbitPublisher {
  readonly #metrics: BusMetrics | undefined
  readonly #confirmTimeoutMs: number
  #session: Session | null = null
  #closed = false
  #writers: { resolve: () => void; reject: (reason: Error) => void }[] = []
  #flushers: (() => void)[] = []
  #overdueTimer: NodeJS.Timeout | null = null

  constructor(options: { metrics: BusMetrics | undefined; confirmTimeoutMs: number }) {
    this.#metrics = options.metrics
    this.#confirmTimeoutMs = options.confirmTimeoutMs
  }

  /** Takes a fresh connection into use. `onFailure`: the broker closed a channel. */
  async open(model: ChannelModel, signals: Channel, onFailure: (reason: Error) => void): Promise<void> {
    const confirms = await model.createConfirmChannel()
    const session: Session = {
      confirms,
      signals,
      pending: new Set(),
      returned: new Set(),
      bundle: bundling(model),
      written: 0,
      full: false,
      signalsFull: false,
      blocked: false,
      flowingSince: 0,
    }
    confirms.on('error', onFailure)
    confirms.on('return', ({ properties }) => {
      session.returned.add(Number(properties.headers?.[publishHeader]))
    })
    confirms.on('drain', () => {
      session.full = false
      this.#wakeWriters()
    })
    signals.on('drain', () => {
      session.signalsFull = false
    })
    model.on('blocked', () => {
      session.blocked = true
    })
    model.on('unblocked', () => {
      session.blocked = false
      session.flowingSince = performance.now()
      this.#wakeWriters()
    })
    this.#session = session
    this.#overdueTimer = setInterval(() => this.#rejectOverdue(session), Math.min(1_000, this.#confirmTimeoutMs)).unref()
    this.#wakeWriters()
  }

  /** The connection is gone: what isn't confirmed has an unknown outcome. */
  lost(reason: Error): void {
    const session = this.#session
    if (session === null) return
    this.#session = null
    if (this.#overdueTimer !== null) clearInterval(this.#overdueTimer)
    for (const { reject } of session.pending) this.#fail(reject, new Unavailable(`lost before the confirm: ${reason.message}`))
    session.pending.clear()
    this.#wakeFlushers()
  }

  /** Writes at once; resolves at the broker's confirm. @throws Unroutable, Nacked, Unavailable, TypeError (properties) */
  send(exchange: string, routingKey: string, content: Buffer, properties: Options.Publish & { messageId: string }): Promise<void> {
    const session = this.#session
    if (session === null || this.#closed) return this.#refuse(new Unavailable('not connected to the broker'))
    if (session.pending.size >= maxUnconfirmed) return this.#refuse(new Unavailable(`${maxUnconfirmed} events are unconfirmed`))
    const number = ++session.written
    const headers = { ...properties.headers, [publishHeader]: number }
    return new Promise((resolve, reject) => {
      const pending: Pending = { since: performance.now(), reject }
      const onConfirm = (refusal: unknown) => {
        const returned = session.returned.delete(number)
        if (!session.pending.delete(pending)) return
        if (refusal) this.#fail(reject, refusalError(asError(refusal)))
        else if (returned) this.#fail(reject, new Unroutable(`no queue takes ${routingKey} of ${exchange}`))
        else {
          this.#metrics?.published?.('confirmed')
          resolve()
        }
        if (session.pending.size === 0) this.#wakeFlushers()
        this.#wakeWriters()
      }
      session.pending.add(pending)
      try {
        const room = session.confirms.publish(
          exchange,
          routingKey,
          content,
          { mandatory: true, persistent: true, ...properties, headers },
          onConfirm,
        )
        session.bundle()
        if (!room) session.full = true
      } catch (cause) {
        session.pending.delete(pending)
        const error = asError(cause)
        this.#fail(reject, error.name === 'IllegalOperationError' ? new Unavailable(error.message) : error)
      }
    })
  }

  /** Writes a transient message, or drops it when that can't happen at once. */
  signal(exchange: string, routingKey: string, content: Buffer, properties: Options.Publish): void {
    const session = this.#session
    if (session === null || this.#closed || session.blocked || session.full || session.signalsFull) {
      this.#metrics?.signalDropped?.()
      return
    }
    try {
      session.signalsFull = !session.signals.publish(exchange, routingKey, content, { persistent: false, ...properties })
    } catch {
      // The channel went down in this very moment.
      this.#metrics?.signalDropped?.()
    }
  }

  get isWritable(): boolean {
    const session = this.#session
    return session !== null && !session.full && !session.blocked && session.pending.size < maxUnconfirmed
  }

  writable(): Promise<void> {
    if (this.#closed) return Promise.reject(new Unavailable('the bus was closed'))
    if (this.isWritable) return Promise.resolve()
    return new Promise((resolve, reject) => this.#writers.push({ resolve, reject }))
  }

  /** Refuses new events and waits for outstanding confirms, at most so long. */
  async close(maxMs: number): Promise<void> {
    this.#closed = true
    for (const { reject } of this.#writers.splice(0)) reject(new Unavailable('the bus was closed'))
    if (this.#session === null || this.#session.pending.size === 0) return
    await within(maxMs, new Promise<void>((resolve) => this.#flushers.push(resolve)), 'flushing').catch(() => undefined)
  }

  #rejectOverdue(session: Session): void {
    if (session.blocked) return
    const now = performance.now()
    for (const pending of session.pending) {
      if (now - Math.max(pending.since, session.flowingSince) < this.#confirmTimeoutMs) return
      session.pending.delete(pending)
      this.#fail(pending.reject, new Unavailable(`no confirm within ${this.#confirmTimeoutMs} ms`))
    }
  }

  #refuse(error: Error): Promise<never> {
    return new Promise((_, reject) => this.#fail(reject, error))
  }

  #fail(reject: (reason: Error) => void, error: Error): void {
    if (error instanceof Unroutable) this.#metrics?.published?.('unroutable')
    else if (error instanceof Nacked) this.#metrics?.published?.('nacked')
    else if (error instanceof Unavailable) this.#metrics?.published?.('unavailable')
    reject(error)
  }

  #wakeWriters(): void {
    if (this.#writers.length === 0 || !this.isWritable) return
    for (const { resolve } of this.#writers.splice(0)) resolve()
  }

  #wakeFlushers(): void {
    for (const resolve of this.#flushers.splice(0)) resolve()
  }
}

/** amqplib tells both by an error's text alone. */
function refusalError(refusal: Error): Error {
  return refusal.message === 'channel closed'
    ? new Unavailable('lost before the confirm: channel closed')
    : new Nacked('the broker refused the event')
}
