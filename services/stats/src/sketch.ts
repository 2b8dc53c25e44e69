// Durations added up: count and total exactly, the distribution as a DDSketch (Masson, Rim, Lee, VLDB 2019) with 1 % relative error. Pure.
// Unlike a t-digest it does not depend on the order of what is added, so a recount gives the same sketch.

/** Durations in whole ms. */
export interface Sketch {
  count: number
  total: number
  /** How many lie in (γ^(i−1), γ^i] ms, by i; -1 for those under 1 ms. */
  bins: Map<number, number>
}

/** A quantile lies within this part of a value that is really there. */
export const relativeError = 0.01
const gamma = (1 + relativeError) / (1 - relativeError)
const logGamma = Math.log(gamma)
const zeroBin = -1

export function emptySketch(): Sketch {
  return { count: 0, total: 0, bins: new Map() }
}

export function addDuration(sketch: Sketch, ms: number): void {
  const bin = ms < 1 ? zeroBin : Math.ceil(Math.log(ms) / logGamma)
  sketch.count += 1
  sketch.total += ms
  sketch.bins.set(bin, (sketch.bins.get(bin) ?? 0) + 1)
}

export function mergeSketch(into: Sketch, other: Sketch): void {
  into.count += other.count
  into.total += other.total
  for (const [bin, count] of other.bins) into.bins.set(bin, (into.bins.get(bin) ?? 0) + count)
}

/** Quantiles (ms) of a sketch, linear between the two nearest ranks; null where nothing was added. */
export function sketchQuantiles(sketch: Sketch, quantiles: readonly number[]): (number | null)[] {
  if (sketch.count === 0) return quantiles.map(() => null)
  const bins = [...sketch.bins].sort(([a], [b]) => a - b)
  const at = (rank: number): number => {
    let seen = 0
    for (const [bin, count] of bins) {
      seen += count
      if (seen > rank) return bin === zeroBin ? 0 : (2 * gamma ** bin) / (gamma + 1)
    }
    return 0
  }
  return quantiles.map((quantile) => between(quantile, sketch.count, at))
}

/** Quantiles (ms) of values sorted upwards, linear between the two nearest ranks; null where there are none. */
export function exactQuantiles(sorted: ArrayLike<number>, quantiles: readonly number[]): (number | null)[] {
  if (sorted.length === 0) return quantiles.map(() => null)
  return quantiles.map((quantile) => between(quantile, sorted.length, (rank) => sorted[rank] ?? 0))
}

function between(quantile: number, count: number, at: (rank: number) => number): number {
  const rank = quantile * (count - 1)
  const below = at(Math.floor(rank))
  return below + (at(Math.ceil(rank)) - below) * (rank - Math.floor(rank))
}

/** `[count, total, bin, count, bin, count …]`, bins upwards; empty for an empty one. */
export type PackedSketch = readonly number[]

export function packSketch({ count, total, bins }: Sketch): PackedSketch {
  return count === 0 ? [] : [count, total, ...[...bins].sort(([a], [b]) => a - b).flat()]
}

/** Merges a packed sketch without unpacking it first: a question merges thousands. */
export function mergePacked(into: Sketch, packed: PackedSketch): void {
  if (packed.length === 0) return
  into.count += packed[0] ?? 0
  into.total += packed[1] ?? 0
  for (let at = 2; at + 1 < packed.length; at += 2) {
    const bin = packed[at] ?? 0
    into.bins.set(bin, (into.bins.get(bin) ?? 0) + (packed[at + 1] ?? 0))
  }
}
