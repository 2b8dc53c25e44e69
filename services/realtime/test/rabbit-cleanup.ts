// Takes a test's namespace off a shared broker: durable queues and exchanges outlive their run.
import { namespaced } from '@fieldline/bus/bus'
import { topology } from '@fieldline/contracts/topology'
import { connect } from 'amqplib'

export async function cleanBroker(url: string, namespace: string): Promise<void> {
  if (!url.startsWith('amqp')) return
  const connection = await connect(url)
  const channel = await connection.createChannel()
  const { exchanges, queues } = namespaced(topology, namespace)
  for (const { name, deadLetter } of queues) {
    await channel.deleteQueue(name)
    await channel.deleteQueue(deadLetter)
  }
  for (const { name } of exchanges) await channel.deleteExchange(name)
  await connection.close()
}
