// As many messages as go through with a hundred under way: throughput, and CPU a message.

import { rateChart } from '../lib/charts.ts'
import { bareRooms, desks, floorSide, productSide, type Side } from '../lib/chat.ts'
import { cpuFigure, cpuNote } from '../lib/cost.ts'
import { watchCpu } from '../lib/proc.ts'
import { alternate } from '../lib/rounds.ts'
import type { Row } from '../lib/row.ts'
import type { Load } from '../load/chat.ts'

const window = 100
const warmUp = 2_000

export const sustained: Row = {
  name: 'sustained',
  what: `sustained, ${window} messages under way, ${window} rooms of 2, through the gateway, limits and metrics on`,
  async run(bench) {
    const product = await bench.product()
    const floor = await floorSide(bench, bareRooms(window))
    const own = await productSide(bench, product, await desks(bench, product, window))
    for (const { load } of [floor, own]) await load.ask('closed', { window, count: warmUp })
    const count = bench.quick ? 2_000 : 6_000
    const pairs = await alternate(bench, { floor: () => round(floor, count), product: () => round(own, count) })
    const rates = pairs.map(({ floor, product }) => ({ floor: floor.load.perSecond, product: product.load.perSecond }))
    return {
      figures: [{ name: 'throughput', unit: 'msg/s', pairs: rates, goals: [{ of: 'ratio', atLeast: 0.65 }] }, cpuFigure(pairs)],
      notes: (['floor', 'product'] as const).map((side) => `CPU µs a message, ${side}: ${cpuNote(pairs.map((pair) => pair[side]))}`),
      charts: [rateChart('sustained, 100 under way', 'msg/s', rates)],
    }
  },
}

async function round({ load, pids }: Side, count: number): Promise<{ load: Load; cpu: Record<string, number> }> {
  const spent = watchCpu(pids)
  return { load: await load.ask<Load>('closed', { window, count }), cpu: spent() }
}
