// The gateway's wiring, read from top to bottom.
import type { AdminSource } from '@fieldline/service/admin'
import { createVerifier } from '@fieldline/service/auth'
import { createHealth } from '@fieldline/service/health'
import { createHttp, type HttpPart } from '@fieldline/service/http'
import { createInternalTokens } from '@fieldline/service/internal'
import { type App, lifecycle } from '@fieldline/service/lifecycle'
import { createLogger, type Logger } from '@fieldline/service/logger'
import { createRegistry } from '@fieldline/service/metrics'
import type { GatewayConfig } from './config.ts'
import { documentRoutes } from './documents.routes.ts'
import { restDoor } from './door.ts'
import { createFront } from './front.ts'
import { createLimits } from './limits.ts'
import { type BreakerState, createMetrics } from './metrics.ts'
import { corsHeaders, countedByAddress, securityHeaders } from './pages.ts'
import { createPolling } from './polling.ts'
import { createReplicas, type Lookup } from './replicas.ts'
import { socketPath } from './session.ts'
import { createTunnels } from './tunnels.ts'
import { createUpstream, type Upstream } from './upstream.ts'

export interface GatewayDeps {
  log?: Logger
  /** The embedded run's other services, whose health and metrics are shown here beside the gateway's. */
  admin?: readonly AdminSource[]
  /** How realtime's headless name is resolved; default: by the system. */
  lookup?: Lookup
}

const breakerText = { open: 'BREAKER_OPEN', halfOpen: 'BREAKER_HALF_OPEN' } as const

export async function createApp(config: GatewayConfig, deps: GatewayDeps = {}): Promise<App> {
  const log = deps.log ?? createLogger(config, 'gateway')
  const health = createHealth()
  const registry = createRegistry('gateway')
  const metrics = createMetrics(registry)
  const verifier = createVerifier(config, { jwks: { log } })
  const tokens = createInternalTokens({ secrets: config.internalSecrets, name: 'gateway' })

  const breakerOf = (name: string, concurrency = config.concurrency) => ({
    name,
    failuresPercent: config.breakerFailuresPercent,
    leastRequests: config.breakerLeastRequests,
    windowMs: config.breakerWindowMs,
    resetMs: config.breakerResetMs,
    concurrency,
    log,
    metrics,
  })
  /** A service and what readiness says of it: its breaker's word at once, else whether it answers at all. */
  const service = (name: string, url: string): Upstream => {
    const shown = health.dependency(name, { check: () => upstream.probe(), required: false })
    const onState = (state: BreakerState) => (state === 'closed' ? shown.up() : shown.down(breakerText[state]))
    const upstream = createUpstream(url, { ...breakerOf(name), onState })
    return upstream
  }
  const upstreams = {
    conversation: service('conversation', config.conversationUrl),
    media: service('media', config.mediaUrl),
    stats: service('stats', config.statsUrl),
  }
  const replicas = createReplicas({
    urls: config.realtimeUrls,
    tokens,
    everyMs: config.discoveryMs,
    log,
    metrics,
    // Every polling client holds one request open.
    upstream: (url) => createUpstream(url, breakerOf('realtime', 50_000)),
    lookup: deps.lookup,
  })
  const limits = createLimits(config, { log, health, metrics })
  const polling = createPolling(config, replicas)
  const tunnels = createTunnels({ config, replicas, log, metrics })

  health.dependency('realtime', { check: someReplica, required: false })
  let met = false
  // Ready once the services behind have been met; from then on their troubles are breakers', not a reason to take every gateway away.
  health.dependency('first-contact', {
    async check() {
      if (met) return
      await Promise.all([upstreams.conversation.probe(), someReplica()])
      met = true
    },
  })
  async function someReplica(): Promise<void> {
    if (!replicas.ready) throw Object.assign(new Error('no replica is ready'), { code: 'NO_REPLICA' })
  }

  const http: HttpPart = createHttp({
    name: 'gateway',
    log,
    health,
    registry,
    host: config.host,
    port: config.port,
    adminPort: config.adminPort,
    drainMs: config.drainMs,
    jsonLimit: false,
    // Uploads take their time; each body has a deadline of its own kind.
    requestTimeoutMs: 0,
    admin: [{ name: 'gateway', health, registry }, ...(deps.admin ?? [])],
    first: createFront({
      config,
      log,
      registry,
      rest: restDoor({ config, verifier, limits, upstreams }),
      stopping: () => !http.server.listening,
    }),
    routers(app) {
      app.use(securityHeaders(config), corsHeaders(config))
      app.use(socketPath, polling.door)
      const counted = countedByAddress(config, limits)
      // Behind the documents there is nothing: a flood of unknown paths is limited as any other.
      app.use(documentRoutes(config, counted), counted)
    },
  })
  tunnels.attach(http.server)

  const last = {
    name: 'sessions',
    async stop() {
      http.stopAccepting()
      await Promise.all([tunnels.stop?.(), polling.stop?.()])
    },
  }
  return lifecycle([limits, ...Object.values(upstreams), replicas, http, last], {
    name: 'gateway',
    log,
    drainMs: config.drainMs,
    health,
    registry,
  })
}
