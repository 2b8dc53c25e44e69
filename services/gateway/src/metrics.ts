// The gateway's own figures: breakers, refusals, replicas, tunnels.
import { counter, gauge, histogram, type Registry } from '@fieldline/service/metrics'

export type BreakerState = 'closed' | 'halfOpen' | 'open'
export type GatewayMetrics = ReturnType<typeof createMetrics>

export function createMetrics(registry: Registry) {
  const breakers = gauge(
    registry,
    'fieldline_gateway_breaker_state',
    'State of the breaker of an upstream: 0 closed, 1 half open, 2 open',
    ['upstream'],
  )
  const opened = counter(registry, 'fieldline_gateway_breaker_opened_total', 'How often a breaker opened', ['upstream'])
  const refused = counter(registry, 'fieldline_gateway_refused_total', 'Requests answered 503 without asking the upstream', [
    'upstream',
    'reason',
  ])
  const retried = counter(registry, 'fieldline_gateway_retried_total', 'Reads sent a second time', ['upstream'])
  const answered = histogram(registry, 'fieldline_gateway_upstream_duration_seconds', 'Time until an upstream began its answer', [
    'upstream',
    'outcome',
  ])
  const limited = counter(registry, 'fieldline_gateway_rate_limited_total', 'Requests over a limit', ['class'])
  const limitFallbacks = counter(registry, 'fieldline_gateway_rate_limit_fallbacks_total', 'Times the shared limit store was lost')
  const replicas = gauge(registry, 'fieldline_gateway_realtime_replicas', 'Replicas of realtime by state', ['state'])
  const tunnels = gauge(registry, 'fieldline_gateway_websockets', 'WebSockets held open')
  const perUpstream = new Map<string, Map<object, BreakerState>>()
  const states = { closed: 0, halfOpen: 1, open: 2 } as const

  return {
    /** The state of one breaker; upstreams with several (realtime's replicas) show the worst. */
    breaker(upstream: string): { set(state: BreakerState): void; remove(): void } {
      const own = {}
      const all = perUpstream.get(upstream) ?? new Map<object, BreakerState>()
      perUpstream.set(upstream, all)
      const show = () => breakers.set({ upstream }, Math.max(0, ...[...all.values()].map((state) => states[state])))
      all.set(own, 'closed')
      show()
      return {
        set(state) {
          all.set(own, state)
          if (state === 'open') opened.inc({ upstream })
          show()
        },
        remove() {
          all.delete(own)
          show()
        },
      }
    },
    refused: (upstream: string, reason: 'open' | 'full') => refused.inc({ upstream, reason }),
    retried: (upstream: string) => retried.inc({ upstream }),
    answered: (upstream: string, outcome: string, seconds: number) => answered.observe({ upstream, outcome }, seconds),
    limited: (limit: string) => limited.inc({ class: limit }),
    limitFallback: () => limitFallbacks.inc(),
    replicas(ready: number, draining: number, away: number): void {
      replicas.set({ state: 'ready' }, ready)
      replicas.set({ state: 'draining' }, draining)
      replicas.set({ state: 'away' }, away)
    },
    tunnelOpened: () => tunnels.inc(),
    tunnelClosed: () => tunnels.dec(),
  }
}
