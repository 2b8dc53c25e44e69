// The scene of every chat row: the floor's two processes and the product, each with the same rooms of a farmer and an agent, and a load generator at each.
import { randomBytes } from 'node:crypto'
import { eventually, rest } from '../../tests/support/client.ts'
import { createConversation, type Product, type Seat, token } from './product.ts'
import type { Role } from './roles.ts'
import type { Bench } from './row.ts'

export interface Side {
  load: Role
  /** Every process that works for a message, by name. */
  pids: Record<string, number | undefined>
}

const agentCapacity = 5

export async function floorSide(bench: Bench, seats: Seat[]): Promise<Side> {
  const { amqp, mongodb, pids } = bench.servers
  const name = `bench-floor-${randomBytes(3).toString('hex')}`
  const store = await bench.role(new URL('../floors/chat-store.ts', import.meta.url))
  const door = await bench.role(new URL('../floors/chat-door.ts', import.meta.url))
  bench.atEnd(() => store.ask('erase', { amqp, mongodb, name }))
  const storeUrl = await store.ask<string>('start', { amqp, mongodb, name })
  const url = await door.ask<string>('start', { amqp, store: storeUrl, name })
  const load = await bench.role(new URL('../load/chat.ts', import.meta.url))
  await load.ask('connect', { url, seats, transports: ['websocket'], ordered: false })
  return { load, pids: { door: door.pid, store: store.pid, ...pids } }
}

export async function productSide(bench: Bench, product: Product, seats: Seat[], url = product.url): Promise<Side> {
  const load = await bench.role(new URL('../load/chat.ts', import.meta.url))
  await load.ask('connect', { url, seats, transports: ['websocket'], ordered: true })
  return { load, pids: { ...product.pids, ...bench.servers.pids } }
}

/** Conversations of a farmer and an agent each, as an ordinary day makes them: agents come online, farmers open, the queue hands them out. */
export async function desks(bench: Bench, product: Product, rooms: number): Promise<Seat[]> {
  const agents = new Map<string, string>()
  for (let index = 0; index < Math.ceil(rooms / agentCapacity); index += 1)
    agents.set(`agent-${index}`, token('Support', `agent-${index}`, { expiresIn: 7_200 }))
  const lobby = await bench.role(new URL('../load/lobby.ts', import.meta.url))
  const tokens = [...agents.keys()].map((id) => token('Support', id, { expiresIn: 7_200, claims: { device: 'lobby' } }))
  await lobby.ask('connect', { url: product.url, tokens })
  const admin = rest(product.url, token('Admin', 'bench-admin'))
  await eventually(async () => {
    const { body } = await admin('GET', '/support/agents')
    return body.data.filter((agent: { isOnline: boolean }) => agent.isOnline).length === agents.size
  }, 30_000)
  const seats: Seat[] = []
  for (let index = 0; index < rooms; index += 1) {
    const farmer = token('User', `farmer-${index}`, { expiresIn: 7_200 })
    const { id, agentId } = await createConversation(product.url, farmer)
    const agent = agents.get(agentId ?? '')
    if (!agent) throw new Error(`conversation ${id} has no agent`)
    seats.push({ room: id, tokens: [farmer, agent] })
  }
  return seats
}

/** As many rooms of two for a floor that knows neither tokens nor agents. */
export function bareRooms(rooms: number): Seat[] {
  return Array.from({ length: rooms }, (_, index) => ({
    room: `${index}`.padStart(24, '0'),
    tokens: [`farmer-${index}`, `agent-${Math.floor(index / agentCapacity)}`],
  }))
}
