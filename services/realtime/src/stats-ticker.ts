// `stats:updated` to agents and admins: a hint that figures moved, a few seconds apart at most, the last one never left out.
import type { Audience } from './audience.ts'
import type { RealtimeMetrics } from './metrics.ts'

export class StatsTicker {
  readonly #audience: Audience
  readonly #metrics: RealtimeMetrics
  readonly #everyMs: number
  #toldAt = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | undefined

  constructor(audience: Audience, metrics: RealtimeMetrics, everyMs: number) {
    this.#audience = audience
    this.#metrics = metrics
    this.#everyMs = everyMs
  }

  changed(): void {
    const wait = this.#toldAt + this.#everyMs - performance.now()
    if (wait <= 0) this.#tell()
    else this.#timer ??= setTimeout(() => this.#tell(), wait).unref()
  }
  stop(): void {
    clearTimeout(this.#timer)
  }

  #tell(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#toldAt = performance.now()
    const to = new Set([...this.#audience.agents, ...this.#audience.admins])
    this.#audience.say(to, 'stats:updated', { at: new Date().toISOString() })
    this.#metrics.emits.inc({ event: 'stats:updated' }, to.size)
  }
}
