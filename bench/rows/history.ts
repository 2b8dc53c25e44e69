// What a long history costs: any page of it, and a send into it. The floor is a conversation of 1,000 messages, the product one of 1,000,000.
import { isDeepStrictEqual } from 'node:util'
import { rest as client } from '../../tests/support/client.ts'
import { desks } from '../lib/chat.ts'
import { type Figure, type Goal, means, type Pair } from '../lib/figures.ts'
import type { Product, Seat } from '../lib/product.ts'
import { mongoOf, type Row } from '../lib/row.ts'
import { bySize, cpu, oneByOne, p50 } from '../lib/sizes.ts'
import type { Asked } from '../load/requests.ts'
import type { MessagesSeed } from '../load/seed.ts'

const pageSize = 50
const pageGoal: Goal[] = [{ of: 'ratio', atMost: 1.3 }]
const sendGoal: Goal[] = [{ of: 'ratio', atMost: 1.2 }]

interface Subject extends Seat {
  readonly messages: number
}
/** One thing to ask of a conversation, whatever its length. */
interface Question {
  readonly name: string
  /** In a round, as a multiple of what is usual: a send waits for the disk, and varies more. */
  readonly times: number
  readonly goals: Goal[]
  readonly status: number
  asked(subject: Subject): Asked
}

export const history: Row = {
  name: 'history',
  what: 'history: floor 1,000 messages in a conversation, product 1,000,000 (100,000 in a quick run); one request at a time, through the gateway',
  async run(bench) {
    const lengths = [1_000, bench.quick ? 100_000 : 1_000_000]
    const product = await bench.product()
    const seats = await desks(bench, product, lengths.length)
    const subjects = seats.map((seat, index): Subject => ({ ...seat, messages: lengths[index] ?? 0 }))
    const seed = await bench.role(new URL('../load/seed.ts', import.meta.url))
    for (const subject of subjects) {
      bench.progress(`seeding ${subject.messages.toLocaleString('en')} messages`)
      const { namespace } = product.whole
      const asked = { mongodb: mongoOf(bench.servers), namespace, conversationId: subject.room, count: subject.messages }
      await seed.ask('messages', asked satisfies MessagesSeed)
      await verify(product, subject)
    }
    const load = await bench.role(new URL('../load/requests.ts', import.meta.url))
    const figures: Figure[] = []
    const spent = new Map<Question, Pair[]>()
    for (const question of questions) {
      const count = (bench.quick ? 30 : 60) * question.times
      const round = (subject: Subject) =>
        oneByOne(bench, load, product, { asked: [question.asked(subject)], count, status: question.status })
      bench.progress(question.name)
      for (const subject of subjects) await round(subject)
      const pairs = await bySize(bench, subjects, round)
      figures.push({ name: `${question.name}, p50`, unit: 'ms', pairs: pairs(1, p50), goals: question.goals })
      spent.set(question, pairs(1, cpu))
    }
    for (const [name, goals] of [
      ['a page', pageGoal],
      ['a send', sendGoal],
    ] as const) {
      const asked = questions.filter((question) => question.goals === goals).map((question) => spent.get(question) ?? [])
      figures.push({ name: `${name}, CPU of all processes`, unit: 'µs', pairs: means(asked), goals: [] })
    }
    return { figures, notes: ['the index of idempotency keys is one for all conversations and was not seeded'] }
  },
}

const page = (name: string, query: (messages: number) => string): Question => ({
  name,
  times: 1,
  goals: pageGoal,
  status: 200,
  asked: ({ room, tokens, messages }) => ({
    method: 'GET',
    path: `/api/v1/chat/messages/${room}?limit=${pageSize}&${query(messages)}`,
    token: tokens[0] ?? '',
  }),
})

const questions: readonly Question[] = [
  page('newest page', () => 'page=1'),
  page('middle page', (messages) => `page=${messages / 2 / pageSize}`),
  page('oldest page', (messages) => `page=${messages / pageSize}`),
  page('beforeSeq, middle', (messages) => `beforeSeq=${messages / 2}`),
  page('beforeSeq, oldest', () => `beforeSeq=${pageSize + 1}`),
  page('afterSeq, middle', (messages) => `afterSeq=${messages / 2}`),
  page('afterSeq, oldest', () => 'afterSeq=0'),
  {
    name: 'send',
    times: 2,
    goals: sendGoal,
    status: 201,
    asked: ({ room, tokens }) => ({
      method: 'POST',
      path: '/api/v1/chat/messages',
      token: tokens[0] ?? '',
      body: JSON.stringify({ conversationId: room, messageType: 'text', content: 'My tomato leaves are turning yellow, what can I do?' }),
    }),
  },
]

/** That the API takes what was seeded for its own. */
async function verify(product: Product, { room, tokens, messages }: Subject): Promise<void> {
  const farmer = client(product.url, tokens[0])
  const { body } = await farmer('GET', `/conversations/${room}`)
  if (body.data?.lastSeq !== messages) throw new Error(`lastSeq should be ${messages}: ${JSON.stringify(body)}`)
  for (const [query, first] of [
    ['page=1', messages - pageSize + 1],
    ['afterSeq=0', 1],
  ] as const) {
    const { body } = await farmer('GET', `/messages/${room}?limit=${pageSize}&${query}`)
    const seqs = body.data?.map(({ seq }: { seq: number }) => seq)
    const wanted = Array.from({ length: pageSize }, (_, index) => first + index)
    if (!isDeepStrictEqual(seqs, wanted)) throw new Error(`${query} should begin at ${first}: ${JSON.stringify(body).slice(0, 500)}`)
  }
}
