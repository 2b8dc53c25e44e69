// REST through the gateway beside a bare undici proxy in Express, both before the same upstream: CPU of the proxy's own process, and throughput.
import { randomBytes } from 'node:crypto'
import jwt from 'jsonwebtoken'
import { rateChart } from '../lib/charts.ts'
import type { Figure } from '../lib/figures.ts'
import { watchCpu } from '../lib/proc.ts'
import { unbitten } from '../lib/product.ts'
import type { Role } from '../lib/roles.ts'
import { alternate } from '../lib/rounds.ts'
import type { Bench, Row } from '../lib/row.ts'
import { startService } from '../lib/service.ts'
import type { Answered, Asked, Requests } from '../load/requests.ts'

const window = 32
const warmUp = 10_000
/** Connections to the upstream that a round may open: as many as are under way, and once more for what else a gateway asks. */
const mostConnections = 2 * window

interface Side {
  url: string
  pid: number
}
interface Round extends Answered {
  cpuMicros: number
}

export const rest: Row = {
  name: 'rest',
  what: `REST through the gateway, ${window} requests under way, beside a bare undici proxy in Express`,
  async run(bench) {
    const secret = randomBytes(32).toString('base64url')
    const token = jwt.sign({ role: 'User' }, secret, { subject: 'bench', expiresIn: '1h' })
    const conversationId = 'a'.repeat(24)
    const body = JSON.stringify({ conversationId, messageType: 'text', content: 'Hello, I need help' })
    const kinds: Asked[] = [
      { method: 'GET', path: `/api/v1/chat/messages/${conversationId}?limit=50`, token },
      { method: 'POST', path: '/api/v1/chat/messages', token, body },
    ]
    const upstream = await bench.role(new URL('../floors/rest-upstream.ts', import.meta.url))
    const behind = await upstream.ask<string>('start', { secret })
    const sides = { floor: await bareProxy(bench, behind), product: await gateway(bench, behind, secret) }
    const load = await bench.role(new URL('../load/requests.ts', import.meta.url))
    const count = bench.quick ? 4_000 : 10_000

    const figures: Figure[] = []
    let opened = 0
    for (const asked of kinds) {
      const round = async (side: Side): Promise<Round> => {
        const before = await upstream.ask<number>('connections')
        const taken = await ask(load, side, asked, count)
        const fresh = (await upstream.ask<number>('connections')) - before
        if (fresh > mostConnections) throw new Error(`${asked.method}: ${count} requests opened ${fresh} connections to the upstream`)
        if (side === sides.product) opened += fresh
        return taken
      }
      for (const side of [sides.floor, sides.product]) await ask(load, side, asked, warmUp)
      const pairs = await alternate(bench, { floor: () => round(sides.floor), product: () => round(sides.product) })
      const pick = (of: (round: Round) => number) => pairs.map(({ floor, product }) => ({ floor: of(floor), product: of(product) }))
      figures.push(
        { name: `${asked.method} CPU`, unit: 'µs', pairs: pick(({ cpuMicros }) => cpuMicros), goals: [{ of: 'ratio', atMost: 1.3 }] },
        {
          name: `${asked.method} throughput`,
          unit: '/s',
          pairs: pick(({ perSecond }) => perSecond),
          goals: [{ of: 'ratio', atLeast: 0.75 }],
        },
      )
    }
    const gets = figures.find(({ name }) => name === 'GET throughput')?.pairs ?? []
    return {
      figures,
      notes: [
        `keep-alive held: the gateway opened ${opened} connections to the upstream in ${2 * bench.rounds * count} requests (after warm-up)`,
      ],
      charts: [rateChart('GET through the gateway, 32 under way', '/s', gets)],
    }
  },
}

async function ask(load: Role, { url, pid }: Side, asked: Asked, count: number): Promise<Round> {
  const spent = watchCpu({ pid })
  const answered = await load.ask<Answered>('closed', { url, asked: [asked], count, window, status: 200 } satisfies Requests)
  return { ...answered, cpuMicros: (spent().pid ?? 0) / count }
}

async function bareProxy(bench: Bench, upstream: string): Promise<Side> {
  const proxy = await bench.role(new URL('../floors/rest-proxy.ts', import.meta.url))
  return { url: await proxy.ask<string>('start', { upstream }), pid: proxy.pid }
}

async function gateway(bench: Bench, behind: string, secret: string): Promise<Side> {
  const started = await startService('gateway', {
    PATH: process.env.PATH,
    JWT_SECRET: secret,
    INTERNAL_SECRET: secret,
    RATE_LIMIT_READ: unbitten,
    RATE_LIMIT_WRITE: unbitten,
    ...{ CONVERSATION_URL: behind, MEDIA_URL: behind, STATS_URL: behind, REALTIME_URL: behind },
  })
  bench.atEnd(() => started.stop())
  return started
}
