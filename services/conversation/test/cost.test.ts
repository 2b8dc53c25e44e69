// Costs that must not grow with history, on both databases: a page of 50 and a send in a conversation of 100,000 messages against one of 1,000 (issue 5).
import { randomUUID } from 'node:crypto'
import type { ConversationId, MessageId } from '@fieldline/contracts/ids'
import { newId } from '@fieldline/service/ids'
import { expect, test } from '@jest/globals'
import type { ConversationStore } from '../src/conversations/conversation.store.ts'
import type { Conversation, Entry } from '../src/conversations/conversation.ts'
import { type Answer, onEachDatabase, startService, tokenOf } from './service.ts'

const small = 1_000
const measured = 60

await onEachDatabase((database) => {
  // Filling MongoDB takes longest: COST_MESSAGES=100000 is the full comparison there too.
  const large = Number(process.env.COST_MESSAGES ?? (database.name === 'SQLite' ? 100_000 : 30_000))
  test(`a page and a send cost the same at ${large} messages as at ${small}`, async () => {
    let store: ConversationStore | undefined
    const service = await startService(database, {
      deps: {
        store: (one) => {
          store = one
          return one
        },
      },
    })
    try {
      const token = tokenOf('User', 'rajesh')
      const other = tokenOf('User', 'sita')
      const [few, many] = await Promise.all(
        [token, other].map(async (one) => (await service.as(one)('POST', '/conversations')).body.data._id as ConversationId),
      )
      await Promise.all([
        fill(store as ConversationStore, few as ConversationId, small),
        fill(store as ConversationStore, many as ConversationId, large),
      ])
      const pages = await compared(
        (n) => service.as(token)('GET', `/messages/${few}?page=${1 + (n % (small / 50))}`),
        (n) => service.as(other)('GET', `/messages/${many}?page=${1 + Math.floor((n / measured) * (large / 50))}`),
      )
      const sends = await compared(
        () => service.as(token)('POST', '/messages', { conversationId: few, content: 'one more', clientMessageId: randomUUID() }),
        () => service.as(other)('POST', '/messages', { conversationId: many, content: 'one more', clientMessageId: randomUUID() }),
      )
      process.stdout.write(
        `${database.name}, ${large} messages against ${small}: page of 50 ${pages.toFixed(2)} (goal 1.3), send ${sends.toFixed(2)} (goal 1.2)\n`,
      )
      // Goals are what the line above shows; a growth with history would be a hundredfold, a busy machine is not.
      expect(pages).toBeLessThan(2.5)
      expect(sends).toBeLessThan(2.5)
    } finally {
      await service.stop()
    }
  }, 240_000)
})

/** Ratio of the medians, in alternating order, after a warm-up. */
async function compared(one: (n: number) => Promise<Answer>, another: (n: number) => Promise<Answer>): Promise<number> {
  const times: [number[], number[]] = [[], []]
  for (let n = -10; n < measured; n += 1) {
    for (const [which, ask] of [one, another].entries()) {
      const began = performance.now()
      const { status } = await ask(Math.max(n, 0))
      expect([200, 201]).toContain(status)
      if (n >= 0) times[which as 0 | 1].push(performance.now() - began)
    }
  }
  const median = (all: number[]) => all.toSorted((a, b) => a - b)[all.length >> 1] ?? 0
  return median(times[1]) / median(times[0])
}

/** Writes history straight into the log, and the conversation that stands above it. */
async function fill(store: ConversationStore, id: ConversationId, count: number): Promise<void> {
  const before = (await store.load(id)) as Conversation
  const { farmer } = before
  const sender = { id: farmer.id, role: farmer.role, firstName: farmer.firstName, lastName: farmer.lastName }
  const time = before.createdAt
  for (let from = 1; from <= count; from += 5_000) {
    const entries = Array.from({ length: Math.min(5_000, count - from + 1) }, (_, n): Entry => {
      const seq = from + n
      return {
        farmerMessages: seq,
        event: {
          specversion: '1.0',
          id: `${id}-${seq}`,
          source: 'test',
          time,
          datacontenttype: 'application/json',
          type: 'message.created',
          conversationid: id,
          eventno: before.eventNo + seq,
          data: {
            message: {
              id: newId() as MessageId,
              conversationId: id,
              seq,
              sender,
              messageType: 'text',
              content: `message ${seq}`,
              media: null,
              clientMessageId: null,
              createdAt: time,
            },
            farmerId: farmer.id,
            assignedId: null,
            status: before.status,
            sentTo: null,
          },
        },
      }
    })
    await store.append(entries)
  }
  const next = {
    ...before,
    version: before.version + 1,
    eventNo: before.eventNo + count,
    lastSeq: count,
    farmerMessages: count,
    unread: { farmer: 0, support: count },
  }
  expect(await store.commit(before, next, [])).toBe('committed')
}
