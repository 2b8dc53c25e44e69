// Chance that can be replayed: a seeded generator, its seed printed, so that `FAULT_SEED=… npm run jest -- tests/faults` does the same again.
import { randomInt } from 'node:crypto'

export interface Chance {
  seed: number
  /** 0 ≤ x < 1 */
  next(): number
  /** A whole number, 0 ≤ n < below. */
  below(below: number): number
  pick<T>(from: readonly T[]): T
  /** The same items in another order. */
  shuffled<T>(items: readonly T[]): T[]
}

/** The seed of FAULT_SEED, else a new one; it is said on stderr under `what`. */
export function chance(what: string, seed = Number(process.env.FAULT_SEED || randomInt(2 ** 31))): Chance {
  process.stderr.write(`${what}: FAULT_SEED=${seed}\n`)
  let state = seed >>> 0
  // mulberry32
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (limit: number): number => Math.floor(next() * limit)
  return {
    seed,
    next,
    below,
    pick(from) {
      const one = from[below(from.length)]
      if (one === undefined) throw new Error('nothing to pick from')
      return one
    },
    shuffled(items) {
      const order = [...items]
      for (let index = order.length - 1; index > 0; index -= 1) {
        const other = below(index + 1)
        const moved = order[index]
        if (moved === undefined) continue
        order[index] = order[other] as typeof moved
        order[other] = moved
      }
      return order
    },
  }
}

/** How much longer than the normal run: `FAULT_ROUNDS=20` multiplies what is random by 20. */
export const rounds = Math.max(1, Number(process.env.FAULT_ROUNDS || 1))
