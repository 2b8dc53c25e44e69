// The event bus port: what every adapter promises (bus.contract.ts proves it for each), its errors, and the shape of a topology.
import type { Logger } from 'pino'

export interface Topology {
  readonly exchanges: readonly { readonly name: string; readonly type: 'topic'; readonly durable: boolean }[]
  readonly queues: readonly DurableQueue[]
}

export interface DurableQueue {
  readonly name: string
  /** `quorum` is replicated and counts deliveries; `classic` is durable on one node. */
  readonly kind: 'quorum' | 'classic'
  readonly bindings: readonly Binding[]
  /** `<queue>.dead`: declared too, durable, of the same kind. */
  readonly deadLetter: string
}

/** Topic keys of an exchange: words between dots, `*` is one word, `#` any number of them. */
export interface Binding {
  readonly exchange: string
  readonly keys: readonly string[]
}

/** A name of this namespace; an empty namespace changes nothing. */
export function namespacedName(name: string, namespace: string): string {
  return namespace === '' ? name : `${namespace}.${name}`
}

/** The same topology under a namespace, so that runs can share a broker. Every exchange and queue name is prefixed; keys aren't. */
export function namespaced(topology: Topology, namespace: string): Topology {
  const named = (name: string) => namespacedName(name, namespace)
  return {
    exchanges: topology.exchanges.map((exchange) => ({ ...exchange, name: named(exchange.name) })),
    queues: topology.queues.map((queue) => ({
      ...queue,
      name: named(queue.name),
      deadLetter: named(queue.deadLetter),
      bindings: queue.bindings.map((binding) => ({ ...binding, exchange: named(binding.exchange) })),
    })),
  }
}

/** W3C trace context as it is stored beside an event. */
export interface Carrier {
  readonly traceparent?: string
  readonly tracestate?: string
}

export type Headers = Readonly<Record<string, string | number | boolean>>

/** An event as it travels: a JSON envelope and transport headers. */
export interface OutgoingEvent {
  readonly exchange: string
  readonly routingKey: string
  readonly id: string
  /** JSON-able; a string or Buffer is taken as JSON already serialised. */
  readonly body: unknown
  /** Readable by a consumer without parsing the body. */
  readonly headers?: Headers
  /** The trace the event belongs to. Absent: the active one. `{}` or an invalid one: none. */
  readonly carrier?: Carrier
}

export interface Delivery<Body = unknown> {
  /** The parsed body; parsed on first reading in `listen`. @throws SyntaxError when the body isn't JSON */
  readonly body: Body
  /** The bytes as they came. Shared between subscribers: never write to them. */
  readonly raw: Buffer
  readonly headers: Readonly<Record<string, unknown>>
  readonly exchange: string
  readonly routingKey: string
  /** 1 at the first try; counts failed handlings by our own header, not broker redeliveries. */
  readonly attempts: number
  readonly redelivered: boolean
  /** `listen` only, idempotent; `consume` acknowledges by itself and ignores it. */
  ack(): void
}

export interface ConsumeOptions<Body> {
  /** How many handlers of this consumer may run at once. 1 keeps the order of what doesn't fail. */
  readonly prefetch: number
  /** Handlings, the first included, before an event goes to the dead letters. */
  readonly maxAttempts: number
  /** A handler that takes longer has failed; it can't be interrupted and may still run when the event is tried again. */
  readonly handlerTimeoutMs: number
  /** Turns the JSON into what the handler gets; a throw is final (dead at once). */
  readonly parse?: (body: unknown) => Body
}

export interface ListenOptions {
  /** Deliveries without an `ack` yet; at this number the queue holds the rest. */
  readonly prefetch: number
  /** Called after every subscription made after `listen` returned: what came in between is lost to this listener. */
  readonly onResubscribed: () => void
}

export interface Consumer {
  /** Stops taking and resolves when what runs has ended. */
  stop(): Promise<void>
}

export interface DeadLetter {
  readonly body: string
  readonly headers: Readonly<Record<string, unknown>>
  readonly exchange: string
  readonly routingKey: string
  readonly reason: string
}

export interface EventBus {
  /**
   * Resolves when the broker has confirmed (memory: when every durable subscriber has finished). Writes in call order, in this very turn.
   * Never buffers across a reconnect: the outbox is the truth. A handler must not await it (in memory that may mean to wait for itself).
   * @throws Unroutable (no queue takes it), Nacked, Unavailable (down, or lost before the confirm: outcome unknown)
   */
  publish(event: OutgoingEvent): Promise<void>
  /** Fire and forget: transient, dropped and counted when it can't go out at once. */
  signal(event: OutgoingEvent): void
  /**
   * Takes events of a durable queue of the topology. The handler resolves → acknowledged. It throws → tried again with a growing delay,
   * not holding up its neighbours, then dead. Not JSON, a failing `parse` or a thrown `Poison` → dead at once. Dead letters are confirmed before the
   * acknowledgement. Re-established after an outage; with the broker down it resolves at once and begins later.
   */
  consume<Body = unknown>(
    queue: string,
    handler: (delivery: Delivery<Body>) => Promise<void>,
    options: ConsumeOptions<Body>,
  ): Promise<Consumer>
  /** A queue for this replica alone, gone with it. The handler acknowledges each delivery; if it throws, that is logged and acknowledged. */
  listen(bindings: readonly Binding[], handler: (delivery: Delivery) => void, options: ListenOptions): Promise<Consumer>
  readonly state: BusState
  /** Why it is down, in words for readiness and logs; null while it is up. */
  readonly reason: string | null
  /** Called on every change of `state`; returns the way to stop that. */
  onState(listener: (state: BusState) => void): () => void
  /** Resolves when publishing may go on: up, not blocked, buffers drained. @throws Unavailable when closed meanwhile */
  writable(): Promise<void>
  /** How many dead letters a durable queue has. */
  deadLetters(queue: string): Promise<number>
  /** The oldest dead letters, left where they are. */
  peekDead(queue: string, limit: number): Promise<DeadLetter[]>
  /** Puts at most `limit` of those dead now back into their queue, attempts forgotten. Returns how many. */
  replayDead(queue: string, limit: number): Promise<number>
  /** Stops consumers, flushes outstanding confirms within a bound, disconnects. Idempotent. */
  close(): Promise<void>
}

export type BusState = 'up' | 'down'
export type BusLogger = Pick<Logger, 'debug' | 'info' | 'warn' | 'error'>

/** Hooks for counters; all optional, none may throw. */
export interface BusMetrics {
  published?(outcome: 'confirmed' | 'unroutable' | 'nacked' | 'unavailable'): void
  signalDropped?(): void
  consumed?(queue: string, outcome: 'done' | 'retry' | 'dead'): void
  reconnected?(): void
}

export interface BusOptions {
  /** Declared by everyone who connects, so that nothing is published before its consumer's queue exists. */
  readonly topology: Topology
  /** Shown by the broker beside the connection. */
  readonly name: string
  readonly log?: BusLogger
  readonly metrics?: BusMetrics
  /** memory: the SQLite file that keeps dead letters; without one they live as long as the bus. */
  readonly deadLetterFile?: string
  /** Pauses before the 2nd, 3rd, … handling of a failed event; the last repeats. Default 200, 1000, 5000 ms. */
  readonly retryDelaysMs?: readonly number[]
  /** After how long without a confirm `publish` gives up with Unavailable (a broker that says it blocks is waited for). Default 30 s. */
  readonly confirmTimeoutMs?: number
  /** How long `close` waits for outstanding confirms. Default 5 s. */
  readonly closeTimeoutMs?: number
}

/** No queue was bound to take the event: the topology is wrong, and trying again doesn't help until it is right. */
export class Unroutable extends Error {
  override readonly name = 'Unroutable'
}
/** The broker refused to take responsibility for the event. */
export class Nacked extends Error {
  override readonly name = 'Nacked'
}
/** The broker can't be reached, or was lost before it confirmed: the event may or may not have arrived. */
export class Unavailable extends Error {
  override readonly name = 'Unavailable'
}
/** Thrown by a handler or `parse` for an event that no further attempt can help. */
export class Poison extends Error {
  override readonly name = 'Poison'
}
