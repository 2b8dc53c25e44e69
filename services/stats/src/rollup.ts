// Brings kept sums up to date: always added up anew from the facts, never counted on.
import { blockStart } from './blocks.ts'
import type { FactsStore, Generation } from './facts.store.ts'

/** Rolls up what is dirty in the generation in use. Returns how many quarters were. */
export async function rollUpDirty(store: FactsStore, signal?: AbortSignal): Promise<number> {
  return rollUpGeneration(await store.generation(await store.current()), signal)
}

/** A day at a time, so that others come in between. */
export async function rollUpGeneration(generation: Generation, signal?: AbortSignal): Promise<number> {
  const dirty = await generation.dirty()
  for (const quarters of Map.groupBy(dirty, (start) => blockStart(start, 2)).values()) {
    if (signal?.aborted) break
    await generation.rollUp(quarters)
    await new Promise((resolve) => setImmediate(resolve))
  }
  return dirty.length
}
