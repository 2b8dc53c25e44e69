// A hand at the broker beside the services: puts messages in, takes them out, counts, binds and unbinds, all under one namespace.
import { namespacedName } from '@fieldline/bus/bus'
import { type Channel, connect, type GetMessage } from 'amqplib'
import { eventually } from './client.ts'

export interface BrokerHand {
  /** Confirmed. A string is sent as it is, anything else as JSON. */
  publish(exchange: string, key: string, body: unknown, headers?: Record<string, unknown>): Promise<void>
  /** Puts a message that was taken back into its queue. */
  putBack(queue: string, message: GetMessage): Promise<void>
  /** Everything that waits in it, taken out for good. */
  takeAll(queue: string): Promise<GetMessage[]>
  /** How many wait in it. */
  waiting(queue: string): Promise<number>
  bind(queue: string, exchange: string, key: string): Promise<void>
  unbind(queue: string, exchange: string, key: string): Promise<void>
  /** Whether any queue takes an event of that key; found out by publishing an empty one. */
  isRoutable(exchange: string, key: string): Promise<boolean>
  close(): Promise<void>
}

export async function brokerHand(url: string, namespace: string): Promise<BrokerHand> {
  const connection = await connect(url)
  connection.on('error', () => undefined)
  const channel = await connection.createConfirmChannel()
  const named = (name: string): string => namespacedName(name, namespace)
  const send = async (exchange: string, key: string, content: Buffer, options: Parameters<Channel['publish']>[3]) => {
    channel.publish(exchange, key, content, { persistent: true, ...options })
    await channel.waitForConfirms()
  }
  return {
    publish: (exchange, key, body, headers = {}) =>
      send(named(exchange), key, Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)), {
        contentType: 'application/json',
        headers,
      }),
    putBack: (queue, { content, properties }) =>
      send('', named(queue), content, {
        contentType: properties.contentType,
        messageId: properties.messageId,
        headers: properties.headers ?? {},
      }),
    async takeAll(queue) {
      const taken: GetMessage[] = []
      for (;;) {
        const message = await channel.get(named(queue), { noAck: true })
        if (message === false) return taken
        taken.push(message)
      }
    },
    waiting: async (queue) => (await channel.checkQueue(named(queue))).messageCount,
    async bind(queue, exchange, key) {
      await channel.bindQueue(named(queue), named(exchange), key)
    },
    async unbind(queue, exchange, key) {
      await channel.unbindQueue(named(queue), named(exchange), key)
    },
    async isRoutable(exchange, key) {
      let returned = false
      const onReturn = (): void => {
        returned = true
      }
      channel.on('return', onReturn)
      // The broker returns what it cannot route before it confirms it.
      await send(named(exchange), key, Buffer.from('{}'), { mandatory: true })
      channel.off('return', onReturn)
      return !returned
    },
    async close() {
      await eventually(async () => {
        await connection.close()
        return true
      }, 5_000)
    },
  }
}
