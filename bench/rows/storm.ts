// Reconnect storm: everybody loses the network at once and comes back as fast as it goes.
import { eventually, rest } from '../../tests/support/client.ts'
import { secret } from '../../tests/support/whole.ts'
import type { Product } from '../lib/product.ts'
import type { Role } from '../lib/roles.ts'
import { alternate } from '../lib/rounds.ts'
import type { Bench, Row } from '../lib/row.ts'
import { seedConversations } from '../lib/seed.ts'
import type { Member, Storm } from '../load/crowd.ts'

const handshakesAtOnce = 100
const joinsAtOnce = 64

export const storm: Row = {
  name: 'storm',
  what: `sockets with valid tokens dropped at once, ${handshakesAtOnce} handshakes under way until all have heard \`connect\`; each was in a room`,
  async run(bench) {
    const sockets = bench.quick ? 500 : 1_500
    const product = await bench.product()
    const seeded = await seedConversations(bench.servers, product, 2 * sockets)
    const members = seeded.map(({ farmerToken, conversationId }) => ({ token: farmerToken, room: conversationId }))
    const stock = await bench.role(new URL('../floors/stock.ts', import.meta.url))
    const floor = await crowd(bench, await stock.ask<string>('start', { secret }), members.slice(0, sockets))
    const through = await crowd(bench, product.url, members.slice(0, sockets))
    const direct = await crowd(bench, product.urlOf('realtime'), members.slice(sockets))
    /** A round begins where everybody is in a room again, without having asked for it. */
    const back = () => eventually(async () => (await joinedRooms(product)) === members.length, 30_000)
    const own = async (load: Role) => {
      const { perSecond } = await load.ask<Storm>('storm', { atOnce: handshakesAtOnce })
      await back()
      return perSecond
    }
    const bare = async () => (await floor.ask<Storm>('storm', { atOnce: handshakesAtOnce })).perSecond
    await back()
    for (const warmUp of [bare, () => own(through), () => own(direct)]) await warmUp()
    const throughPairs = await alternate(bench, { floor: bare, product: () => own(through) })
    const directPairs = await alternate(bench, { floor: bare, product: () => own(direct) })
    for (const load of [floor, through, direct]) await load.ask('check')
    return {
      figures: [
        { name: 'connects through the gateway', unit: '/s', pairs: throughPairs, goals: [{ of: 'ratio', atLeast: 0.6 }] },
        { name: 'connects, direct to realtime', unit: '/s', pairs: directPairs, goals: [] },
      ],
      notes: [
        `${sockets.toLocaleString('en')} sockets; the product's are in their rooms again before the next round, taken over from the records of their devices.`,
      ],
    }
  },
}

async function crowd(bench: Bench, url: string, more: readonly Member[]): Promise<Role> {
  const load = await bench.role(new URL('../load/crowd.ts', import.meta.url))
  await load.ask('connect', { url, more, atOnce: joinsAtOnce })
  return load
}

/** Memberships of sockets in rooms, as realtime counts them. */
async function joinedRooms(product: Product): Promise<number> {
  const { body } = await rest(product.urlOf('realtime'))('GET', '/metrics')
  return Number(/^fieldline_realtime_joined_rooms(?:\{[^}]*\})? (\d+)/m.exec(String(body))?.[1])
}
