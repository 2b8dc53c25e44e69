// What came early and waits too long: the events before it are fetched from conversation's log.
import { AppError } from '@fieldline/contracts/errors'
import type { Logger } from '@fieldline/service/logger'
import { entryOf } from './entries.ts'
import type { FactsStore, Generation, Missing } from './facts.store.ts'
import type { Feed } from './feed.ts'
import { ingest } from './ingest.ts'

export interface GapOptions {
  store: FactsStore
  feed: Feed
  log: Logger
  /** How long an event waits for those before it to come by themselves. */
  waitMs: number
  now: () => Date
  onFilled(events: number): void
}

const mostAtOnce = 200
/** What could not be filled lets the others go first for so long. */
const retryMs = 60_000

/** Fills the gaps that are older than `waitMs`. Returns how many conversations were looked at. @throws AppError UNAVAILABLE when conversation or the store is away */
export async function fillGaps(options: GapOptions, signal?: AbortSignal): Promise<number> {
  const { store, waitMs, now } = options
  const generation = await store.generation(await store.current())
  const gaps = await generation.gaps(now().getTime() - waitMs, mostAtOnce)
  for (const gap of gaps) {
    if (signal?.aborted) break
    if (!(await isFilled(gap, generation, options))) await generation.postpone(gap.conversationId, now().getTime() + retryMs)
  }
  return gaps.length
}

/** False for what only another log, or another program, can cure: one such conversation must not hold up the others. */
async function isFilled(
  { conversationId, after, earliest }: Missing,
  generation: Generation,
  { store, feed, log, onFilled }: GapOptions,
): Promise<boolean> {
  try {
    let fetched = 0
    for await (const events of feed.events(conversationId, after)) {
      await ingest(store, { entries: events.map(entryOf), uploads: [] })
      fetched += events.length
    }
    // Nothing fetched: the head may just have caught up by itself; the entries are let go when they are met again.
    if (fetched === 0) await ingest(store, { entries: (await generation.early([conversationId])).get(conversationId) ?? [], uploads: [] })
    if (fetched === 0 && earliest > after + 1) {
      log.warn({ conversationId, after, earliest }, 'the log does not have the events that are missing')
      return false
    }
    log.info({ conversationId, after, earliest, fetched }, 'filled a gap from the log')
    onFilled(fetched)
    return true
  } catch (error) {
    if (error instanceof AppError && error.code === 'UNAVAILABLE') throw error
    log.error({ err: error, conversationId }, 'a gap cannot be filled')
    return false
  }
}
