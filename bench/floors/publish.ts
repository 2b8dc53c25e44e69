// Floor of event publishing: amqplib's confirms, pipelined, to a quorum queue like the one of stats.
import { type Channel, type ConfirmChannel, connect } from 'amqplib'
import { answer } from '../lib/roles.ts'
import { messageCreated, type Pipelined, pipelined } from '../load/events.ts'

let channel: ConfirmChannel
let operator: Channel
let exchange: string
let queue: string

answer({
  async start({ amqp, name }: { amqp: string; name: string }): Promise<void> {
    const connection = await connect(amqp, { noDelay: true })
    channel = await connection.createConfirmChannel()
    operator = await connection.createChannel()
    exchange = name
    queue = `${name}.events`
    await operator.assertExchange(exchange, 'topic', { durable: true })
    await operator.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } })
    await operator.bindQueue(queue, exchange, 'message.*')
  },
  publish: (asked: Pipelined) =>
    pipelined(
      asked,
      (number) =>
        new Promise((resolve, reject) => {
          const body = Buffer.from(JSON.stringify(messageCreated(number)))
          channel.publish(exchange, 'message.created', body, { persistent: true }, (error) => (error ? reject(error) : resolve()))
        }),
    ),
  /** @returns how many events stood in the queue */
  purge: async () => (await operator.purgeQueue(queue)).messageCount,
  async erase(): Promise<void> {
    await operator.deleteQueue(queue)
    await operator.deleteExchange(exchange)
  },
})
