// Token buckets: a burst at once, then a steady rate. Bounded in number; the least used are forgotten.
import { LRUCache } from 'lru-cache'

export interface Rate {
  readonly perSecond: number
  readonly burst: number
}

interface Bucket {
  left: number
  at: number
}

const mostBuckets = 50_000

/** Buckets by key; `now` in milliseconds of a monotonic clock. */
export class RateLimiter {
  readonly #buckets = new LRUCache<string, Bucket>({ max: mostBuckets })
  readonly #now: () => number
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** Takes one; 0 when that was allowed, else the seconds after which it would be. */
  take(key: string, { perSecond, burst }: Rate): number {
    const now = this.#now()
    const bucket = this.#buckets.get(key) ?? { left: burst, at: now }
    bucket.left = Math.min(burst, bucket.left + ((now - bucket.at) / 1_000) * perSecond)
    bucket.at = now
    this.#buckets.set(key, bucket)
    if (bucket.left < 1) return (1 - bucket.left) / perSecond
    bucket.left -= 1
    return 0
  }
}
