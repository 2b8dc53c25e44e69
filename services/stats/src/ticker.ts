// Work that is done again and again with a pause in between, never twice at once, and ended with the service.
import { AppError } from '@fieldline/contracts/errors'
import type { Part } from '@fieldline/service/lifecycle'
import type { Logger } from '@fieldline/service/logger'

export interface TickerOptions {
  name: string
  everyMs: number
  log: Logger
  work(signal: AbortSignal): Promise<void>
}

/** The pause is at least nineteen times what the work took, so that it never takes more than a twentieth of the time. */
export function createTicker({ name, everyMs, log, work }: TickerOptions): Part {
  const ending = new AbortController()
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> | undefined

  async function tick(): Promise<void> {
    const began = performance.now()
    try {
      await work(ending.signal)
    } catch (error) {
      // Readiness tells that a dependency is away; only what is a fault of ours is worth a line each time.
      if (error instanceof AppError && error.code === 'UNAVAILABLE') log.debug({ ticker: name }, 'a dependency is away')
      else if (!ending.signal.aborted) log.error({ err: error, ticker: name }, 'periodic work failed')
    }
    running = undefined
    schedule(Math.max(everyMs, 19 * (performance.now() - began)))
  }

  function schedule(ms: number): void {
    if (ending.signal.aborted) return
    timer = setTimeout(() => {
      running = tick()
    }, ms)
  }

  return {
    name,
    async start() {
      schedule(everyMs)
    },
    async stop() {
      ending.abort()
      clearTimeout(timer)
      await running
    },
  }
}
