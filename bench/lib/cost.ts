// CPU a message, summed over every process that works for it: steadier than rates on a shared machine.
import { type Figure, median } from './figures.ts'

export interface Spent {
  load: { sent: number }
  /** µs by process. */
  cpu: Record<string, number>
}

export function cpuFigure(pairs: readonly { floor: Spent; product: Spent }[]): Figure {
  return {
    name: 'CPU a message',
    unit: 'µs',
    pairs: pairs.map(({ floor, product }) => ({ floor: each(floor), product: each(product) })),
    goals: [],
  }
}

/** Where it went: `realtime 410 + conversation 520 + …`, medians over the rounds. */
export function cpuNote(rounds: readonly Spent[]): string {
  const names = Object.keys(rounds[0]?.cpu ?? {})
  const share = (name: string) => median(rounds.map(({ load, cpu }) => (cpu[name] ?? 0) / load.sent))
  return names.map((name) => `${name} ${share(name).toFixed(0)}`).join(' + ')
}

function each({ load, cpu }: Spent): number {
  return Object.values(cpu).reduce((sum, micros) => sum + micros, 0) / load.sent
}
