// Where the time of a send goes: CPU µs a message by process, latency by hop, and each process's own profile. `npm run bench -- profile send`
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { rest } from '../tests/support/client.ts'
import { desks, productSide } from './lib/chat.ts'
import { type Flame, flameOf, hottest, monotonicMicros } from './lib/cpuprofile.ts'
import { drawFlame } from './lib/plot.ts'
import { watchCpu } from './lib/proc.ts'
import { type Histograms, meanBetween, scrape } from './lib/prometheus.ts'
import type { Bench } from './lib/row.ts'
import type { Load } from './load/chat.ts'

const rooms = 100
const window = 100
const profiles = new URL('results/profiles/', import.meta.url)

/** Histograms that time a hop each: where they are scraped, and what they time. */
const hops: readonly (readonly [service: string, metric: string, labels: Record<string, string>, what: string])[] = [
  ['realtime', 'fieldline_peer_request_duration_seconds', { peer: 'conversation' }, 'realtime → conversation and back'],
  ['conversation', 'fieldline_http_request_duration_seconds', { method: 'POST' }, 'conversation: parse, decide, commit, log'],
  ['conversation', 'fieldline_outbox_lag_seconds', {}, 'commit → broker’s confirm'],
  ['realtime', 'fieldline_realtime_consumer_lag_seconds', {}, 'commit → realtime takes the event'],
  ['realtime', 'fieldline_realtime_delivery_seconds', {}, 'commit → emit'],
]

export async function profileSend(bench: Bench): Promise<string> {
  rmSync(profiles, { recursive: true, force: true })
  mkdirSync(profiles, { recursive: true })
  const folder = fileURLToPath(profiles)
  const product = await bench.product({ nodeArgs: `--cpu-prof --cpu-prof-dir=${folder}` })
  const { load, pids } = await productSide(bench, product, await desks(bench, product, rooms))
  const count = bench.quick ? 3_000 : 20_000
  await load.ask('closed', { window, count: 2_000 })
  const metricsOf = async (service: string) => scrape(String((await rest(product.urlOf(service))('GET', '/metrics')).body))
  const all = async () =>
    new Map<string, Histograms>([
      ['realtime', await metricsOf('realtime')],
      ['conversation', await metricsOf('conversation')],
    ])
  bench.progress(`${count} messages`)
  const before = await all()
  const spent = watchCpu({ ...pids, clients: load.pid })
  const from = monotonicMicros()
  const { perSecond, deliver, acknowledge } = await load.ask<Load>('closed', { window, count })
  const cpu = spent()
  const span = { from, until: monotonicMicros() }
  const after = await all()
  await product.stop()

  writeFileSync(new URL('span.json', profiles), JSON.stringify(span))
  const lines = ['process        CPU µs a message']
  const total = Object.entries(cpu).reduce((sum, [name, micros]) => sum + (name === 'clients' ? 0 : micros), 0)
  for (const [name, micros] of Object.entries(cpu)) lines.push(`${name.padEnd(14)} ${(micros / count).toFixed(0).padStart(6)}`)
  lines.push(`${'sum'.padEnd(14)} ${(total / count).toFixed(0).padStart(6)}  (without clients; ${perSecond.toFixed(0)} msg/s)`, '')
  lines.push('hop, mean ms')
  for (const [service, metric, labels, what] of hops) {
    const [from, to] = [before.get(service), after.get(service)]
    if (from && to) lines.push(`${what.padEnd(44)} ${(meanBetween(from, to, metric, labels) * 1_000).toFixed(2).padStart(8)}`)
  }
  lines.push(`${'client: send → acknowledged (p50)'.padEnd(44)} ${(acknowledge.p50 / 1_000).toFixed(2).padStart(8)}`)
  lines.push(`${'client: send → delivered (p50)'.padEnd(44)} ${(deliver.p50 / 1_000).toFixed(2).padStart(8)}`, '')

  const services = new Map(Object.entries(product.pids).map(([name, pid]) => [String(pid), name]))
  for (const file of readdirSync(folder)) {
    // CPU.<date>.<time>.<pid>.<thread>.<number>.cpuprofile
    const name = services.get(file.split('.')[3] ?? '')
    if (!name) continue
    const flame: Flame = flameOf(new URL(file, profiles), span)
    writeFileSync(new URL(`${name}.svg`, profiles), drawFlame(`${name}: ${count} messages`, flame))
    lines.push(`hottest in ${name} (self time, % of what was not idle)`, ...hottest(flame, 12), '')
  }
  lines.push(`flame graphs and .cpuprofile files (Chrome DevTools opens them): bench/results/profiles/`)
  return lines.join('\n')
}
