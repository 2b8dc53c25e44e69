// One service as the gateway sees it: a pool of kept-alive connections behind a breaker.
import type { ServerResponse } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { AppError } from '@fieldline/contracts/errors'
import type { Part } from '@fieldline/service/lifecycle'
import { Pool } from 'undici'
import { type Breaker, type BreakerOptions, ClientLeft, createBreaker, UpstreamFault } from './breaker.ts'
import { exchange, type Outgoing } from './exchange.ts'

export interface Upstream extends Part {
  /** Passes the request on and answers with what comes back. @throws AppError UNAVAILABLE, BAD_GATEWAY; ClientLeft */
  pass(outgoing: Outgoing, res: ServerResponse): Promise<void>
  /** Resolves when the service gives any answer at all. Rejects while its breaker is open, too. */
  probe(): Promise<void>
  readonly breaker: Breaker
  readonly pool: Pool
}

const kindsToRetry = new Set<UpstreamFault['kind']>(['refused', 'cut'])

/** @param url its origin; a path in it comes before every path */
export function createUpstream(url: string, options: BreakerOptions): Upstream {
  const { name, metrics } = options
  const base = new URL(url)
  const prefix = base.pathname.replace(/\/$/, '')
  const pool = new Pool(base.origin, {
    pipelining: 1,
    // Idle connections end here before they do over there (65 s), so that no request meets a closing one.
    keepAliveTimeout: 30_000,
    keepAliveMaxTimeout: 55_000,
    connect: { timeout: 2_000, noDelay: true },
  })
  const breaker = createBreaker(options)

  async function attempt(outgoing: Outgoing, res: ServerResponse): Promise<void> {
    const began = performance.now()
    const tell = (outcome: string) => metrics.answered(name, outcome, (performance.now() - began) / 1_000)
    try {
      await exchange(pool, outgoing, res)
      tell('answered')
    } catch (error) {
      tell(error instanceof UpstreamFault ? error.kind : error instanceof ClientLeft ? 'left' : 'refused by us')
      throw error
    }
  }

  async function twice(outgoing: Outgoing, res: ServerResponse): Promise<void> {
    try {
      await breaker.run(() => attempt(outgoing, res))
    } catch (error) {
      if (!outgoing.retry || (outgoing.method !== 'GET' && outgoing.method !== 'HEAD')) throw error
      if (!(error instanceof UpstreamFault && kindsToRetry.has(error.kind)) || res.headersSent) throw error
      await pause(10 + Math.random() * 90)
      if (res.destroyed) throw new ClientLeft('the client left', { cause: error })
      metrics.retried(name)
      await breaker.run(() => attempt(outgoing, res))
    }
  }

  return {
    name: `upstream ${name}`,
    pool,
    breaker,
    async pass(outgoing, res) {
      try {
        await twice(prefix === '' ? outgoing : { ...outgoing, path: `${prefix}${outgoing.path}` }, res)
      } catch (error) {
        if (!(error instanceof UpstreamFault)) throw error
        if (error.passedOn) return
        if (error.kind === 'garbled') throw new AppError('BAD_GATEWAY', `${name} gave no usable answer`, { retryAfter: 1, cause: error })
        throw new AppError('UNAVAILABLE', `${name} is not available now`, { retryAfter: 1, cause: error })
      }
    },
    async probe() {
      if (breaker.state === 'open') throw Object.assign(new Error('the breaker is open'), { code: 'BREAKER_OPEN' })
      const { body } = await pool.request({ method: 'GET', path: `${prefix}/health/live`, headersTimeout: 1_500, bodyTimeout: 1_500 })
      await body.dump()
    },
    async stop() {
      breaker.stop()
      await pool.destroy()
    },
  }
}
