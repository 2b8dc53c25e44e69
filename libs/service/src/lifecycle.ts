// Start in order, stop in reverse, within a time: the one list that says what a service is made of.
import type { Registry } from 'prom-client'
import { createHealth, type Health } from './health.ts'
import type { Logger } from './logger.ts'
import { createRegistry } from './metrics.ts'

/**
 * Something a service opens and closes. What connects to a server must not fail a start because that server is down:
 * it says so through `health` and keeps trying. A start that rejects fails the boot.
 */
export interface Part {
  name: string
  /** Where it listens, for a part that does. */
  readonly url?: string | undefined
  start?(): Promise<void>
  stop?(): Promise<void>
}

export interface App {
  /** The service's, for health and metrics shown beside others' (`AdminSource`). */
  readonly name: string
  start(): Promise<void>
  /** Unready, then the parts in reverse, all within `drainMs`. Never rejects; a second call waits for the first. */
  stop(): Promise<void>
  health: Health
  registry: Registry
  /** Where the last part that listens does so; undefined before it does. */
  readonly url: string | undefined
}

/** A part that outlives the drain is left after this long, so that the ones below it are closed too. */
const lastCallMs = 250

export function lifecycle(
  parts: readonly Part[],
  options: { log: Logger; drainMs: number; name: string; health?: Health; registry?: Registry },
): App {
  const { log, drainMs, name, health = createHealth(), registry = createRegistry(name) } = options
  const started: Part[] = []
  let starting: Promise<void> | undefined
  let stopping: Promise<void> | undefined

  async function open(): Promise<void> {
    health.setStarting()
    for (const part of parts) {
      if (stopping) throw new Error('stopped while it started')
      started.push(part)
      await part.start?.()
    }
    health.setStarted()
  }

  async function close(): Promise<void> {
    health.setStopping()
    const deadline = performance.now() + drainMs
    // A start under way ends at its next part; what it opened is closed with the rest.
    await within(
      starting?.catch(() => undefined),
      Math.max(deadline - performance.now(), lastCallMs),
    )
    for (const part of started.splice(0).reverse()) {
      try {
        const done = await within(part.stop?.(), Math.max(deadline - performance.now(), lastCallMs))
        if (!done) log.warn({ part: part.name, drainMs }, 'part did not stop in time')
      } catch (error) {
        log.error({ err: error, part: part.name }, 'part failed to stop')
      }
    }
  }

  return {
    name,
    health,
    registry,
    get url() {
      return parts.findLast((part) => part.url !== undefined)?.url
    },
    async start() {
      if (stopping) throw new Error('stopped already')
      starting ??= open()
      try {
        await starting
      } catch (error) {
        await this.stop()
        throw error
      }
    },
    stop() {
      stopping ??= close()
      return stopping
    },
  }
}

/** True when `work` ended within `ms`; its failure is thrown. */
async function within(work: Promise<void> | undefined, ms: number): Promise<boolean> {
  if (!work) return true
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms)
  })
  try {
    return await Promise.race([work.then(() => true as const), late])
  } finally {
    clearTimeout(timer)
  }
}
