// How much one person, or one address that names nobody, may ask in a window; counted in a shared Redis where there is one, else here.
import { createHash } from 'node:crypto'
import { AppError } from '@fieldline/contracts/errors'
import type { Health } from '@fieldline/service/health'
import type { Part } from '@fieldline/service/lifecycle'
import type { Logger } from '@fieldline/service/logger'
import { Redis } from 'ioredis'
import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible'
import type { GatewayConfig } from './config.ts'
import type { GatewayMetrics } from './metrics.ts'

export type LimitClass = 'read' | 'write' | 'upload' | 'anonymous' | 'delivery'

/** How much is left, as every answer tells, a refusal too; the reset is in seconds. */
export type Standing = Record<'ratelimit-limit' | 'ratelimit-remaining' | 'ratelimit-reset', number>

export interface Limits extends Part {
  /** Counts one request and tells the standing. @throws AppError RATE_LIMITED */
  take(limit: LimitClass, key: string, tell: (standing: Standing) => void): Promise<void>
}

type LimitConfig = Pick<
  GatewayConfig,
  | 'rateLimitEnabled'
  | 'rateLimitUrl'
  | 'rateLimitWindowMs'
  | 'rateLimitRead'
  | 'rateLimitWrite'
  | 'rateLimitUpload'
  | 'rateLimitAnonymous'
  | 'rateLimitDelivery'
  | 'namespace'
>

/** A Redis slower than this is passed over for the request at hand. */
const redisPatienceMs = 250

export function createLimits(
  config: LimitConfig,
  { log, health, metrics }: { log: Logger; health: Health; metrics: GatewayMetrics },
): Limits {
  const most: Record<LimitClass, number> = {
    read: config.rateLimitRead,
    write: config.rateLimitWrite,
    upload: config.rateLimitUpload,
    anonymous: config.rateLimitAnonymous,
    delivery: config.rateLimitDelivery,
  }
  let stopped = false
  const duration = Math.max(1, Math.round(config.rateLimitWindowMs / 1_000))
  const redis = config.rateLimitEnabled && config.rateLimitUrl !== undefined ? connect(config.rateLimitUrl) : undefined
  const limiters = Object.fromEntries(
    Object.entries(most).map(([name, points]) => {
      const own = { keyPrefix: `${config.namespace}fieldline:limit:${name}`, points, duration }
      const memory = new RateLimiterMemory(own)
      if (!redis) return [name, memory]
      return [name, new RateLimiterRedis({ ...own, storeClient: redis, rejectIfRedisNotReady: true, insuranceLimiter: memory })]
    }),
  ) as Record<LimitClass, RateLimiterMemory | RateLimiterRedis>

  function connect(url: string): Redis {
    const client = new Redis(url, {
      lazyConnect: true,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      commandTimeout: redisPatienceMs,
      connectTimeout: 2_000,
      disconnectTimeout: 200,
      retryStrategy: (tries) => Math.min(100 * tries, 2_000),
    })
    const dependency = health.dependency('rate-limits', { required: false })
    let up: boolean | undefined
    client.on('ready', () => {
      dependency.up()
      if (up === false) log.info('rate limits are shared again')
      up = true
    })
    const lost = (error?: NodeJS.ErrnoException) => {
      if (stopped) return
      dependency.down(error?.code)
      if (up !== false) {
        log.warn({ reason: error?.code ?? 'closed' }, 'rate limits are counted by this replica alone')
        metrics.limitFallback()
      }
      up = false
    }
    client.on('error', lost)
    client.on('close', () => lost())
    return client
  }

  return {
    name: 'rate limits',
    async start() {
      // A Redis that is down is no reason not to start: limits are counted here until it is back.
      await redis?.connect().catch(() => undefined)
    },
    async stop() {
      stopped = true
      redis?.disconnect()
    },
    async take(limit, key, tell) {
      if (!config.rateLimitEnabled) return
      try {
        tell(standing(most[limit], await limiters[limit].consume(bounded(key))))
      } catch (rejected) {
        if (!(rejected instanceof RateLimiterRes)) throw rejected
        metrics.limited(limit)
        const now = standing(most[limit], rejected)
        tell(now)
        throw new AppError('RATE_LIMITED', 'Too many requests; try again later', { retryAfter: now['ratelimit-reset'] })
      }
    },
  }
}

function standing(limit: number, result: RateLimiterRes): Standing {
  return {
    'ratelimit-limit': limit,
    'ratelimit-remaining': Math.max(0, result.remainingPoints),
    'ratelimit-reset': Math.max(1, Math.ceil(result.msBeforeNext / 1_000)),
  }
}

/** Ids are opaque: one that would make an odd key is counted by its hash. */
function bounded(key: string): string {
  return /^[\w.:@-]{1,64}$/.test(key) ? key : createHash('sha256').update(key).digest('base64url')
}
