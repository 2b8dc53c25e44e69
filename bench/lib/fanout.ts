// The scene of fan-out: a room on either side, fed by the broker, so that nothing but delivery is measured.
import { randomBytes } from 'node:crypto'
import { namespacedName } from '@fieldline/bus/bus'
import { eventsExchange, statsQueue, topology } from '@fieldline/contracts/topology'
import { connect } from 'amqplib'
import type { Fanout } from '../load/fanout.ts'
import { watchCpu } from './proc.ts'
import { createConversation, type Product, token } from './product.ts'
import type { Role } from './roles.ts'
import type { Bench } from './row.ts'
import { headOf } from './seed.ts'

export interface Size {
  readonly members: number
  /** Messages under way. */
  readonly window: number
  /** Messages a round. */
  readonly count: number
}
export interface Room {
  /** Feeds it `count` messages. */
  feed(count: number): Promise<Fed>
}
export interface Fed extends Fanout {
  /** CPU of the serving processes, µs a delivery. */
  micros: number
}

const loadFile = new URL('../load/fanout.ts', import.meta.url)

/** The floor's process with rooms of these sizes. */
export async function floorRooms(bench: Bench, sizes: readonly Size[]): Promise<Room[]> {
  const { amqp } = bench.servers
  const exchange = `bench-floor-${randomBytes(3).toString('hex')}`
  const server = await bench.role(new URL('../floors/fanout.ts', import.meta.url))
  const url = await server.ask<string>('start', { amqp, exchange })
  const load = await bench.role(loadFile)
  const rooms: Room[] = []
  for (const [index, { members, window }] of sizes.entries()) {
    const feed = { conversationId: `${index}`.padStart(24, '0'), farmerId: 'farmer', head: 1 }
    const scene = { feed, exchange, as: 'floor', members: Array.from({ length: members }, () => ({ url, token: '' })) }
    rooms.push(room(load, await load.ask('enter', { amqp, scene }), window, { server: server.pid }))
  }
  return rooms
}

/** The product's realtime, its replicas in turn, with rooms of these sizes; members are admins, who may read everything. */
export async function productRooms(bench: Bench, product: Product, sizes: readonly Size[], replicas = 1): Promise<Room[]> {
  const { amqp } = bench.servers
  await withoutStats(amqp, product)
  const load = await bench.role(loadFile)
  const rooms: Room[] = []
  for (const [index, { members, window }] of sizes.entries()) {
    const farmerId = `fanout-farmer-${index}`
    const { id } = await createConversation(product.url, token('User', farmerId))
    const feed = { conversationId: id, farmerId, head: await headOf(bench.servers, product, id) }
    const scene = {
      ...{ feed, exchange: namespacedName(eventsExchange, product.whole.namespace), as: 'product' },
      members: Array.from({ length: members }, (_, member) => ({
        url: product.urlOf('realtime', 1 + (member % replicas)),
        token: token('Admin', `admin-${index}-${member}`),
      })),
    }
    const pids = Object.fromEntries(Object.entries(product.pids).filter(([name]) => name.startsWith('realtime')))
    rooms.push(room(load, await load.ask('enter', { amqp, scene }), window, pids))
  }
  return rooms
}

function room(load: Role, number: number, window: number, pids: Record<string, number>): Room {
  return {
    async feed(count) {
      const spent = watchCpu(pids)
      const fed = await load.ask<Fanout>('feed', { number, count, window })
      return { ...fed, micros: Object.values(spent()).reduce((sum, micros) => sum + micros, 0) / fed.deliveries }
    },
  }
}

/** These messages are told, not kept: nobody is to count them. */
async function withoutStats(amqp: string, { whole }: Product): Promise<void> {
  const connection = await connect(amqp)
  const channel = await connection.createChannel()
  for (const { name, bindings } of topology.queues)
    if (name === statsQueue)
      for (const { exchange, keys } of bindings)
        for (const key of keys)
          await channel.unbindQueue(namespacedName(name, whole.namespace), namespacedName(exchange, whole.namespace), key)
  await connection.close()
}
