// One breaker for one upstream (opossum): who counts as a failure, what an open one answers, and its state for metrics and readiness.
import { AppError } from '@fieldline/contracts/errors'
import type { Logger } from '@fieldline/service/logger'
import CircuitBreaker from 'opossum'
import type { BreakerState, GatewayMetrics } from './metrics.ts'

/** Speaks against the upstream: refused, cut, late, or a 5xx. `passedOn`: the client has that answer already. */
export class UpstreamFault extends Error {
  override readonly name = 'UpstreamFault'
  readonly kind: 'refused' | 'cut' | 'late' | 'garbled' | 'answered'
  readonly passedOn: boolean
  constructor(kind: UpstreamFault['kind'], more: { passedOn?: boolean; cause?: unknown } = {}) {
    super(`the upstream ${kind === 'answered' ? 'answered 5xx' : `was ${kind}`}`, { cause: more.cause })
    this.kind = kind
    this.passedOn = more.passedOn ?? false
  }
}

/** The client went away before its answer. Nobody's failure. */
export class ClientLeft extends Error {
  override readonly name = 'ClientLeft'
}

export interface BreakerOptions {
  name: string
  failuresPercent: number
  leastRequests: number
  windowMs: number
  resetMs: number
  concurrency: number
  log: Logger
  metrics: GatewayMetrics
  /** Told of each change of state. */
  onState?: ((state: BreakerState) => void) | undefined
}

export interface Breaker {
  /** @throws AppError UNAVAILABLE at once while open or full; else whatever `attempt` throws */
  run<T>(attempt: () => Promise<T>): Promise<T>
  readonly state: BreakerState
  stop(): void
}

/** A trial keeps the others waiting no longer: how long it takes may be its client's doing (a slow upload) or its nature (a poll). */
const trialMs = 1_000

/**
 * opossum keeps the window, the threshold and the state; it is told outcomes once they are known, since it has no word for an attempt that
 * proved nothing: a client's leaving is neither failure nor success, and while half open it leaves the trial to the next request.
 */
export function createBreaker(options: BreakerOptions): Breaker {
  const { name, resetMs, concurrency, log, metrics } = options
  const circuit = new CircuitBreaker((fault?: UpstreamFault) => (fault ? Promise.reject(fault) : Promise.resolve()), {
    timeout: false,
    errorThresholdPercentage: options.failuresPercent,
    volumeThreshold: options.leastRequests,
    rollingCountTimeout: options.windowMs,
    rollingPercentilesEnabled: false,
    enableSnapshots: false,
    resetTimeout: resetMs,
  })
  const gauge = metrics.breaker(name)
  let openedAt = 0
  let running = 0
  let triedAt = Number.NEGATIVE_INFINITY

  circuit.on('open', () => {
    openedAt = performance.now()
    change('open')
    log.warn({ upstream: name }, 'breaker opened')
  })
  circuit.on('halfOpen', () => change('halfOpen'))
  circuit.on('close', () => {
    change('closed')
    log.info({ upstream: name }, 'breaker closed')
  })

  function change(state: BreakerState): void {
    gauge.set(state)
    options.onState?.(state)
  }
  function refuse(reason: 'open' | 'full'): never {
    metrics.refused(name, reason)
    const left = reason === 'full' ? 1_000 : openedAt + resetMs - performance.now()
    throw new AppError('UNAVAILABLE', `${name} is not available now`, { retryAfter: Math.max(1, Math.ceil(left / 1_000)) })
  }
  function tell(startedAt: number, fault?: UpstreamFault): void {
    // What began before the breaker opened says nothing of the time since.
    if (startedAt < openedAt) return
    circuit.fire(fault).catch(() => undefined)
  }

  return {
    async run(attempt) {
      const startedAt = performance.now()
      if (circuit.opened || (circuit.halfOpen && startedAt - triedAt < trialMs)) refuse('open')
      if (running >= concurrency) refuse('full')
      if (circuit.halfOpen) triedAt = startedAt
      running += 1
      try {
        const outcome = await attempt()
        tell(startedAt)
        return outcome
      } catch (error) {
        if (error instanceof UpstreamFault) tell(startedAt, error)
        throw error
      } finally {
        running -= 1
        if (triedAt === startedAt) triedAt = Number.NEGATIVE_INFINITY
      }
    },
    get state() {
      return circuit.closed ? 'closed' : circuit.halfOpen ? 'halfOpen' : 'open'
    },
    stop() {
      circuit.shutdown()
      gauge.remove()
    },
  }
}
