// Idle memory: what a connected, authenticated socket in a room costs the process that serves it, beside a stock Socket.IO server.
import { secret } from '../../tests/support/whole.ts'
import { residentBytes } from '../lib/proc.ts'
import type { Bench, Row } from '../lib/row.ts'
import { seedConversations } from '../lib/seed.ts'
import { settledBytes } from '../lib/settle.ts'
import type { Member } from '../load/crowd.ts'

const loadFile = new URL('../load/crowd.ts', import.meta.url)
const few = 1_000
const atOnce = 64
/** A tunnel has two ends, and a process 20,000 file descriptors. */
const throughGateway = 2_000

interface Resident {
  /** Bytes with nobody connected, with few, with all. */
  none: number
  few: number
  all: number
  /** Bytes a tunnel costs the gateway. */
  tunnel?: number
}

export const idle: Row = {
  name: 'idle',
  what: 'resident memory of the serving process (realtime, not the gateway), authenticated sockets with a browser’s headers, a room each',
  async run(bench) {
    const sockets = bench.quick ? 3_000 : 10_000
    // Fresh processes each round: a look takes one.
    const rounds = bench.quick ? 1 : bench.rounds
    const pairs: { floor: Resident; product: Resident }[] = []
    for (let round = 1; round <= rounds; round += 1) {
      bench.progress(`round ${round} of ${rounds}`)
      pairs.push(await both(bench, sockets, round === rounds))
    }
    const figure = (name: string, unit: string, of: (resident: Resident) => number) => ({
      ...{ name, unit, goals: [] },
      pairs: pairs.map(({ floor, product }) => ({ floor: of(floor), product: of(product) })),
    })
    const shown = (count: number) => count.toLocaleString('en')
    const tunnel = pairs.at(-1)?.product.tunnel
    return {
      figures: [
        { ...figure(`resident, ${shown(sockets)} sockets`, 'MB', ({ all }) => all / 1e6), goals: [{ of: 'ratio', atMost: 0.85 }] },
        figure('resident, no socket', 'MB', ({ none }) => none / 1e6),
        figure(`a socket, ${shown(few)} connected`, 'KB', (resident) => (resident.few - resident.none) / few / 1e3),
        figure(`a socket, ${shown(sockets)} connected`, 'KB', ({ none, all }) => (all - none) / sockets / 1e3),
      ],
      notes: [
        'The goal compares all resident memory of two processes: realtime with everything it does, and a Socket.IO server that verifies tokens and joins rooms. Fresh processes each round.',
        ...(tunnel === undefined
          ? []
          : [`The gateway, over which the sockets above did not go, needs ${(tunnel / 1e3).toFixed(1)} KB more a tunnel.`]),
      ],
    }
  },
}

/** Both sides side by side, each at the same step: memory is what is compared, and most of a round is waiting for it to come to rest. */
async function both(bench: Bench, sockets: number, withTunnels: boolean): Promise<{ floor: Resident; product: Resident }> {
  const stock = await bench.role(new URL('../floors/stock.ts', import.meta.url))
  const product = await bench.product()
  const seeded = await seedConversations(bench.servers, product, withTunnels ? sockets + throughGateway : sockets)
  const members = seeded.map(({ farmerToken, conversationId }) => ({ token: farmerToken, room: conversationId }))
  const crowd = members.slice(0, sockets)
  const sides = [
    { url: await stock.ask<string>('start', { secret }), pid: stock.pid, load: await bench.role(loadFile) },
    { url: product.urlOf('realtime'), pid: product.pids.realtime ?? 0, load: await bench.role(loadFile) },
  ]
  const settled = () => Promise.all(sides.map(({ pid }) => settledBytes(pid)))
  const join = async (more: readonly Member[]) => {
    for (const { url, load } of sides) await load.ask('connect', { url, more, atOnce })
    return settled()
  }
  const steps = [await settled(), await join(crowd.slice(0, few)), await join(crowd.slice(few))]
  for (const { load } of sides) {
    await load.ask('check')
    await load.stop()
  }
  const [floor, own] = [0, 1].map((side) => {
    const [none = 0, afterFew = 0, all = 0] = steps.map((step) => step[side] ?? 0)
    bench.progress(`${['stock', 'product'][side]}: ${[none, afterFew, all].map((bytes) => (bytes / 1e6).toFixed(0)).join(' → ')} MB`)
    return { none, few: afterFew, all }
  }) as [Resident, Resident]
  if (withTunnels) own.tunnel = await tunnel(bench, product.url, product.pids.gateway ?? 0, members.slice(sockets))
  await stock.stop()
  await product.stop()
  return { floor, product: own }
}

async function tunnel(bench: Bench, url: string, pid: number, members: readonly Member[]): Promise<number> {
  const load = await bench.role(loadFile)
  const before = residentBytes(pid)
  await load.ask('connect', { url, more: members, atOnce })
  const after = await settledBytes(pid)
  await load.stop()
  return (after - before) / members.length
}
