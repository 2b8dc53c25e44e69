// The event bus inside one process: confirms when every durable subscriber has finished, so an outbox on disk makes it durable.
import { defaultRetryDelaysMs } from './attempt.ts'
import {
  type Binding,
  type BusOptions,
  type BusState,
  type ConsumeOptions,
  type Consumer,
  type DeadLetter,
  type Delivery,
  type EventBus,
  type ListenOptions,
  type OutgoingEvent,
  Unavailable,
  Unroutable,
} from './bus.ts'
import { carrierFor } from './carrier.ts'
import { bytesOf, headersForReplay } from './delivery.ts'
import { acquireBroker, type MemoryBroker } from './memory-broker.ts'
import { MemoryListener } from './memory-listener.ts'
import type { Entry, MemoryQueue, Parcel } from './memory-queue.ts'

/** Waiting in one queue: beyond it publishing is refused, so that memory stays bounded. */
const maxWaiting = 10_000

export async function connectMemory(name: string, options: BusOptions): Promise<EventBus> {
  return new MemoryBus(acquireBroker(name, options), options)
}

/** A publish that hasn't been confirmed. */
interface Outstanding {
  readonly settle: (failure: Error | null) => void
  /** Takes it back, and fails it, where it waits in a queue without a consumer. */
  readonly giveUpUnconsumed: () => void
}

class MemoryBus implements EventBus {
  readonly #broker: MemoryBroker
  readonly #options: BusOptions
  readonly #outstanding = new Set<Outstanding>()
  readonly #stops = new Set<() => Promise<void>>()
  readonly #stateListeners = new Set<(state: BusState) => void>()
  #flushed: () => void = () => undefined
  #closing: Promise<void> | null = null

  constructor(broker: MemoryBroker, options: BusOptions) {
    this.#broker = broker
    this.#options = options
  }

  get state(): BusState {
    return this.#closing === null ? 'up' : 'down'
  }

  get reason(): string | null {
    return this.#closing === null ? null : 'closed'
  }

  onState(listener: (state: BusState) => void): () => void {
    this.#stateListeners.add(listener)
    return () => void this.#stateListeners.delete(listener)
  }

  publish(event: OutgoingEvent): Promise<void> {
    try {
      if (this.#closing !== null) throw new Unavailable('the bus was closed')
      const parcel = parcelOf(event)
      const queues = this.#broker.route(parcel.exchange, parcel.routingKey)
      if (queues.some(({ length }) => length >= maxWaiting)) throw new Unavailable(`${maxWaiting} events wait in a queue`)
      const told = this.#broker.tellListeners(parcel)
      if (queues.length === 0 && told === 0) throw new Unroutable(`no queue takes ${parcel.routingKey} of ${parcel.exchange}`)
      return this.#deliver(parcel, queues)
    } catch (cause) {
      if (cause instanceof Unroutable) this.#options.metrics?.published?.('unroutable')
      if (cause instanceof Unavailable) this.#options.metrics?.published?.('unavailable')
      return Promise.reject(cause)
    }
  }

  signal(event: OutgoingEvent): void {
    if (this.#closing !== null) {
      this.#options.metrics?.signalDropped?.()
      return
    }
    try {
      const parcel = parcelOf(event)
      for (const queue of this.#broker.route(parcel.exchange, parcel.routingKey)) {
        if (queue.length < maxWaiting) queue.add({ parcel, finished: () => undefined })
      }
      this.#broker.tellListeners(parcel)
    } catch (err) {
      this.#options.log?.error({ err, routingKey: event.routingKey }, 'a signal could not be written')
    }
  }

  async consume<Body = unknown>(
    queue: string,
    handler: (delivery: Delivery<Body>) => Promise<void>,
    options: ConsumeOptions<Body>,
  ): Promise<Consumer> {
    this.#mustBeOpen()
    const { log, metrics, retryDelaysMs = defaultRetryDelaysMs } = this.#options
    return this.#owned(this.#broker.queue(queue).work(handler, { ...options, retryDelaysMs, log, metrics }))
  }

  async listen(bindings: readonly Binding[], handler: (delivery: Delivery) => void, options: ListenOptions): Promise<Consumer> {
    this.#mustBeOpen()
    for (const { exchange } of bindings) this.#broker.mustKnow(exchange)
    const stop = this.#broker.listen(new MemoryListener(bindings, handler, options, this.#options.log))
    return this.#owned(async () => stop())
  }

  async writable(): Promise<void> {
    this.#mustBeOpen()
    await this.#broker.writable()
    this.#mustBeOpen()
  }

  async deadLetters(queue: string): Promise<number> {
    return this.#broker.dead.count(this.#broker.queue(queue).name)
  }

  async peekDead(queue: string, limit: number): Promise<DeadLetter[]> {
    return this.#broker.dead.oldest(this.#broker.queue(queue).name, limit).map((letter) => ({
      body: letter.body.toString(),
      headers: letter.headers,
      exchange: letter.exchange,
      routingKey: letter.routingKey,
      reason: letter.reason,
    }))
  }

  async replayDead(queue: string, limit: number): Promise<number> {
    this.#mustBeOpen()
    const target = this.#broker.queue(queue)
    const letters = this.#broker.dead.oldest(queue, limit)
    for (const { number, id, body, headers, exchange, routingKey } of letters) {
      // Removed only when it has been handled, or is dead anew.
      await this.#deliver({ id, raw: body, headers: headersForReplay(headers), exchange, routingKey, carrier: null }, [target])
      this.#broker.dead.remove(number)
    }
    return letters.length
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    // Others in this process still consume: what is outstanding gets its time first, unless nobody is there to take it.
    if (this.#outstanding.size > 0) {
      const flushed = new Promise<void>((resolve) => {
        this.#flushed = resolve
      })
      const bound = setTimeout(this.#flushed, this.#options.closeTimeoutMs ?? 5_000)
      const watch = setInterval(() => this.#giveUpUnconsumed(), 50)
      this.#giveUpUnconsumed()
      await flushed
      clearTimeout(bound)
      clearInterval(watch)
    }
    for (const { settle } of [...this.#outstanding]) settle(new Unavailable('the bus was closed before the event was handled'))
    await Promise.all([...this.#stops].map((stop) => stop()))
    this.#broker.release()
    for (const listener of this.#stateListeners) listener('down')
    this.#stateListeners.clear()
  }

  /** Resolves when each queue has finished with it. Waits for a consumer that isn't there yet, but not forever. */
  #deliver(parcel: Parcel, queues: readonly MemoryQueue[]): Promise<void> {
    if (queues.length === 0) {
      this.#options.metrics?.published?.('confirmed')
      return Promise.resolve()
    }
    return new Promise((resolve, reject) => {
      const timeoutMs = this.#options.confirmTimeoutMs ?? 30_000
      const entries: { queue: MemoryQueue; entry: Entry }[] = []
      let left = queues.length
      const settle = (failure: Error | null) => {
        if (!this.#outstanding.delete(outstanding)) return
        clearInterval(patience)
        this.#options.metrics?.published?.(failure === null ? 'confirmed' : 'unavailable')
        if (failure === null) resolve()
        else reject(failure)
        if (this.#outstanding.size === 0) this.#flushed()
      }
      const finished = (failure: Error | null) => {
        if (failure !== null) settle(failure)
        else if (--left === 0) settle(null)
      }
      const giveUpUnconsumed = () => {
        const withdrawn = entries.filter(({ queue, entry }) => queue.withdraw(entry))
        if (withdrawn.length > 0) settle(new Unavailable(`nobody consumes ${withdrawn[0]?.queue.name}`))
      }
      const outstanding: Outstanding = { settle, giveUpUnconsumed }
      const patience = setInterval(giveUpUnconsumed, timeoutMs).unref()
      this.#outstanding.add(outstanding)
      for (const queue of queues) {
        const entry = { parcel, finished }
        entries.push({ queue, entry })
        queue.add(entry)
      }
    })
  }

  #giveUpUnconsumed(): void {
    for (const { giveUpUnconsumed } of [...this.#outstanding]) giveUpUnconsumed()
  }

  #owned(stop: () => Promise<void>): Consumer {
    this.#stops.add(stop)
    return {
      stop: async () => {
        this.#stops.delete(stop)
        await stop()
      },
    }
  }

  #mustBeOpen(): void {
    if (this.#closing !== null) throw new Unavailable('the bus was closed')
  }
}

function parcelOf(event: OutgoingEvent): Parcel {
  const carrier = carrierFor(event)
  const { id, exchange, routingKey } = event
  return { id, exchange, routingKey, carrier, raw: bytesOf(event.body), headers: { ...event.headers, ...carrier } }
}
