// Two realtime replicas (product) beside one (floor): what a second one brings, and what it costs, on the same machine.
import { desks, productSide, type Side } from '../lib/chat.ts'
import { cpuFigure } from '../lib/cost.ts'
import { productRooms, type Room, type Size } from '../lib/fanout.ts'
import { watchCpu } from '../lib/proc.ts'
import { alternate } from '../lib/rounds.ts'
import type { Bench, Row } from '../lib/row.ts'
import type { Load } from '../load/chat.ts'

const size: Size = { members: 1_000, window: 4, count: 60 }
const rooms = 20
const window = 50

export const replicas: Row = {
  name: 'replicas',
  what: `two realtime replicas (product) beside one (floor): fan-out to ${size.members}, and ${window} messages under way in ${rooms} rooms of 2 through the gateway`,
  async run(bench) {
    const one = await scene(bench, 1)
    const two = await scene(bench, 2)
    const count = bench.quick ? 1_000 : 2_000
    for (const { room, side } of [one, two]) {
      await room.feed(size.count)
      await side.load.ask('closed', { window, count: 1_000 })
    }
    const fed = await alternate(bench, { floor: () => one.room.feed(size.count), product: () => two.room.feed(size.count) })
    const sent = await alternate(bench, { floor: () => send(one.side, count), product: () => send(two.side, count) })
    const of = (pick: 'perSecond' | 'micros') => fed.map(({ floor, product }) => ({ floor: floor[pick], product: product[pick] }))
    return {
      figures: [
        { name: `fan-out to ${size.members.toLocaleString('en')}`, unit: 'deliveries/s', pairs: of('perSecond'), goals: [] },
        { name: 'fan-out: CPU a delivery, all replicas', unit: 'µs', pairs: of('micros'), goals: [] },
        {
          ...{ name: 'sustained', unit: 'msg/s', goals: [] },
          pairs: sent.map(({ floor, product }) => ({ floor: floor.load.perSecond, product: product.load.perSecond })),
        },
        { ...cpuFigure(sent), name: 'sustained: CPU a message' },
      ],
      notes: ['On as few cores as there are processes at work, a second replica can only cost; what it costs a message is what is shown.'],
    }
  },
}

async function scene(bench: Bench, count: number): Promise<{ room: Room; side: Side }> {
  const product = await bench.product({ replicas: `realtime=${count}` })
  const seats = await desks(bench, product, rooms)
  const side = await productSide(bench, product, seats)
  const [room] = await productRooms(bench, product, [size], count)
  if (!room) throw new Error('no room')
  return { room, side }
}

async function send({ load, pids }: Side, count: number): Promise<{ load: Load; cpu: Record<string, number> }> {
  const spent = watchCpu(pids)
  return { load: await load.ask<Load>('closed', { window, count }), cpu: spent() }
}
