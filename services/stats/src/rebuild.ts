// Counts everything anew from conversation's log into a fresh generation, and makes that the one in use. The service goes on meanwhile.
import { type Entry, entryOf } from './entries.ts'
import type { FactsStore, Generation } from './facts.store.ts'
import type { Feed } from './feed.ts'
import { ingestInto } from './ingest.ts'
import { rollUpGeneration } from './rollup.ts'

export interface RebuildOptions {
  store: FactsStore
  feed: Feed
  /** Called after each page of conversations. */
  onProgress(progress: RebuildProgress): void
  /** How long questions that are being answered from the old generation may take until it is dropped. */
  graceMs: number
}

export interface RebuildProgress {
  phase: 'replay' | 'catch-up' | 'swapped'
  conversations: number
  events: number
}

const batchSize = 2_000
const fetchesAtOnce = 8
/** A pass that finds no more than this many events is near enough for the swap; the last pass takes what is left. */
const nearEnough = 200
const mostPasses = 10

/**
 * Of two at once the first to be swapped in wins, and the other's swap fails. Whatever is older than the winner is dropped after the swap only,
 * so that nothing is taken from under a rebuild that may still win; what a rebuild that died left behind goes then too.
 * Whatever the service acknowledged before the swap stands in the log, which the pass after the swap reads; what it
 * acknowledges later is in the new generation (see `ingest`). Uploads have no log: their facts are copied.
 * @returns the number of the generation now in use @throws AppError UNAVAILABLE; Error when another rebuild came first
 */
export async function rebuild({ store, feed, onProgress, graceMs }: RebuildOptions): Promise<number> {
  const old = await store.current()
  const fresh = await store.generation(Math.max(old, ...(await store.generations())) + 1)
  let conversations = 0
  let events = 0
  const pass = async (phase: RebuildProgress['phase']) => {
    conversations = 0
    const before = events
    for await (const page of feed.walk()) {
      events += await catchUp(fresh, feed, page)
      conversations += page.length
      onProgress({ phase, conversations, events })
    }
    await fresh.copyUploads(old)
    await rollUpGeneration(fresh)
    return events - before
  }
  let found = await pass('replay')
  for (let passes = 1; found > nearEnough && passes < mostPasses; passes += 1) found = await pass('catch-up')
  if (!(await store.swap(old, fresh.number))) throw new Error('Another rebuild was swapped in meanwhile')
  await pass('swapped')
  await new Promise((resolve) => setTimeout(resolve, graceMs))
  for (const older of await store.generations()) if (older < fresh.number) await store.drop(older)
  return fresh.number
}

/** Takes in what the log has beyond these conversations' heads. Returns how many events. */
export async function catchUp(
  generation: Generation,
  feed: Feed,
  page: readonly { conversationId: string; eventNo: number }[],
): Promise<number> {
  const heads = await generation.heads(page.map(({ conversationId }) => conversationId))
  const open = page.filter(({ conversationId, eventNo }) => (heads.get(conversationId)?.eventNo ?? 0) < eventNo).values()
  let taken = 0
  let batch: Entry[] = []
  const flush = async () => {
    const entries = batch
    batch = []
    await ingestInto(generation, { entries, uploads: [] })
    taken += entries.length
  }
  const work = async () => {
    for (const { conversationId } of open) {
      for await (const events of feed.events(conversationId, heads.get(conversationId)?.eventNo ?? 0)) {
        batch.push(...events.map(entryOf))
        if (batch.length >= batchSize) await flush()
      }
    }
  }
  await Promise.all(Array.from({ length: fetchesAtOnce }, work))
  await flush()
  return taken
}
