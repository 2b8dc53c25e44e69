// Fan-out: one message to everyone in a room, from the broker to the sockets.
import { rateChart } from '../lib/charts.ts'
import { floorRooms, productRooms, type Size } from '../lib/fanout.ts'
import { alternate } from '../lib/rounds.ts'
import type { Row } from '../lib/row.ts'

const sizes: readonly Size[] = [
  { members: 2, window: 64, count: 6_000 },
  { members: 100, window: 16, count: 600 },
  { members: 1_000, window: 4, count: 60 },
]

export const fanout: Row = {
  name: 'fanout',
  what: `one message to ${sizes.map(({ members }) => members.toLocaleString('en')).join(', ')} members: broker → realtime → sockets, straight to the serving process`,
  async run(bench) {
    const product = await bench.product()
    const floors = await floorRooms(bench, sizes)
    const own = await productRooms(bench, product, sizes)
    const figures = []
    const charts = []
    for (const [index, { members, count }] of sizes.entries()) {
      const [floor, mine] = [floors[index], own[index]]
      if (!floor || !mine) continue
      const each = bench.quick ? Math.ceil(count / 4) : count
      for (const room of [floor, mine]) await room.feed(each)
      bench.progress(`to ${members}`)
      const pairs = await alternate(bench, { floor: () => floor.feed(each), product: () => mine.feed(each) })
      const of = (pick: 'perSecond' | 'micros') => pairs.map(({ floor, product }) => ({ floor: floor[pick], product: product[pick] }))
      const to = `to ${members.toLocaleString('en')}`
      figures.push(
        { name: to, unit: 'deliveries/s', pairs: of('perSecond'), goals: [{ of: 'ratio', atLeast: 0.9 } as const] },
        { name: `${to}: CPU a delivery, serving process`, unit: 'µs', pairs: of('micros'), goals: [] },
      )
      charts.push(rateChart(`fan-out ${to}`, 'deliveries/s', of('perSecond')))
    }
    return {
      figures,
      charts: charts.slice(-1),
      notes: [
        'Members are thin clients in a process of their own, the same at both sides; each counts that it heard every message once and in order.',
      ],
    }
  },
}
