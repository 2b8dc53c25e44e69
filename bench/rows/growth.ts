// What many conversations cost: the support list, and giving one to an agent. The floor is a desk with 100 of them; the product one with 10,000, then 1,000,000.
import { rest as client, eventually } from '../../tests/support/client.ts'
import type { Figure, Goal } from '../lib/figures.ts'
import { createConversation, type Product, token } from '../lib/product.ts'
import type { Role } from '../lib/roles.ts'
import { type Bench, mongoOf, type Row } from '../lib/row.ts'
import { bySize, cpu, oneByOne, p50 } from '../lib/sizes.ts'
import type { Asked } from '../load/requests.ts'
import type { ConversationsSeed } from '../load/seed.ts'

/** Staff grows with neither list: as many agents share what is closed, and as much is open and waits, at every size. */
const agents = 50
const open = 20
const waiting = 40
/** Named goal of all: flat, whatever the number of conversations. */
const flat: Goal[] = [{ of: 'ratio', atMost: 1.3 }]
const api = '/api/v1/chat'

interface Desk {
  readonly size: number
  readonly product: Product
  readonly agent: string
  readonly admin: string
}
interface Question {
  readonly name: string
  /** In a round, and before the first one at each size, whose processes are its own. */
  readonly requests: number
  readonly warmUp: number
  readonly status: number
  readonly holds: string
  asked(desk: Desk, count: number): Promise<Asked[]> | Asked[]
}

export const growth: Row = {
  name: 'growth',
  what: 'growth: floor 100 conversations, product 10,000, then 1,000,000 (100,000 in a quick run); one request at a time, through the gateway; goal: flat',
  async run(bench) {
    const sizes = bench.quick ? [100, 10_000, 100_000] : [100, 10_000, 1_000_000]
    const seed = await bench.role(new URL('../load/seed.ts', import.meta.url))
    const desks: Desk[] = []
    for (const size of sizes) desks.push(await deskOf(bench, seed, size))
    const load = await bench.role(new URL('../load/requests.ts', import.meta.url))
    const figures: Figure[] = []
    for (const question of whileAgentsAreFree) figures.push(...(await measure(bench, load, desks, question)))
    for (const desk of desks) await handedOut(desk)
    for (const desk of desks) await fillQueue(bench, seed, desk)
    for (const question of whileTheyWait) figures.push(...(await measure(bench, load, desks, question)))
    return {
      figures,
      notes: [`at every size ${open} conversations are open, ${waiting} wait and the rest is closed, shared among ${agents} agents`],
    }
  },
}

/** A round, or a warm-up, of one size begins no request after this: what is slow is slow enough to be seen by few. */
const mostMs = 1_000
/** Answers in time are not asked for here: how long they take is what is measured. */
const patience = { READ_TIMEOUT_MS: '120000', AGENT_CAPACITY: '1000' }

async function deskOf(bench: Bench, seed: Role, size: number): Promise<Desk> {
  const product = await bench.product({ env: patience })
  bench.progress(`seeding ${size.toLocaleString('en')} conversations`)
  const where = { mongodb: mongoOf(bench.servers), namespace: product.whole.namespace, agents }
  await seed.ask('conversations', { ...where, status: 'closed', count: size - open - waiting } satisfies ConversationsSeed)
  await seed.ask('conversations', { ...where, status: 'open', count: open } satisfies ConversationsSeed)
  const agent = token('Support', 'agent-0', { expiresIn: 7_200 })
  const admin = token('Admin', 'bench-admin', { expiresIn: 7_200 })
  const lobby = await bench.role(new URL('../load/lobby.ts', import.meta.url))
  await lobby.ask('connect', { url: product.url, tokens: [agent] })
  await eventually(async () => {
    const { body } = await client(product.url, admin)('GET', '/support/agents')
    return body.data.some(({ isOnline }: { isOnline: boolean }) => isOnline)
  }, 30_000)
  return { size, product, agent, admin }
}

/** That whoever came was given to the agent, if not in the answer then by a pass that ended later. */
async function handedOut({ product, agent }: Desk): Promise<void> {
  await eventually(async () => {
    const { body } = await client(product.url, agent)('GET', '/support/conversations?status=waiting&limit=1')
    return body.counts?.waiting === 0
  }, 60_000)
}

/** From here on nobody takes what waits, so that it stays what it is. */
async function fillQueue(bench: Bench, seed: Role, { size, product, agent }: Desk): Promise<void> {
  await client(product.url, agent)('PATCH', '/support/availability', { available: false })
  const { namespace } = product.whole
  const asked: ConversationsSeed = { mongodb: mongoOf(bench.servers), namespace, status: 'waiting', count: waiting, agents }
  await seed.ask('conversations', asked)
  // Asked as the agent, whose share tells the whole: an admin's own list takes long enough when it is measured.
  const { body } = await client(product.url, agent)('GET', '/support/conversations?limit=1')
  const closed = Math.ceil((size - open - waiting) / agents)
  if (body.counts?.waiting !== waiting || body.counts.closed !== closed)
    throw new Error(`${waiting} were to wait and ${closed} of ${size} to be closed and this agent's: ${JSON.stringify(body).slice(0, 500)}`)
}

const list = (name: string, requests: number, warmUp: number, who: 'agent' | 'admin', query: string): Question => ({
  ...{ name, requests, warmUp, status: 200, holds: '"counts"' },
  asked: (desk) => [{ method: 'GET', path: `${api}/support/conversations?${query}`, token: desk[who] }],
})

let farmers = 0
const newFarmer = () => {
  farmers += 1
  return token('User', `new-farmer-${farmers}`, { expiresIn: 7_200 })
}

const whileAgentsAreFree: readonly Question[] = [
  {
    // The answer waits a second at most for a pass over the queue, so that is the most a slow one costs here.
    ...{ name: 'create → assigned', requests: 15, warmUp: 60, status: 200, holds: '"created":true' },
    asked: (_desk, count) => Array.from({ length: count }, () => ({ method: 'POST', path: `${api}/conversations`, token: newFarmer() })),
  },
]

const whileTheyWait: readonly Question[] = [
  {
    ...{ name: 'claim', requests: 15, warmUp: 60, status: 200, holds: '"status":"open"' },
    async asked({ product, agent }, count) {
      const asked: Asked[] = []
      for (let each = 0; each < count; each += 1) {
        const { id, status } = await createConversation(product.url, newFarmer())
        if (status !== 'waiting') throw new Error(`${id} should wait and is ${status}`)
        asked.push({ method: 'POST', path: `${api}/support/conversations/${id}/claim`, token: agent })
      }
      return asked
    },
  },
  list('list: the queue', 15, 60, 'agent', 'status=waiting&sort=waitingSince'),
  list("list: an agent's", 15, 60, 'agent', ''),
  // Warm by the lists before it.
  list("list: an admin's", 5, 0, 'admin', ''),
]

/** Figures of one question: the middle size, then the largest, each against the smallest. */
async function measure(bench: Bench, load: Role, desks: readonly Desk[], question: Question): Promise<Figure[]> {
  const { status, holds } = question
  const round = async (desk: Desk, count = question.requests) => {
    const asked = await question.asked(desk, count)
    return oneByOne(bench, load, desk.product, { asked, count, mostMs, status, holds })
  }
  bench.progress(question.name)
  for (const desk of desks) await round(desk, question.warmUp)
  const pairs = await bySize(bench, desks, (desk) => round(desk))
  return desks.slice(1).flatMap(({ size }, index): Figure[] => {
    const name = `${question.name}, ${size.toLocaleString('en')}`
    return [
      { name: `${name}, p50`, unit: 'ms', pairs: pairs(index + 1, p50), goals: flat },
      { name: `${name}, CPU of all processes`, unit: 'µs', pairs: pairs(index + 1, cpu), goals: [] },
    ]
  })
}
