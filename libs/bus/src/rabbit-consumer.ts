// Taking events from a durable RabbitMQ queue: handle, acknowledge, or pass on to a retry queue or the dead letters before acknowledging.
import { setTimeout as pause } from 'node:timers/promises'
import type { Channel, ChannelModel, ConsumeMessage } from 'amqplib'
import { asError, attempt, type Outcome, within } from './attempt.ts'
import { type BusLogger, type BusMetrics, type ConsumeOptions, type Delivery, type DurableQueue, Unroutable } from './bus.ts'
import { headersForDead, headersForRetry, LazyDelivery } from './delivery.ts'
import type { RabbitPublisher } from './rabbit-publisher.ts'
import { declareRetryQueues, retryQueue } from './rabbit-topology.ts'

const passOnPauseMs = 500
const stopGraceMs = 2_000

export interface ConsumerDeps<Body> {
  readonly queue: DurableQueue
  readonly handler: (delivery: Delivery<Body>) => Promise<void>
  readonly options: ConsumeOptions<Body>
  readonly retryDelaysMs: readonly number[]
  readonly publisher: RabbitPublisher
  readonly log: BusLogger | undefined
  readonly metrics: BusMetrics | undefined
}

/** One subscription on one connection. After `gone` nothing is acknowledged: the broker delivers it again. */
interface Session {
  readonly channel: Channel
  readonly gone: AbortController
  readonly restart: (reason: Error) => void
  tag: string | null
}

export class RabbitConsumer<Body> {
  readonly #deps: ConsumerDeps<Body>
  readonly #running = new Set<Promise<void>>()
  #session: Session | null = null
  #stopping = false

  constructor(deps: ConsumerDeps<Body>) {
    this.#deps = deps
  }

  async attach(model: ChannelModel, restart: (reason: Error) => void): Promise<void> {
    const { queue, options, retryDelaysMs } = this.#deps
    const channel = await model.createChannel()
    const session: Session = { channel, gone: new AbortController(), restart, tag: null }
    channel.on('error', restart)
    this.#session = session
    await declareRetryQueues(channel, queue, retryDelaysMs)
    await channel.prefetch(options.prefetch)
    const { consumerTag } = await channel.consume(queue.name, (message) => {
      if (message === null) restart(new Error(`the broker cancelled the consumer of ${queue.name}`))
      else this.#take(session, message)
    })
    session.tag = consumerTag
    // Stopped in the meantime: what came stays unacknowledged and goes back with the channel.
    if (this.#stopping) await channel.close()
  }

  detach(): void {
    this.#session?.gone.abort()
    this.#session = null
  }

  async stop(): Promise<void> {
    this.#stopping = true
    const session = this.#session
    if (session?.tag != null) await session.channel.cancel(session.tag).catch(() => undefined)
    const ended = Promise.all(this.#running)
    await within(this.#deps.options.handlerTimeoutMs + stopGraceMs, ended, 'stopping').catch((error: Error) =>
      this.#deps.log?.warn({ queue: this.#deps.queue.name, reason: error.message }, 'stopped before every handler had ended'),
    )
    this.detach()
    await session?.channel.close().catch(() => undefined)
  }

  #take(session: Session, message: ConsumeMessage): void {
    // What still arrives while stopping stays unacknowledged: it goes back to the queue with the channel.
    if (this.#stopping) return
    const run = this.#handle(session, message).finally(() => this.#running.delete(run))
    this.#running.add(run)
  }

  async #handle(session: Session, message: ConsumeMessage): Promise<void> {
    const { queue, handler, options, retryDelaysMs, metrics, log } = this.#deps
    const delivery = new LazyDelivery(
      {
        raw: message.content,
        headers: message.properties.headers ?? {},
        exchange: message.fields.exchange,
        routingKey: message.fields.routingKey,
        redelivered: message.fields.redelivered,
      },
      () => undefined,
    )
    const outcome = await attempt(delivery, handler, options, retryDelaysMs)
    if (outcome.kind !== 'done') {
      const fields = { queue: queue.name, id: message.properties.messageId, attempts: delivery.attempts, reason: outcome.error.message }
      if (outcome.kind === 'retry') log?.warn(fields, 'handling failed, to be tried again')
      else log?.error({ ...fields, err: outcome.error }, 'handling failed for good, to the dead letters')
      await this.#passOn(session, message, delivery, outcome)
    }
    if (session.gone.signal.aborted) return
    metrics?.consumed?.(queue.name, outcome.kind)
    acknowledge(session.channel, message)
  }

  /** Puts a failed event where it waits or rests, confirmed. Tries until the subscription is gone (then it is redelivered). */
  async #passOn(session: Session, message: ConsumeMessage, delivery: Delivery, outcome: Exclude<Outcome, { kind: 'done' }>): Promise<void> {
    const { queue, publisher, log } = this.#deps
    const retry = outcome.kind === 'retry'
    const target = retry ? retryQueue(queue.name, outcome.delayMs) : queue.deadLetter
    const { signal } = session.gone
    while (!signal.aborted) {
      try {
        await publisher.send('', target, delivery.raw, {
          messageId: String(message.properties.messageId ?? ''),
          contentType: message.properties.contentType ?? 'application/octet-stream',
          headers: retry ? headersForRetry(delivery) : headersForDead(delivery, outcome.error.message.slice(0, 500)),
        })
        return
      } catch (cause) {
        log?.warn({ queue: queue.name, target, reason: asError(cause).message }, 'a failed event could not be passed on yet')
        // Someone removed the queue: a new subscription declares it again.
        if (cause instanceof Unroutable) session.restart(cause)
        await pause(passOnPauseMs, undefined, { signal }).catch(() => undefined)
      }
    }
  }
}

function acknowledge(channel: Channel, message: ConsumeMessage): void {
  try {
    channel.ack(message)
  } catch {
    // The channel closed in this moment: the broker delivers the event again.
  }
}
