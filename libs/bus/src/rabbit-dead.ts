// Dead letters at RabbitMQ, for operators: look at them, put them back.
import type { Channel, ChannelModel, GetMessage } from 'amqplib'
import type { DeadLetter, DurableQueue } from './bus.ts'
import { exchangeHeader, headersForReplay, reasonHeader, routingKeyHeader, textHeader } from './delivery.ts'
import type { RabbitPublisher } from './rabbit-publisher.ts'

export function peekDead(model: ChannelModel, queue: DurableQueue, limit: number): Promise<DeadLetter[]> {
  // Nothing is acknowledged: with the channel all of it goes back where it was.
  return withChannel(model, async (channel) => {
    const found: DeadLetter[] = []
    while (found.length < limit) {
      const message = await channel.get(queue.deadLetter)
      if (message === false) break
      found.push(deadLetter(message))
    }
    return found
  })
}

export function replayDead(model: ChannelModel, publisher: RabbitPublisher, queue: DurableQueue, limit: number): Promise<number> {
  return withChannel(model, async (channel) => {
    // Counted first: what dies again meanwhile isn't put back again.
    const { messageCount } = await channel.checkQueue(queue.deadLetter)
    let replayed = 0
    while (replayed < Math.min(limit, messageCount)) {
      const message = await channel.get(queue.deadLetter)
      if (message === false) break
      const { messageId, contentType, headers } = message.properties
      await publisher.send('', queue.name, message.content, {
        messageId: String(messageId ?? ''),
        contentType: contentType ?? 'application/octet-stream',
        headers: headersForReplay(headers ?? {}),
      })
      channel.ack(message)
      replayed++
    }
    return replayed
  })
}

async function withChannel<T>(model: ChannelModel, use: (channel: Channel) => Promise<T>): Promise<T> {
  const channel = await model.createChannel()
  channel.on('error', () => undefined)
  try {
    return await use(channel)
  } finally {
    await channel.close().catch(() => undefined)
  }
}

function deadLetter({ content, fields, properties }: GetMessage): DeadLetter {
  const headers = properties.headers ?? {}
  return {
    body: content.toString(),
    headers,
    exchange: textHeader(headers, exchangeHeader) ?? fields.exchange,
    routingKey: textHeader(headers, routingKeyHeader) ?? fields.routingKey,
    reason: textHeader(headers, reasonHeader) ?? 'delivered too often without an answer',
  }
}
