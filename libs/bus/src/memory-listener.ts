// A listener of the memory bus: its own bounded line of deliveries, at most `prefetch` of them without an acknowledgement.
import { context } from '@opentelemetry/api'
import { asError } from './attempt.ts'
import type { Binding, BusLogger, Delivery, ListenOptions } from './bus.ts'
import { contextOf } from './carrier.ts'
import { LazyDelivery } from './delivery.ts'
import type { Parcel } from './memory-queue.ts'
import { topicMatches } from './topic.ts'

/** Beyond it everything in line is dropped and the listener told that it missed something: memory stays bounded. */
const maxWaiting = 20_000

export class MemoryListener {
  readonly #bindings: readonly Binding[]
  readonly #handler: (delivery: Delivery) => void
  readonly #options: ListenOptions
  readonly #log: BusLogger | undefined
  #waiting: Parcel[] = []
  #unacknowledged = 0
  #scheduled = false
  #stopped = false

  constructor(bindings: readonly Binding[], handler: (delivery: Delivery) => void, options: ListenOptions, log: BusLogger | undefined) {
    this.#bindings = bindings
    this.#handler = handler
    this.#options = options
    this.#log = log
  }

  wants(exchange: string, routingKey: string): boolean {
    return this.#bindings.some((binding) => binding.exchange === exchange && binding.keys.some((key) => topicMatches(key, routingKey)))
  }

  add(parcel: Parcel): void {
    if (this.#stopped) return
    if (this.#waiting.length >= maxWaiting) {
      this.#waiting = []
      this.#guarded(() => this.#options.onResubscribed())
    }
    this.#waiting.push(parcel)
    this.#schedule()
  }

  stop(): void {
    this.#stopped = true
    this.#waiting = []
  }

  /** Never within the publisher's own turn. */
  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#deliver()
    })
  }

  #deliver(): void {
    const room = Math.max(0, this.#options.prefetch - this.#unacknowledged)
    for (const parcel of this.#waiting.splice(0, room)) {
      if (this.#stopped) return
      this.#unacknowledged++
      const delivery = new LazyDelivery({ ...parcel, redelivered: false }, () => {
        this.#unacknowledged--
        if (this.#waiting.length > 0) this.#schedule()
      })
      context.with(contextOf(parcel.carrier), () => this.#guarded(() => this.#handler(delivery), delivery))
    }
  }

  #guarded(call: () => void, delivery?: Delivery): void {
    try {
      call()
    } catch (cause) {
      this.#log?.error({ err: asError(cause), routingKey: delivery?.routingKey }, 'a listener failed')
      delivery?.ack()
    }
  }
}
