// Send → deliver at a fixed rate, rooms of two: latency from the scheduled send to `message:new` at the other side.

import { latencyChart } from '../lib/charts.ts'
import { bareRooms, desks, floorSide, productSide, type Side } from '../lib/chat.ts'
import { cpuFigure, cpuNote } from '../lib/cost.ts'
import { watchCpu } from '../lib/proc.ts'
import { alternate } from '../lib/rounds.ts'
import type { Row } from '../lib/row.ts'
import type { Load } from '../load/chat.ts'

const rate = 500
/** Where two cores are far from busy: what a message takes when nothing queues. */
const easyRate = 100
const rooms = 50
const warmUp = 2_000

export const send: Row = {
  name: 'send',
  what: `send → deliver at ${rate} msg/s, ${rooms} rooms of 2, through the gateway`,
  async run(bench) {
    const product = await bench.product()
    const floor = await floorSide(bench, bareRooms(rooms))
    const own = await productSide(bench, product, await desks(bench, product, rooms))
    for (const { load } of [floor, own]) await load.ask('closed', { window: 20, count: warmUp })
    const seconds = bench.quick ? 4 : 8
    const pairs = await alternate(bench, { floor: () => round(floor, rate, seconds), product: () => round(own, rate, seconds) })
    const easy = await alternate(bench, {
      floor: () => round(floor, easyRate, seconds / 2),
      product: () => round(own, easyRate, seconds / 2),
    })
    const ms = (pick: (load: Load) => number, of = pairs) =>
      of.map(({ floor, product }) => ({ floor: pick(floor.load) / 1_000, product: pick(product.load) / 1_000 }))
    return {
      figures: [
        { name: 'deliver p50', unit: 'ms', pairs: ms(({ deliver }) => deliver.p50), goals: [{ of: 'ratio', atMost: 1.5 }] },
        {
          name: 'deliver p99',
          unit: 'ms',
          pairs: ms(({ deliver }) => deliver.p99),
          goals: [
            { of: 'ratio', atMost: 2 },
            { of: 'product', atMost: 30 },
          ],
        },
        { name: 'acknowledge p50', unit: 'ms', pairs: ms(({ acknowledge }) => acknowledge.p50), goals: [] },
        { name: 'acknowledge p99', unit: 'ms', pairs: ms(({ acknowledge }) => acknowledge.p99), goals: [] },
        cpuFigure(pairs),
        { name: `deliver p50 at ${easyRate} msg/s`, unit: 'ms', pairs: ms(({ deliver }) => deliver.p50, easy), goals: [] },
        { name: `deliver p99 at ${easyRate} msg/s`, unit: 'ms', pairs: ms(({ deliver }) => deliver.p99, easy), goals: [] },
      ],
      notes: (['floor', 'product'] as const).map((side) => `CPU µs a message, ${side}: ${cpuNote(pairs.map((pair) => pair[side]))}`),
      charts: [
        latencyChart(
          'send → deliver at 500 msg/s',
          pairs.map(({ floor, product }) => ({ floor: floor.load.deliver, product: product.load.deliver })),
        ),
      ],
    }
  },
}

async function round({ load, pids }: Side, rate: number, seconds: number): Promise<{ load: Load; cpu: Record<string, number> }> {
  const spent = watchCpu(pids)
  return { load: await load.ask<Load>('open', { rate, seconds }), cpu: spent() }
}
