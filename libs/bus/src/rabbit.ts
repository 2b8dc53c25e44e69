// The event bus over RabbitMQ: one connection to publish, another to consume, as a broker short of memory stops reading from publishers
// while acknowledgements must go on.
import { context } from '@opentelemetry/api'
import type { ChannelModel } from 'amqplib'
import { defaultRetryDelaysMs } from './attempt.ts'
import {
  type Binding,
  type BusOptions,
  type BusState,
  type Carrier,
  type ConsumeOptions,
  type Consumer,
  type DeadLetter,
  type Delivery,
  type DurableQueue,
  type EventBus,
  type ListenOptions,
  type OutgoingEvent,
  Unavailable,
  Unroutable,
} from './bus.ts'
import { carrierFor, contextOf } from './carrier.ts'
import { bytesOf } from './delivery.ts'
import { RabbitConsumer } from './rabbit-consumer.ts'
import { peekDead, replayDead } from './rabbit-dead.ts'
import { RabbitLink } from './rabbit-link.ts'
import { RabbitListener } from './rabbit-listener.ts'
import { RabbitPublisher } from './rabbit-publisher.ts'
import { declareTopology } from './rabbit-topology.ts'

/** A broker that is up is waited for this long, so that a service begins ready; one that is down refuses at once. */
const firstAttemptMs = 2_000

interface Subscription {
  attach(model: ChannelModel, restart: (reason: Error) => void): Promise<void>
  detach(): void
  stop(): Promise<void>
}

/** @throws TypeError for an unreadable URL (which may hold a password and so isn't shown) */
export async function connectRabbit(url: string, options: BusOptions): Promise<EventBus> {
  if (!URL.canParse(url)) throw new TypeError('BROKER_URL is not a valid URL')
  const bus = new RabbitBus(url, options)
  await bus.firstAttempt()
  return bus
}

class RabbitBus implements EventBus {
  readonly #url: string
  readonly #options: BusOptions
  readonly #publisher: RabbitPublisher
  readonly #publishing: RabbitLink
  readonly #exchanges: ReadonlySet<string>
  readonly #subscriptions = new Set<Subscription>()
  readonly #listeners = new Set<(state: BusState) => void>()
  #publishModel: ChannelModel | null = null
  #consumeModel: ChannelModel | null = null
  #consuming: RabbitLink | null = null
  #told: BusState = 'down'
  #ups = 0
  #closing: Promise<void> | null = null

  constructor(url: string, options: BusOptions) {
    this.#url = url
    this.#options = options
    this.#exchanges = new Set(options.topology.exchanges.map(({ name }) => name))
    this.#publisher = new RabbitPublisher({ metrics: options.metrics, confirmTimeoutMs: options.confirmTimeoutMs ?? 30_000 })
    this.#publishing = new RabbitLink({
      url,
      name: `${options.name} publish`,
      log: options.log,
      setup: (model) => this.#setUpPublishing(model),
      onUp: () => {
        if (this.#ups++ > 0) options.metrics?.reconnected?.()
        this.#tellState()
      },
      onDown: (reason) => {
        this.#publishModel = null
        this.#publisher.lost(reason)
        this.#tellState()
      },
    })
  }

  firstAttempt(): Promise<void> {
    return this.#publishing.settled(firstAttemptMs)
  }

  get state(): BusState {
    // A consuming link in its first attempt isn't an outage yet.
    const consuming = this.#consuming === null || this.#consuming.up || this.#consuming.reason === null
    return this.#closing === null && this.#publishing.up && consuming ? 'up' : 'down'
  }

  get reason(): string | null {
    if (this.state === 'up') return null
    if (this.#closing !== null) return 'closed'
    return this.#publishing.reason ?? this.#consuming?.reason ?? 'connecting'
  }

  onState(listener: (state: BusState) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  publish(event: OutgoingEvent): Promise<void> {
    return this.#write(event, (content, properties) => this.#publisher.send(event.exchange, event.routingKey, content, properties))
  }

  signal(event: OutgoingEvent): void {
    void this.#write(event, async (content, properties) =>
      this.#publisher.signal(event.exchange, event.routingKey, content, properties),
    ).catch((err: Error) => this.#options.log?.error({ err, routingKey: event.routingKey }, 'a signal could not be written'))
  }

  writable(): Promise<void> {
    return this.#publisher.writable()
  }

  async consume<Body = unknown>(
    queue: string,
    handler: (delivery: Delivery<Body>) => Promise<void>,
    options: ConsumeOptions<Body>,
  ): Promise<Consumer> {
    const { log, metrics, retryDelaysMs = defaultRetryDelaysMs } = this.#options
    const consumer = new RabbitConsumer({
      queue: this.#durable(queue),
      handler,
      options,
      retryDelaysMs,
      publisher: this.#publisher,
      log,
      metrics,
    })
    return this.#subscribe(consumer)
  }

  async listen(bindings: readonly Binding[], handler: (delivery: Delivery) => void, options: ListenOptions): Promise<Consumer> {
    for (const { exchange } of bindings) if (!this.#exchanges.has(exchange)) throw new TypeError(`The topology has no exchange ${exchange}`)
    const listener = new RabbitListener({ bindings, handler, options, log: this.#options.log })
    const consumer = await this.#subscribe(listener)
    listener.handOver()
    return consumer
  }

  async deadLetters(queue: string): Promise<number> {
    const channel = await this.#operatorModel().createChannel()
    channel.on('error', () => undefined)
    const { messageCount } = await channel.checkQueue(this.#durable(queue).deadLetter)
    await channel.close()
    return messageCount
  }

  peekDead(queue: string, limit: number): Promise<DeadLetter[]> {
    return peekDead(this.#operatorModel(), this.#durable(queue), limit)
  }

  replayDead(queue: string, limit: number): Promise<number> {
    return replayDead(this.#operatorModel(), this.#publisher, this.#durable(queue), limit)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.stop()))
    await this.#publisher.close(this.#options.closeTimeoutMs ?? 5_000)
    await Promise.all([this.#publishing.close(), this.#consuming?.close()])
    this.#tellState()
    this.#listeners.clear()
  }

  /** Runs the write inside the event's trace, where the instrumentation finds it; without instrumentation the carrier travels as it is. */
  #write(event: OutgoingEvent, write: (content: Buffer, properties: Properties) => Promise<void>): Promise<void> {
    try {
      if (!this.#exchanges.has(event.exchange)) throw new Unroutable(`the topology has no exchange ${event.exchange}`)
      const carrier = carrierFor(event)
      const properties = { messageId: event.id, contentType: 'application/json', headers: { ...event.headers, ...carrier } }
      const content = bytesOf(event.body)
      if (event.carrier === undefined) return write(content, properties)
      return context.with(contextOf(carrier), () => write(content, properties))
    } catch (cause) {
      return Promise.reject(cause)
    }
  }

  async #setUpPublishing(model: ChannelModel): Promise<void> {
    const restart = (reason: Error) => this.#publishing.restart(model, reason)
    const channel = await model.createChannel()
    channel.on('error', restart)
    await declareTopology(channel, this.#options.topology)
    await this.#publisher.open(model, channel, restart)
    this.#publishModel = model
  }

  async #subscribe(subscription: Subscription): Promise<Consumer> {
    if (this.#closing !== null) throw new Unavailable('the bus was closed')
    this.#subscriptions.add(subscription)
    const model = this.#consumeModel
    if (model === null) {
      // The link attaches everything that is in the set by the time it gets there.
      this.#consuming ??= this.#openConsuming()
      await this.#consuming.settled(firstAttemptMs)
    } else {
      const restart = (reason: Error) => this.#consuming?.restart(model, reason)
      await subscription.attach(model, restart).catch(restart)
    }
    return {
      stop: async () => {
        this.#subscriptions.delete(subscription)
        await subscription.stop()
      },
    }
  }

  #openConsuming(): RabbitLink {
    const link: RabbitLink = new RabbitLink({
      url: this.#url,
      name: `${this.#options.name} consume`,
      log: this.#options.log,
      setup: async (model) => {
        const restart = (reason: Error) => link.restart(model, reason)
        const channel = await model.createChannel()
        channel.on('error', restart)
        await declareTopology(channel, this.#options.topology)
        await channel.close()
        // A Set hands out what is added while it is walked; from the end of the walk on `#subscribe` attaches by itself.
        for (const subscription of this.#subscriptions) await subscription.attach(model, restart)
        this.#consumeModel = model
      },
      onUp: () => this.#tellState(),
      onDown: () => {
        this.#consumeModel = null
        for (const subscription of this.#subscriptions) subscription.detach()
        this.#tellState()
      },
    })
    return link
  }

  #tellState(): void {
    const { state } = this
    if (state === this.#told) return
    this.#told = state
    for (const listener of this.#listeners) listener(state)
  }

  #durable(name: string): DurableQueue {
    const queue = this.#options.topology.queues.find((candidate) => candidate.name === name)
    if (queue === undefined) throw new TypeError(`The topology has no queue ${name}`)
    return queue
  }

  #operatorModel(): ChannelModel {
    if (this.#publishModel === null) throw new Unavailable('not connected to the broker')
    return this.#publishModel
  }
}

interface Properties {
  messageId: string
  contentType: string
  headers: Record<string, unknown> & Carrier
}
