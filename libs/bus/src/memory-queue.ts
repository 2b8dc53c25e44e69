// A durable queue of the memory bus: holds events until a consumer takes them, tries failed ones again later, buries what fails for good.
import { context } from '@opentelemetry/api'
import { attempt } from './attempt.ts'
import { type BusLogger, type BusMetrics, type Carrier, type ConsumeOptions, type Delivery, Unavailable } from './bus.ts'
import { contextOf } from './carrier.ts'
import type { DeadLetters } from './dead-letters.ts'
import { headersForDead, headersForRetry, LazyDelivery } from './delivery.ts'

/** An event on its way, as bytes: subscribers never share an object. */
export interface Parcel {
  readonly id: string
  readonly raw: Buffer
  readonly headers: Readonly<Record<string, unknown>>
  readonly exchange: string
  readonly routingKey: string
  readonly carrier: Carrier | null
}

/** A parcel in one queue, and whoever waits for its end. */
export interface Entry {
  readonly parcel: Parcel
  /** Handled or buried (null), or given up. Called once. */
  readonly finished: (failure: Error | null) => void
}

interface Worker {
  readonly running: Set<Promise<void>>
  readonly prefetch: number
  readonly handle: (entry: Entry) => Promise<void>
}

export interface WorkerOptions<Body> extends ConsumeOptions<Body> {
  readonly retryDelaysMs: readonly number[]
  readonly log: BusLogger | undefined
  readonly metrics: BusMetrics | undefined
}

export class MemoryQueue {
  readonly name: string
  readonly #dead: DeadLetters
  readonly #onRoom: () => void
  readonly #workers: Worker[] = []
  readonly #resting = new Map<NodeJS.Timeout, Entry>()
  #waiting: Entry[] = []
  #turn = 0

  constructor(name: string, dead: DeadLetters, onRoom: () => void) {
    this.name = name
    this.#dead = dead
    this.#onRoom = onRoom
  }

  /** How many events wait for a worker. */
  get length(): number {
    return this.#waiting.length
  }

  add(entry: Entry): void {
    this.#waiting.push(entry)
    this.#pump()
  }

  /** Takes back an event that waits while nobody consumes. False: somebody has it or will come to it. */
  withdraw(entry: Entry): boolean {
    if (this.#workers.length > 0) return false
    // By who waits for it: after a retry it is another entry.
    const place = this.#waiting.findIndex(({ finished }) => finished === entry.finished)
    if (place >= 0) this.#waiting.splice(place, 1)
    return place >= 0
  }

  /** Begins to take events; returns the way to stop, which resolves when what runs has ended. */
  work<Body>(handler: (delivery: Delivery<Body>) => Promise<void>, options: WorkerOptions<Body>): () => Promise<void> {
    const worker: Worker = { running: new Set(), prefetch: options.prefetch, handle: (entry) => this.#handle(entry, handler, options) }
    this.#workers.push(worker)
    this.#pump()
    return async () => {
      const place = this.#workers.indexOf(worker)
      if (place >= 0) this.#workers.splice(place, 1)
      await Promise.all(worker.running)
    }
  }

  /** The bus is gone: whatever has not ended has an unknown outcome for its publisher. */
  close(): void {
    const left = [...this.#waiting.splice(0), ...this.#resting.values()]
    for (const timer of this.#resting.keys()) clearTimeout(timer)
    this.#resting.clear()
    for (const { finished } of left) finished(new Unavailable('the bus was closed before the event was handled'))
  }

  #pump(): void {
    while (this.#waiting.length > 0) {
      const worker = this.#nextWorker()
      if (worker === null) return
      const entry = this.#waiting.shift()
      if (entry === undefined) return
      const run: Promise<void> = worker.handle(entry).finally(() => {
        worker.running.delete(run)
        this.#pump()
        this.#onRoom()
      })
      worker.running.add(run)
    }
  }

  /** In turn, among those with room. */
  #nextWorker(): Worker | null {
    for (let step = 0; step < this.#workers.length; step++) {
      const worker = this.#workers[this.#turn++ % this.#workers.length]
      if (worker !== undefined && worker.running.size < worker.prefetch) return worker
    }
    return null
  }

  async #handle<Body>(entry: Entry, handler: (delivery: Delivery<Body>) => Promise<void>, options: WorkerOptions<Body>): Promise<void> {
    const { parcel, finished } = entry
    const delivery = new LazyDelivery({ ...parcel, redelivered: false }, () => undefined)
    // Here a trace would break: the handler runs in the one that came with the event. A turn later, as the publisher isn't done yet.
    await Promise.resolve()
    const outcome = await context.with(contextOf(parcel.carrier), () => attempt(delivery, handler, options, options.retryDelaysMs))
    options.metrics?.consumed?.(this.name, outcome.kind)
    if (outcome.kind === 'done') return finished(null)
    const fields = { queue: this.name, id: parcel.id, attempts: delivery.attempts, reason: outcome.error.message }
    if (outcome.kind === 'retry') {
      options.log?.warn(fields, 'handling failed, to be tried again')
      return this.#rest({ parcel: { ...parcel, headers: headersForRetry(delivery) }, finished }, outcome.delayMs)
    }
    options.log?.error({ ...fields, err: outcome.error }, 'handling failed for good, to the dead letters')
    this.#bury(parcel, delivery, outcome.error.message, finished)
  }

  #rest(entry: Entry, delayMs: number): void {
    const timer = setTimeout(() => {
      this.#resting.delete(timer)
      this.add(entry)
    }, delayMs)
    this.#resting.set(timer, entry)
  }

  #bury(parcel: Parcel, delivery: Delivery, reason: string, finished: Entry['finished']): void {
    try {
      const { exchange, routingKey } = delivery
      this.#dead.add(this.name, {
        id: parcel.id,
        exchange,
        routingKey,
        headers: headersForDead(delivery, reason),
        body: parcel.raw,
        reason,
      })
    } catch (cause) {
      // Not on disk, so not finished: the publisher keeps it and tries again.
      finished(new Unavailable('the dead letters cannot be written', { cause }))
      return
    }
    finished(null)
  }
}
