// How a question fares as what it is asked of grows: the smallest is the floor, the larger ones follow it in each round, one request at a time.
import type { Answered, Requests } from '../load/requests.ts'
import type { Pair } from './figures.ts'
import { watchCpu } from './proc.ts'
import type { Product } from './product.ts'
import type { Role } from './roles.ts'
import { alternate } from './rounds.ts'
import type { Bench } from './row.ts'

export interface Round extends Answered {
  /** Of all processes, the servers' too, a request. */
  cpuMicros: number
}

/** One request at a time, through the gateway. */
export async function oneByOne(
  { servers }: Bench,
  load: Role,
  { url, pids }: Product,
  asked: Omit<Requests, 'url' | 'window'>,
): Promise<Round> {
  const spent = watchCpu({ ...pids, ...servers.pids })
  const answered = await load.ask<Answered>('closed', { ...asked, url, window: 1 } satisfies Requests)
  return { ...answered, cpuMicros: Object.values(spent()).reduce((sum, each) => sum + each, 0) / answered.sent }
}

/** @returns of a figure, its pairs of the smallest and of `subjects[at]` */
export async function bySize<Subject>(
  bench: Bench,
  subjects: readonly Subject[],
  round: (subject: Subject) => Promise<Round>,
): Promise<(at: number, of: (round: Round) => number) => Pair[]> {
  const [small, ...larger] = subjects
  if (small === undefined) throw new Error('nothing was seeded')
  const rounds = await alternate(bench, {
    floor: () => round(small),
    async product() {
      const taken: Round[] = []
      for (const subject of larger) taken.push(await round(subject))
      return taken
    },
  })
  return (at, of) =>
    rounds.flatMap(({ floor, product }) => {
      const larger = product[at - 1]
      return larger ? [{ floor: of(floor), product: of(larger) }] : []
    })
}

export const p50 = (round: Round): number => round.p50 / 1_000
export const cpu = ({ cpuMicros }: Round): number => cpuMicros
