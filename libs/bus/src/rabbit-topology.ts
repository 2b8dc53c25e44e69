// Declares what stands at RabbitMQ, and removes it: exchanges, durable queues, their dead letters and retry queues.
import { type Channel, connect } from 'amqplib'
import { defaultRetryDelaysMs } from './attempt.ts'
import type { DurableQueue, Topology } from './bus.ts'

// RabbitMQ 4 limits a quorum queue's deliveries to 20 by default and then drops. A generous limit of ours, into the dead letters instead:
// it catches only what kills its consumer's process each time, which no header of ours can count.
const deliveryLimit = 50

/** Idempotent. @throws Error with code 406 if something exists with other arguments (the channel is then closed) */
export async function declareTopology(channel: Channel, topology: Topology): Promise<void> {
  for (const { name, type, durable } of topology.exchanges) await channel.assertExchange(name, type, { durable })
  for (const queue of topology.queues) {
    await channel.assertQueue(queue.deadLetter, { durable: true, arguments: { 'x-queue-type': queue.kind } })
    await channel.assertQueue(queue.name, { durable: true, arguments: argumentsOf(queue) })
    for (const { exchange, keys } of queue.bindings) for (const key of keys) await channel.bindQueue(queue.name, exchange, key)
  }
}

/** Where a failed event waits its pause out; the broker then puts it back. One queue per length, as a queue's head holds up the rest. */
export function retryQueue(queue: string, delayMs: number): string {
  return `${queue}.retry.${delayMs}`
}

export async function declareRetryQueues(channel: Channel, queue: DurableQueue, delaysMs: readonly number[]): Promise<void> {
  for (const delayMs of new Set(delaysMs)) {
    await channel.assertQueue(retryQueue(queue.name, delayMs), {
      durable: true,
      arguments: { 'x-queue-type': queue.kind, 'x-message-ttl': delayMs, ...deadLetteringTo(queue.name, queue.kind) },
    })
  }
}

/** Removes the topology with everything in it: for test runs and retired namespaces. Of no effect on what isn't there. */
export async function eraseTopology(
  url: string,
  topology: Topology,
  retryDelaysMs: readonly number[] = defaultRetryDelaysMs,
): Promise<void> {
  const connection = await connect(url)
  const channel = await connection.createChannel()
  for (const queue of topology.queues) {
    const retries = retryDelaysMs.map((delayMs) => retryQueue(queue.name, delayMs))
    for (const name of [queue.name, queue.deadLetter, ...retries]) await channel.deleteQueue(name)
  }
  for (const { name } of topology.exchanges) await channel.deleteExchange(name)
  await connection.close()
}

function argumentsOf(queue: DurableQueue): Record<string, unknown> {
  if (queue.kind === 'classic') return { 'x-queue-type': 'classic' }
  return { 'x-queue-type': 'quorum', 'x-delivery-limit': deliveryLimit, ...deadLetteringTo(queue.deadLetter, 'quorum') }
}

/** At-least-once (quorum only) keeps an event in its queue until the target has confirmed it; it needs reject-publish. */
function deadLetteringTo(target: string, kind: DurableQueue['kind']): Record<string, unknown> {
  const to = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': target }
  return kind === 'quorum' ? { ...to, 'x-dead-letter-strategy': 'at-least-once', 'x-overflow': 'reject-publish' } : to
}
