// What all who connect to one `memory:` name in this process share: exchanges, queues, listeners, dead letters. Gone with the last one.
import { type BusOptions, type Topology, Unroutable } from './bus.ts'
import { DeadLetters } from './dead-letters.ts'
import type { MemoryListener } from './memory-listener.ts'
import { MemoryQueue, type Parcel } from './memory-queue.ts'
import { topicMatches } from './topic.ts'

/** Waiting in one queue, from here on `writable` holds publishers back. */
const highWater = 1_000
const maxRoutes = 1_000

const brokers = new Map<string, MemoryBroker>()

/** The broker of that name with one connection more. The first one that names a file decides where dead letters are kept. */
export function acquireBroker(name: string, options: Pick<BusOptions, 'topology' | 'deadLetterFile'>): MemoryBroker {
  let broker = brokers.get(name)
  if (broker === undefined) {
    broker = new MemoryBroker(options.deadLetterFile, () => brokers.delete(name))
    brokers.set(name, broker)
  }
  if (options.deadLetterFile !== undefined) broker.dead.keepIn(options.deadLetterFile)
  broker.acquire(options.topology)
  return broker
}

export class MemoryBroker {
  readonly dead: DeadLetters
  readonly #onGone: () => void
  readonly #exchanges = new Set<string>()
  readonly #queues = new Map<string, MemoryQueue>()
  readonly #bindings: { exchange: string; key: string; queue: MemoryQueue }[] = []
  readonly #listeners = new Set<MemoryListener>()
  readonly #routes = new Map<string, readonly MemoryQueue[]>()
  #writers: (() => void)[] = []
  #connections = 0

  constructor(deadLetterFile: string | undefined, onGone: () => void) {
    this.dead = new DeadLetters(deadLetterFile)
    this.#onGone = onGone
  }

  acquire(topology: Topology): void {
    this.#connections++
    for (const { name } of topology.exchanges) this.#exchanges.add(name)
    for (const { name, bindings } of topology.queues) {
      const queue = this.#queues.get(name) ?? new MemoryQueue(name, this.dead, () => this.wakeWriters())
      this.#queues.set(name, queue)
      for (const { exchange, keys } of bindings) for (const key of keys) this.#bind(exchange, key, queue)
    }
    this.#routes.clear()
  }

  release(): void {
    if (--this.#connections > 0) return
    this.#onGone()
    for (const queue of this.#queues.values()) queue.close()
    this.wakeWriters()
    this.dead.close()
  }

  queue(name: string): MemoryQueue {
    const queue = this.#queues.get(name)
    if (queue === undefined) throw new TypeError(`The topology has no queue ${name}`)
    return queue
  }

  /** The durable queues that take this key. */
  route(exchange: string, routingKey: string): readonly MemoryQueue[] {
    if (!this.#exchanges.has(exchange)) throw new Unroutable(`the topology has no exchange ${exchange}`)
    const place = `${exchange}\n${routingKey}`
    const known = this.#routes.get(place)
    if (known !== undefined) return known
    const found = new Set(
      this.#bindings.filter((to) => to.exchange === exchange && topicMatches(to.key, routingKey)).map(({ queue }) => queue),
    )
    if (this.#routes.size >= maxRoutes) this.#routes.clear()
    this.#routes.set(place, [...found])
    return [...found]
  }

  /** @throws TypeError for an exchange that isn't in the topology */
  mustKnow(exchange: string): void {
    if (!this.#exchanges.has(exchange)) throw new TypeError(`The topology has no exchange ${exchange}`)
  }

  listen(listener: MemoryListener): () => void {
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
      listener.stop()
    }
  }

  /** Gives each concerned listener its copy; returns how many there were. */
  tellListeners(parcel: Parcel): number {
    let told = 0
    for (const listener of this.#listeners) {
      if (!listener.wants(parcel.exchange, parcel.routingKey)) continue
      listener.add(parcel)
      told++
    }
    return told
  }

  /** Resolves when no queue is too long. */
  writable(): Promise<void> {
    return this.#hasRoom() ? Promise.resolve() : new Promise((resolve) => this.#writers.push(resolve))
  }

  wakeWriters(): void {
    if (this.#writers.length > 0 && this.#hasRoom()) for (const resolve of this.#writers.splice(0)) resolve()
  }

  #hasRoom(): boolean {
    for (const queue of this.#queues.values()) if (queue.length >= highWater) return false
    return true
  }

  #bind(exchange: string, key: string, queue: MemoryQueue): void {
    if (!this.#bindings.some((to) => to.exchange === exchange && to.key === key && to.queue === queue))
      this.#bindings.push({ exchange, key, queue })
  }
}
