// Counts of long lists: counting costs as much as there is to count, so a large total is kept, and counted again behind the back of who asks.
import { LRUCache } from 'lru-cache'

/** From so many on, a total may be old; below, it is counted at each question. */
export const large = 10_000
const goodForMs = 10_000
const rememberedLists = 1_000

interface Kept {
  total: number
  at: number
  counting: boolean
}

/**
 * @param list what is counted, as a text
 * @param count the true total. @throws its error, but where a kept total can be told instead
 * @returns the total; a large one as it was when last counted, 10 s ago or at the last question before that
 */
export function createLargeCounts(now: () => number = performance.now.bind(performance)) {
  const kept = new LRUCache<string, Kept>({ max: rememberedLists })

  return async function total(list: string, count: () => Promise<number>): Promise<number> {
    const known = kept.get(list)
    if (!known) return counted()
    if (!known.counting && now() - known.at > goodForMs) {
      known.counting = true
      counted().catch(() => {
        known.counting = false
      })
    }
    return known.total

    async function counted(): Promise<number> {
      const found = await count()
      if (found < large) kept.delete(list)
      else kept.set(list, { total: found, at: now(), counting: false })
      return found
    }
  }
}
