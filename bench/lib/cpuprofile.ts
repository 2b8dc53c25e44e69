// V8's CPU profiles as flame graphs: what ran, below what, for how long.
import { readFileSync } from 'node:fs'
import { z } from 'zod'

export interface Flame {
  name: string
  /** µs on top of the stack, and with everything it called. */
  self: number
  total: number
  children: Flame[]
}

const CpuProfile = z.object({
  nodes: z.array(
    z.object({
      id: z.number(),
      callFrame: z.object({ functionName: z.string(), url: z.string(), lineNumber: z.number() }),
      children: z.array(z.number()).optional(),
    }),
  ),
  /** µs of the machine's monotonic clock, as `process.hrtime` has it. */
  startTime: z.number(),
  samples: z.array(z.number()),
  timeDeltas: z.array(z.number()),
})

export interface Span {
  /** µs of the monotonic clock. */
  from: number
  until: number
}

/** What ran within `span`. @throws Error where the file is no profile */
export function flameOf(file: URL, span: Span): Flame {
  const { nodes, startTime, samples, timeDeltas } = CpuProfile.parse(JSON.parse(readFileSync(file, 'utf8')))
  const self = new Map<number, number>()
  let now = startTime
  for (const [index, id] of samples.entries()) {
    const took = timeDeltas[index] ?? 0
    now += took
    if (now >= span.from && now <= span.until) self.set(id, (self.get(id) ?? 0) + took)
  }
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const build = (id: number): Flame => {
    const node = byId.get(id)
    const children = merged((node?.children ?? []).map(build).filter(({ name }) => name !== '(idle)'))
    const own = self.get(id) ?? 0
    return {
      name: node ? nameOf(node.callFrame) : '?',
      self: own,
      total: own + children.reduce((sum, { total }) => sum + total, 0),
      children,
    }
  }
  return build(nodes[0]?.id ?? 0)
}

/** Siblings of one name are one box. */
function merged(children: readonly Flame[]): Flame[] {
  return [...Map.groupBy(children, ({ name }) => name)].map(([name, same]) => ({
    name,
    self: same.reduce((sum, { self }) => sum + self, 0),
    total: same.reduce((sum, { total }) => sum + total, 0),
    children: same.length === 1 ? (same[0]?.children ?? []) : merged(same.flatMap(({ children }) => children)),
  }))
}

function nameOf({ functionName, url, lineNumber }: { functionName: string; url: string; lineNumber: number }): string {
  const file = url.split('/').slice(-2).join('/')
  return file === '' ? functionName : `${functionName || '(anonymous)'} ${file}:${lineNumber + 1}`
}

export function monotonicMicros(): number {
  return Number(process.hrtime.bigint() / 1_000n)
}

/** The `most` functions with the most time of their own, one a line. */
export function hottest(flame: Flame, most: number): string[] {
  const byName = new Map<string, number>()
  const walk = ({ name, self, children }: Flame): void => {
    byName.set(name, (byName.get(name) ?? 0) + self)
    for (const child of children) walk(child)
  }
  walk(flame)
  return [...byName]
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, most)
    .map(([name, micros]) => `  ${((100 * micros) / flame.total).toFixed(1).padStart(5)} %  ${name}`)
}
