// Calls that gather while others are under way and then go together: a group commit for whatever costs a round trip.
import { AppError } from '@fieldline/contracts/errors'

export interface Gathering {
  /** Calls under way at once. */
  atOnce: number
  /** Items in one call. */
  most: number
  /** How long an item may wait for its call to begin. */
  waitMs: number
  /** Items that may wait. */
  mostWaiting: number
  /** How long the first waits for others, where nobody waits for it; 0: to the end of this turn of the event loop. */
  lingerMs: number
}

interface Waiting<Item, Result> {
  readonly item: Item
  readonly since: number
  resolve(result: Result): void
  reject(error: unknown): void
}

/** Answers in the time of one round trip when little happens; under load many share one. */
const usual: Gathering = { atOnce: 2, most: 64, waitMs: 5_000, mostWaiting: 10_000, lingerMs: 0 }

/**
 * @param together one call for all items, with a result for each in their order; if it rejects, so does every item of it
 * @returns the call for one item. @throws AppError UNAVAILABLE where it waited too long, or too many wait; what `together` throws
 */
export function gathered<Item, Result>(
  together: (items: readonly Item[]) => Promise<readonly Result[]>,
  given: Partial<Gathering> = {},
): (item: Item) => Promise<Result> {
  const { atOnce, most, waitMs, mostWaiting, lingerMs } = { ...usual, ...given }
  const waiting: Waiting<Item, Result>[] = []
  let underWay = 0
  let isDue = false
  let isWatched = false

  function begin(): void {
    isDue = false
    while (underWay < atOnce && waiting.length > 0) void call(waiting.splice(0, most))
    watch()
  }

  async function call(group: readonly Waiting<Item, Result>[]): Promise<void> {
    underWay += 1
    try {
      const results = await together(group.map(({ item }) => item))
      for (const [index, { resolve }] of group.entries()) resolve(results[index] as Result)
    } catch (error) {
      for (const { reject } of group) reject(error)
    } finally {
      underWay -= 1
      begin()
    }
  }

  /** While something waits, somebody looks how long it does. */
  function watch(): void {
    const [oldest] = waiting
    if (!oldest || isWatched) return
    isWatched = true
    setTimeout(giveUp, Math.max(1, oldest.since + waitMs - performance.now())).unref()
  }

  /** Those before it hang: whoever waits is told, and may come again. */
  function giveUp(): void {
    isWatched = false
    const tooOld = performance.now() - waitMs
    while (waiting[0] && waiting[0].since <= tooOld)
      waiting.shift()?.reject(new AppError('UNAVAILABLE', 'The database is not available now'))
    watch()
  }

  return (item) =>
    new Promise((resolve, reject) => {
      if (waiting.length >= mostWaiting) return reject(new AppError('UNAVAILABLE', 'Too much at once for the database'))
      waiting.push({ item, since: performance.now(), resolve, reject })
      if (underWay >= atOnce) return watch()
      if (isDue) return
      isDue = true
      if (lingerMs > 0) setTimeout(begin, lingerMs)
      else setImmediate(begin)
    })
}
