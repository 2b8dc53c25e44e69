// A replica's own exclusive queue at RabbitMQ: subscribed anew after every outage, acknowledged by the handler.
import type { Channel, ChannelModel, ConsumeMessage } from 'amqplib'
import { Acknowledgements } from './acknowledgements.ts'
import { asError } from './attempt.ts'
import type { Binding, BusLogger, Delivery, ListenOptions } from './bus.ts'
import { LazyDelivery } from './delivery.ts'

export interface ListenerDeps {
  readonly bindings: readonly Binding[]
  readonly handler: (delivery: Delivery) => void
  readonly options: ListenOptions
  readonly log: BusLogger | undefined
}

export class RabbitListener {
  readonly #deps: ListenerDeps
  #session: { readonly channel: Channel; readonly tag: string } | null = null
  #stopped = false
  /** `listen` has returned: from here on a new subscription means that something may have been missed. */
  #handedOver = false

  constructor(deps: ListenerDeps) {
    this.#deps = deps
  }

  handOver(): void {
    this.#handedOver = true
  }

  async attach(model: ChannelModel, restart: (reason: Error) => void): Promise<void> {
    const { bindings, options } = this.#deps
    const channel = await model.createChannel()
    channel.on('error', restart)
    const acknowledgements = new Acknowledgements(channel)
    const { queue } = await channel.assertQueue('', { exclusive: true, autoDelete: true, durable: false })
    for (const { exchange, keys } of bindings) for (const key of keys) await channel.bindQueue(queue, exchange, key)
    await channel.prefetch(options.prefetch)
    const { consumerTag } = await channel.consume(queue, (message) => {
      if (message === null) restart(new Error('the broker cancelled a listener'))
      else this.#take(acknowledgements, message)
    })
    if (this.#stopped) {
      await channel.close()
      return
    }
    this.#session = { channel, tag: consumerTag }
    if (this.#handedOver) this.#tellResubscribed()
  }

  detach(): void {
    this.#session = null
  }

  async stop(): Promise<void> {
    this.#stopped = true
    const session = this.#session
    this.#session = null
    await session?.channel.cancel(session.tag).catch(() => undefined)
    await session?.channel.close().catch(() => undefined)
  }

  #take(acknowledgements: Acknowledgements, message: ConsumeMessage): void {
    if (this.#stopped) return
    const { fields, properties, content } = message
    const delivery = new LazyDelivery(
      {
        raw: content,
        headers: properties.headers ?? {},
        exchange: fields.exchange,
        routingKey: fields.routingKey,
        redelivered: fields.redelivered,
      },
      () => acknowledgements.add(message),
    )
    try {
      this.#deps.handler(delivery)
    } catch (cause) {
      // Thrown on, it would close the channel; left unacknowledged, it would eat up the prefetch.
      this.#deps.log?.error({ err: asError(cause), routingKey: delivery.routingKey }, 'a listener failed')
      delivery.ack()
    }
  }

  #tellResubscribed(): void {
    try {
      this.#deps.options.onResubscribed()
    } catch (cause) {
      this.#deps.log?.error({ err: asError(cause) }, 'a listener failed on resubscription')
    }
  }
}
