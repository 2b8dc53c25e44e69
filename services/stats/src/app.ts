// The wiring of stats: what is made from what, and in which order it starts.
import { namespaced, namespacedName } from '@fieldline/bus/bus'
import { connectBus } from '@fieldline/bus/connect'
import { apiBase } from '@fieldline/contracts/envelopes'
import { statsQueue, topology } from '@fieldline/contracts/topology'
import type { AdminSource } from '@fieldline/service/admin'
import { authenticate, createVerifier, requireRole } from '@fieldline/service/auth'
import { systemClock } from '@fieldline/service/clock'
import { createHealth } from '@fieldline/service/health'
import { createHttp } from '@fieldline/service/http'
import { createInternalTokens } from '@fieldline/service/internal'
import { type App, lifecycle } from '@fieldline/service/lifecycle'
import { createLogger, type Logger } from '@fieldline/service/logger'
import { createRegistry } from '@fieldline/service/metrics'
import { createPeer } from '@fieldline/service/peer'
import { createBatcher } from './batcher.ts'
import { createChanges } from './changes.ts'
import type { StatsConfig } from './config.ts'
import { createEventsConsumer, type Item, intakeOf } from './events.consumer.ts'
import { openFacts } from './facts.open.ts'
import { createFeed } from './feed.ts'
import { fillGaps } from './gaps.ts'
import { ingest } from './ingest.ts'
import { createStatsMetrics } from './metrics.ts'
import { rollUpDirty } from './rollup.ts'
import { statsRoutes } from './stats.routes.ts'
import { createTicker } from './ticker.ts'

export interface Context {
  log?: Logger
  /** Whose health and metrics are shown; default: this service's. */
  admin?: readonly AdminSource[]
}

export async function createApp(config: StatsConfig, context: Context = {}): Promise<App> {
  const { namespace, drainMs } = config
  const name = 'stats'
  const log = context.log ?? createLogger(config, name)
  const health = createHealth()
  const registry = createRegistry(name)
  const metrics = createStatsMetrics(registry)
  const clock = systemClock
  const now = () => clock.now()

  const database = openFacts(config, { log, health })
  const { store } = database
  const queue = namespacedName(statsQueue, namespace)
  const bus = await connectBus(config.brokerUrl, {
    topology: namespaced(topology, namespace),
    name,
    log,
    metrics: { consumed: (_queue, outcome) => metrics.events.inc({ outcome }) },
    ...(database.deadLetterFile === undefined ? {} : { deadLetterFile: database.deadLetterFile }),
  })
  const broker = health.dependency('broker')
  const tellBroker = () => (bus.state === 'up' ? broker.up() : broker.down(bus.reason ?? undefined))
  tellBroker()
  bus.onState(tellBroker)

  const internalTokens = createInternalTokens({ secrets: config.internalSecrets, name })
  const conversation = createPeer({ name: 'conversation', url: config.conversationUrl, internalTokens, log, registry, health })
  const feed = createFeed(conversation)
  const changes = createChanges(bus, { namespace, everyMs: config.signalMs, now })
  const batcher = createBatcher<Item>({
    most: config.prefetch,
    gatherMs: config.gatherMs,
    pauseMs: 200,
    onAway: (error) => log.warn({ err: error }, 'facts cannot be written yet'),
    async handle(items) {
      await ingest(store, intakeOf(items))
      changes.note()
    },
  })
  const { prefetch, maxAttempts } = config
  const consumer = createEventsConsumer({ bus, batcher, metrics, namespace, prefetch, maxAttempts, now })
  const onFilled = (events: number) => {
    metrics.fetched.inc(events)
    changes.note()
  }
  const gaps = createTicker({
    name: 'gaps',
    everyMs: Math.max(50, config.gapWaitMs / 2),
    log,
    work: async (signal) => void (await fillGaps({ store, feed, log, waitMs: config.gapWaitMs, now, onFilled }, signal)),
  })
  const rollUp = createTicker({
    name: 'roll-up',
    everyMs: config.rollUpMs,
    log,
    async work(signal) {
      metrics.dirty.set(await rollUpDirty(store, signal))
      metrics.early.set(await (await store.generation(await store.current())).waitingEntries())
      if (bus.state === 'up') metrics.dead.set(await bus.deadLetters(queue))
    },
  })
  const verifier = createVerifier(config, { jwks: { log } })
  const http = createHttp({
    name,
    log,
    health,
    registry,
    host: config.host,
    port: config.port,
    adminPort: config.adminPort,
    drainMs,
    ...(context.admin === undefined ? {} : { admin: context.admin }),
    routers: (app) => {
      app.use(
        apiBase,
        authenticate(verifier),
        requireRole('Support', 'Admin'),
        statsRoutes({ store, clock, maxRangeDays: config.maxRangeDays }),
      )
    },
  })
  const busPart = { name: 'bus', stop: () => bus.close() }
  return lifecycle([database, busPart, changes, conversation, consumer, gaps, rollUp, http], { name, log, drainMs, health, registry })
}
