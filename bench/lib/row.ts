// What a row of the table is, and what it is given to run with.

import type { Figure } from './figures.ts'
import type { Product, ProductOptions } from './product.ts'
import type { Role } from './roles.ts'

export interface Bench {
  /** A minute's look: fewer and shorter rounds, smaller histories. Its figures are no results. */
  readonly quick: boolean
  readonly rounds: number
  readonly servers: Servers
  progress(text: string): void
  /** The five services as `npm run services` starts them, ended after the row. */
  product(options?: ProductOptions): Promise<Product>
  /** A process of the benchmark's own, ended after the row. */
  role(file: URL, nodeArgs?: readonly string[]): Promise<Role>
  /** Runs after the row, in reverse order. */
  atEnd(end: () => unknown): void
}
export interface Servers {
  /** Undefined where there is none: the services then have SQLite files, and floors no database. */
  readonly mongodb: string | undefined
  readonly amqp: string
  /** Processes of the servers, where they can be told. */
  readonly pids: { readonly broker: number | undefined; readonly database: number | undefined }
}

/** For a row that seeds the database. @throws Error where there is none */
export function mongoOf({ mongodb }: Servers): string {
  if (mongodb === undefined) throw new Error('this row seeds MongoDB, and none was found')
  return mongodb
}

export interface Series {
  readonly name: string
  /** x and y in turn order of x. */
  readonly points: readonly (readonly [number, number])[]
}
/** A picture of a row: percentiles against milliseconds, or rates by round. */
export interface Chart {
  readonly title: string
  readonly kind: 'percentiles' | 'bars'
  readonly unit: string
  readonly series: readonly Series[]
}
export interface Outcome {
  readonly figures: readonly Figure[]
  /** What a reader has to know beside the numbers. */
  readonly notes?: readonly string[]
  readonly charts?: readonly Chart[]
}

export interface Row {
  /** As `npm run bench -- NAME` takes it. */
  readonly name: string
  readonly what: string
  /** @throws Error where something was lost, doubled or out of order: then the whole run fails */
  run(bench: Bench): Promise<Outcome>
}
