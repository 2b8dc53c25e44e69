// The product's side of the row `publish`: the event bus over RabbitMQ, given events as conversation's relay gives them.
import { type EventBus, namespaced, namespacedName } from '@fieldline/bus/bus'
import { connectBus } from '@fieldline/bus/connect'
import { eraseTopology } from '@fieldline/bus/rabbit-topology'
import { eventsExchange, statsQueue, topology } from '@fieldline/contracts/topology'
import { outgoing } from '@fieldline/conversation/outbox.event'
import { type Channel, connect } from 'amqplib'
import { answer } from '../lib/roles.ts'
import { messageCreated, type Pipelined, pipelined } from './events.ts'

let bus: EventBus
let operator: Channel
let namespace: string
let url: string

answer({
  async start({ amqp, name }: { amqp: string; name: string }): Promise<void> {
    namespace = name
    url = amqp
    bus = await connectBus(amqp, { topology: namespaced(topology, name), name: 'bench' })
    operator = await (await connect(amqp)).createChannel()
  },
  publish(asked: Pipelined): Promise<void> {
    const exchange = namespacedName(eventsExchange, namespace)
    return pipelined(asked, (number) => bus.publish(outgoing(messageCreated(number), exchange)))
  },
  /** @returns how many events stood in the queue */
  purge: async () => (await operator.purgeQueue(namespacedName(statsQueue, namespace))).messageCount,
  async erase(): Promise<void> {
    await bus.close()
    await eraseTopology(url, namespaced(topology, namespace))
  },
})
