// What a benchmark says: pairs of floor and product, round by round, and the verdict on them. Pure.

/** One round's pair, both measured within seconds of each other. */
export interface Pair {
  readonly floor: number
  readonly product: number
}
/** `ratio` goals compare product/floor; `product` goals the product's own figure, in the figure's unit. */
export interface Goal {
  readonly of: 'ratio' | 'product'
  readonly atMost?: number
  readonly atLeast?: number
}
export interface Figure {
  /** What is measured, as the table shows it: `deliver p50`. */
  readonly name: string
  readonly unit: string
  readonly pairs: readonly Pair[]
  readonly goals: readonly Goal[]
}

export type Verdict = 'met' | 'missed' | 'void' | 'shown'
export interface Judged extends Figure {
  /** Medians over the rounds; the ratio is the median of the rounds' ratios, not the ratio of the medians. */
  readonly floor: number
  readonly product: number
  readonly ratio: number
  /** Smallest and largest ratio of a round. */
  readonly ratioRange: readonly [number, number]
  /** Largest floor over smallest: how quiet the machine was. */
  readonly floorSpread: number
  readonly verdict: Verdict
}

/** A floor that moved by more than this between rounds says nothing. */
export const mostSpread = 1.5

export function judge(figure: Figure): Judged {
  const floors = figure.pairs.map(({ floor }) => floor)
  const ratios = figure.pairs.map(({ floor, product }) => product / floor)
  const floorSpread = Math.max(...floors) / Math.min(...floors)
  const judged = {
    floor: median(floors),
    product: median(figure.pairs.map(({ product }) => product)),
    ratio: median(ratios),
    ratioRange: [Math.min(...ratios), Math.max(...ratios)] as const,
    floorSpread,
  }
  const holds = ({ of, atMost = Number.POSITIVE_INFINITY, atLeast = Number.NEGATIVE_INFINITY }: Goal) =>
    judged[of] <= atMost && judged[of] >= atLeast
  const verdict = floorSpread > mostSpread ? 'void' : figure.goals.length === 0 ? 'shown' : figure.goals.every(holds) ? 'met' : 'missed'
  return { ...figure, ...judged, verdict }
}

/** @throws Error where there is nothing to take the middle of */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const upper = sorted[sorted.length >> 1]
  const lower = sorted[(sorted.length - 1) >> 1]
  if (upper === undefined || lower === undefined) throw new Error('no values, no median')
  return (upper + lower) / 2
}

/** Of several things asked in the same rounds, what they cost on average, round by round. */
export function means(asked: readonly (readonly Pair[])[]): Pair[] {
  const mean = (values: readonly number[]) => values.reduce((sum, each) => sum + each, 0) / values.length
  return (asked[0] ?? []).map((_, round) => {
    const pairs = asked.flatMap((each) => each[round] ?? [])
    return { floor: mean(pairs.map(({ floor }) => floor)), product: mean(pairs.map(({ product }) => product)) }
  })
}

/** `≤ 1.5×`, `< 30 ms`. */
export function goalText({ of, atMost, atLeast }: Goal, unit: string): string {
  const bound = atMost === undefined ? `≥ ${atLeast}` : `≤ ${atMost}`
  return of === 'ratio' ? `${bound}×` : `${bound} ${unit}`
}
