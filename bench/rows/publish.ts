// Event publishing by libs/bus, as conversation's relay uses it, beside pipelined amqplib confirms: rate, and CPU of the publishing process.
import { randomBytes } from 'node:crypto'
import { rateChart } from '../lib/charts.ts'
import { watchCpu } from '../lib/proc.ts'
import type { Role } from '../lib/roles.ts'
import { alternate } from '../lib/rounds.ts'
import type { Bench, Row } from '../lib/row.ts'

const window = 100
const warmUp = 2_000

interface Round {
  perSecond: number
  /** CPU µs an event. */
  publisher: number
  broker: number
}

export const publish: Row = {
  name: 'publish',
  what: `event publishing, ${window} unconfirmed, to a quorum queue, beside amqplib's confirms`,
  async run(bench) {
    const name = `bench-${randomBytes(3).toString('hex')}`
    const sides = {
      floor: await bench.role(new URL('../floors/publish.ts', import.meta.url)),
      product: await bench.role(new URL('../load/publish.ts', import.meta.url)),
    }
    for (const [side, role] of Object.entries(sides)) {
      bench.atEnd(() => role.ask('erase'))
      await role.ask('start', { amqp: bench.servers.amqp, name: `${name}-${side}` })
      await round(role, warmUp, bench)
    }
    const count = bench.quick ? 3_000 : 10_000
    const pairs = await alternate(bench, {
      floor: () => round(sides.floor, count, bench),
      product: () => round(sides.product, count, bench),
    })
    const pick = (of: (round: Round) => number) => pairs.map(({ floor, product }) => ({ floor: of(floor), product: of(product) }))
    const rates = pick(({ perSecond }) => perSecond)
    return {
      figures: [
        { name: 'confirmed', unit: '/s', pairs: rates, goals: [{ of: 'ratio', atLeast: 0.7 }] },
        { name: "CPU a publish, the publisher's", unit: 'µs', pairs: pick(({ publisher }) => publisher), goals: [] },
        { name: "CPU a publish, the broker's", unit: 'µs', pairs: pick(({ broker }) => broker), goals: [] },
      ],
      charts: [rateChart('events confirmed, 100 unconfirmed', '/s', rates)],
    }
  },
}

async function round(role: Role, count: number, { servers }: Bench): Promise<Round> {
  const spent = watchCpu({ publisher: role.pid, broker: servers.pids.broker })
  const began = performance.now()
  await role.ask('publish', { count, window })
  const seconds = (performance.now() - began) / 1_000
  const { publisher = 0, broker = Number.NaN } = spent()
  const arrived = await role.ask<number>('purge')
  if (arrived !== count) throw new Error(`${count} events were confirmed, ${arrived} stood in the queue`)
  return { perSecond: count / seconds, publisher: publisher / count, broker: broker / count }
}
