// Time cut into blocks of UTC whose sums are kept: quarter hours (time zones begin their days on them), hours, days. Pure.

/** Sizes in ms, each a multiple of the one before. */
export const levels = [900_000, 3_600_000, 86_400_000] as const
export type Level = 0 | 1 | 2
export const levelsDown: readonly Level[] = [2, 1, 0]

/** [from, to) in ms since 1970. */
export interface Span {
  from: number
  to: number
}

export interface Cut {
  /** Starts of the blocks that cover the span, by level. */
  blocks: Record<Level, number[]>
  /** What no block covers: the ends of a span that doesn't begin or end on a quarter. */
  edges: Span[]
}

export function blockStart(at: number, level: Level): number {
  return Math.floor(at / levels[level]) * levels[level]
}

/** Cuts a span into the largest blocks that fit. A block above a quarter is taken only where no quarter in it is dirty (starts, sorted upwards). */
export function cut(span: Span, dirty: readonly number[]): Cut {
  const pieces: Cut = { blocks: { 0: [], 1: [], 2: [] }, edges: [] }
  let at = span.from
  while (at < span.to) {
    const level = levelsDown.find((one) => fits(at, span.to, one) && (one === 0 || !anyBetween(dirty, at, at + levels[one])))
    if (level === undefined) {
      const to = Math.min(span.to, blockStart(at, 0) + levels[0])
      pieces.edges.push({ from: at, to })
      at = to
    } else {
      pieces.blocks[level].push(at)
      at += levels[level]
    }
  }
  return pieces
}

function fits(at: number, to: number, level: Level): boolean {
  return at % levels[level] === 0 && at + levels[level] <= to
}

/** Is one of these sorted numbers in [from, to)? */
export function anyBetween(sorted: readonly number[], from: number, to: number): boolean {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((sorted[middle] ?? 0) < from) low = middle + 1
    else high = middle
  }
  return (sorted[low] ?? to) < to
}

/** Neighbouring blocks of one level as spans. */
export function blockRuns(starts: readonly number[], level: Level): Span[] {
  const runs: Span[] = []
  for (const start of starts.toSorted((a, b) => a - b)) {
    const last = runs.at(-1)
    if (last?.to === start) last.to += levels[level]
    else runs.push({ from: start, to: start + levels[level] })
  }
  return runs
}
