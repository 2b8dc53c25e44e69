// Dead letters once more: put back into the broker's queue, or, of an embedded run, handled here by the same consumer.
import { namespaced, namespacedName } from '@fieldline/bus/bus'
import { connectBus } from '@fieldline/bus/connect'
import { statsQueue, topology } from '@fieldline/contracts/topology'
import { createHealth } from '@fieldline/service/health'
import { createLogger } from '@fieldline/service/logger'
import { createRegistry } from '@fieldline/service/metrics'
import { createBatcher } from './batcher.ts'
import { createEventsConsumer, type Item, intakeOf } from './events.consumer.ts'
import { openFacts } from './facts.open.ts'
import { ingest } from './ingest.ts'
import { createStatsMetrics } from './metrics.ts'

export interface ReplayConfig {
  databaseUrl: string
  brokerUrl: string
  namespace: string
  prefetch: number
  logLevel: string
}

/** @returns how many were taken, and how many lie there afterwards: those of an embedded run that failed again @throws Unavailable */
export async function replayDead(config: ReplayConfig, limit: number): Promise<{ replayed: number; left: number }> {
  return config.brokerUrl.startsWith('memory:') ? replayEmbedded(config, limit) : replayBroker(config, limit)
}

async function replayBroker({ brokerUrl, namespace }: ReplayConfig, limit: number): Promise<{ replayed: number; left: number }> {
  const bus = await connectBus(brokerUrl, { topology: namespaced(topology, namespace), name: 'stats-replay' })
  try {
    await bus.writable()
    const queue = namespacedName(statsQueue, namespace)
    return { replayed: await bus.replayDead(queue, limit), left: await bus.deadLetters(queue) }
  } finally {
    await bus.close()
  }
}

/** The file of dead letters and the store are shared with the run, which may go on; its bus is not. */
async function replayEmbedded(config: ReplayConfig, limit: number): Promise<{ replayed: number; left: number }> {
  const { namespace, prefetch } = config
  const log = createLogger({ logLevel: config.logLevel, readyLine: true }, 'stats-command')
  const database = openFacts(config, { log, health: createHealth() })
  if (database.deadLetterFile === undefined)
    throw new Error('An embedded run keeps dead letters beside an SQLite file, which DATABASE_URL must name')
  const options = { topology: namespaced(topology, namespace), name: 'stats-replay', deadLetterFile: database.deadLetterFile, log }
  const bus = await connectBus('memory:stats-replay', options)
  const batcher = createBatcher<Item>({
    most: prefetch,
    gatherMs: 0,
    pauseMs: 200,
    onAway: (error) => log.warn({ err: error }, 'facts cannot be written yet'),
    handle: (items) => ingest(database.store, intakeOf(items)),
  })
  const metrics = createStatsMetrics(createRegistry('stats'))
  const consumer = createEventsConsumer({ bus, batcher, metrics, namespace, prefetch, maxAttempts: 1, now: () => new Date() })
  try {
    await consumer.start?.()
    const queue = namespacedName(statsQueue, namespace)
    return { replayed: await bus.replayDead(queue, limit), left: await bus.deadLetters(queue) }
  } finally {
    await consumer.stop?.()
    await bus.close()
    await database.stop?.()
  }
}
