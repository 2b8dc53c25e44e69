// Stats as a process of its own, beside a broker in a namespace of its own. For tests.
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type EventBus, namespaced, namespacedName } from '@fieldline/bus/bus'
import { connectBus } from '@fieldline/bus/connect'
import { eventsExchange, topology } from '@fieldline/contracts/topology'
import { testInternalSecret, testSecret } from '@fieldline/testing/factories'
import { type Running, start } from '@fieldline/testing/processes'
import amqplib from 'amqplib'

export interface World {
  readonly namespace: string
  readonly bus: EventBus
  readonly env: Record<string, string>
  /** Starts a replica. */
  launch(more?: Record<string, string>): Running
  /** Starts a replica and waits until it answers. */
  run(more?: Record<string, string>): Promise<{ process: Running; url: string }>
  publish(event: { type: string; id: string }): Promise<void>
  end(): Promise<void>
}

/** @param database a URL, or undefined for an SQLite file of its own */
export async function createWorld(broker: string, conversationUrl: string, database?: string): Promise<World> {
  const namespace = `stats-${randomBytes(5).toString('hex')}`
  const folder = await mkdtemp(join(tmpdir(), 'stats-'))
  const bus = await connectBus(broker, { topology: namespaced(topology, namespace), name: 'test' })
  await bus.writable()
  const env = {
    BROKER_URL: broker,
    NAMESPACE: namespace,
    DATABASE_URL: database ?? `sqlite:${join(folder, 'stats.db')}`,
    CONVERSATION_URL: conversationUrl,
    JWT_SECRET: testSecret,
    INTERNAL_SECRET: testInternalSecret,
    STATS_GAP_WAIT_MS: '300',
    STATS_ROLL_UP_MS: '200',
    STATS_SIGNAL_MS: '300',
    STATS_GATHER_MS: '20',
    LOG_LEVEL: 'warn',
  }
  const processes: Running[] = []
  const launch = (more: Record<string, string> = {}) => {
    const process = start('services/stats/src/main.ts', { env: { ...env, ...more } })
    processes.push(process)
    return process
  }
  return {
    namespace,
    bus,
    env,
    launch,
    async run(more) {
      const process = launch(more)
      return { process, url: await process.url() }
    },
    publish: (event) =>
      bus.publish({ exchange: namespacedName(eventsExchange, namespace), routingKey: event.type, id: event.id, body: event, carrier: {} }),
    async end() {
      await Promise.all(processes.map((process) => process.stop()))
      await bus.close()
      await removeTopology(broker, namespace)
      await rm(folder, { recursive: true })
    },
  }
}

async function removeTopology(broker: string, namespace: string): Promise<void> {
  const connection = await amqplib.connect(broker)
  const channel = await connection.createChannel()
  const { queues, exchanges } = namespaced(topology, namespace)
  for (const { name, deadLetter } of queues) for (const queue of [name, deadLetter]) await channel.deleteQueue(queue)
  for (const { name } of exchanges) await channel.deleteExchange(name)
  await connection.close()
}
