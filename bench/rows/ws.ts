// WebSocket through the gateway beside the same socket event straight to realtime. Here the floor is the product itself without its door.
import { newId } from '@fieldline/service/ids'
import { token } from '../lib/product.ts'
import { alternate } from '../lib/rounds.ts'
import type { Row } from '../lib/row.ts'
import type { RoundTrips } from '../load/round-trip.ts'

const event = 'conversation:leave'

export const ws: Row = {
  name: 'ws',
  what: `round trip of an acknowledged ${event}: direct to realtime (floor), through the gateway (product)`,
  async run(bench) {
    const product = await bench.product()
    const load = await bench.role(new URL('../load/round-trip.ts', import.meta.url))
    const connect = (url: string, who: string) => load.ask<number>('connect', { url, token: token('User', who) })
    const direct = await connect(product.urlOf('realtime'), 'farmer-direct')
    const through = await connect(product.url, 'farmer-through')
    const conversationId = newId()
    const count = bench.quick ? 500 : 2_000
    const ask = (number: number) => load.ask<RoundTrips>('ask', { number, count, event, payload: { conversationId } })
    for (const number of [direct, through]) await ask(number)
    const pairs = await alternate(bench, { floor: () => ask(direct), product: () => ask(through) })
    const of = (pick: keyof RoundTrips) => pairs.map(({ floor, product }) => ({ floor: floor[pick] / 1e3, product: product[pick] / 1e3 }))
    return {
      figures: [
        { name: 'round trip p50', unit: 'ms', pairs: of('p50'), goals: [{ of: 'ratio', atMost: 2 }] },
        { name: 'round trip p99', unit: 'ms', pairs: of('p99'), goals: [] },
      ],
    }
  },
}
