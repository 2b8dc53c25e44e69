// Spawn → ready of each service's process, beside one that imports the same packages, opens a channel and listens.
import { serviceNames } from '../../scripts/lib/plan.ts'
import type { Figure } from '../lib/figures.ts'
import { packagesOf } from '../lib/imports.ts'
import { environmentOf } from '../lib/proc.ts'
import { alternate } from '../lib/rounds.ts'
import type { Row } from '../lib/row.ts'
import { type Started, startListening, startService } from '../lib/service.ts'

const files = new URL('../../', import.meta.url)

export const start: Row = {
  name: 'start',
  what: 'start, from the spawn to the first 200 of /health/ready: one more replica of each service beside those that run',
  async run(bench) {
    const product = await bench.product()
    const figures: Figure[] = []
    for (const service of serviceNames) {
      const pid = product.pids[service]
      if (pid === undefined) throw new Error(`no process of ${service}`)
      const env = { ...environmentOf(pid), PORT: '0' }
      const packages = packagesOf(new URL('libs/service/src/otel.ts', files), new URL(`services/${service}/src/main.ts`, files))
      const sides = {
        floor: () => once(startListening(['bench/floors/start.ts', ...packages], env)),
        product: () => once(startService(service, env)),
      }
      bench.progress(service)
      // The first start of all reads files that the later ones find in the page cache.
      await sides.product()
      const pairs = await alternate(bench, sides)
      const figure = (pick: (started: Started) => number) =>
        pairs.map(({ floor, product }) => ({ floor: pick(floor), product: pick(product) }))
      figures.push(
        { name: `${service} ready`, unit: 'ms', pairs: figure(({ readyMs }) => readyMs), goals: [{ of: 'ratio', atMost: 2 }] },
        { name: `${service} CPU to ready`, unit: 'ms', pairs: figure(({ readyCpuMicros }) => readyCpuMicros / 1_000), goals: [] },
      )
    }
    return {
      figures,
      notes: ["the gateway uses no broker, so its floor opens no channel; no floor opens a database, the services' own do"],
    }
  },
}

async function once(starting: Promise<Started>): Promise<Started> {
  const started = await starting
  await started.stop()
  return started
}
