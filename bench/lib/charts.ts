// Pictures of rows as data; `plot.ts` draws them.
import type { Latencies } from '../load/chat.ts'
import { median } from './figures.ts'
import type { Chart } from './row.ts'

/** Latency by percentile, medians over the rounds. */
export function latencyChart(title: string, rounds: readonly { floor: Latencies; product: Latencies }[]): Chart {
  const curve = (side: 'floor' | 'product') =>
    rounds[0]?.[side].percentiles.map(
      ([percentile], index) => [percentile, median(rounds.map((round) => round[side].percentiles[index]?.[1] ?? 0)) / 1_000] as const,
    ) ?? []
  return {
    ...{ title, kind: 'percentiles', unit: 'ms' },
    series: [
      { name: 'floor', points: curve('floor') },
      { name: 'product', points: curve('product') },
    ],
  }
}

/** A rate by round. */
export function rateChart(title: string, unit: string, pairs: readonly { floor: number; product: number }[]): Chart {
  const bars = (side: 'floor' | 'product') => pairs.map((pair, round) => [round + 1, pair[side]] as const)
  return {
    ...{ title, kind: 'bars', unit },
    series: [
      { name: 'floor', points: bars('floor') },
      { name: 'product', points: bars('product') },
    ],
  }
}
