// Histories and lists that would take days to write by hand: made by conversation's own rules, put straight into MongoDB in its documents' own shape.
import type { ConversationId, MessageId } from '@fieldline/contracts/ids'
import type { PersonSummary } from '@fieldline/contracts/people'
import { type Conversation, type Decision, numbered } from '@fieldline/conversation/conversations/conversation'
import {
  type ConversationDocument,
  fromDocument,
  type LogDocument,
  toDocument,
  toLog,
} from '@fieldline/conversation/conversations/conversation.documents.mongo'
import { assign, changeStatus, create } from '@fieldline/conversation/conversations/lifecycle'
import { say } from '@fieldline/conversation/messages/message'
import { newId } from '@fieldline/service/ids'
import { type Collection, MongoClient } from 'mongodb'
import { eventually } from '../../tests/support/client.ts'
import { answer } from '../lib/roles.ts'

interface Where {
  mongodb: string
  /** Of the product's run. */
  namespace: string
}
export interface MessagesSeed extends Where {
  conversationId: string
  count: number
}
export interface ConversationsSeed extends Where {
  count: number
  status: 'closed' | 'open' | 'waiting'
  /** `agent-0`, `agent-1` … have them in turn. */
  agents: number
}

const atOnce = 2_000
const underWay = 4
const stepMs = 1_000
/** Stats' collection of how far it has come with each conversation, in its first generation. */
const statsHeads = 'heads_1'

answer({
  /** Lets farmer and agent of an assigned conversation that has no message yet say `count` messages in turn. */
  async messages({ mongodb, namespace, conversationId, count }: MessagesSeed): Promise<void> {
    const client = await connected(mongodb)
    const database = client.db(`${namespace}fieldline_conversation`)
    const conversations = database.collection<ConversationDocument>('conversations')
    const log = database.collection<LogDocument>('log')
    const _id = conversationId as ConversationId
    const before = await eventually(() => conversations.findOne({ _id, outbox: { $size: 0 } }), 30_000)
    const heads = client.db(`${namespace}fieldline_stats`).collection<{ _id: string; eventNo: number }>(statsHeads)
    await eventually(() => heads.findOne({ _id, eventNo: before.eventNo }), 30_000)

    let conversation = fromDocument(before as ConversationDocument)
    function* said(): Generator<LogDocument> {
      const agent = conversation.assigned?.person
      if (!agent) throw new Error(`conversation ${conversationId} has no agent`)
      for (let number = 1; number <= count; number += 1) {
        const now = instant(number - count)
        const { next, logged } = written(saying(conversation, number % 2 === 1 ? conversation.farmer : agent, now), now)
        conversation = next
        yield* logged
      }
    }
    await inserted(log, said())
    const { _id: _same, outbox: _outbox, ...fields } = toDocument(conversation)
    const { matchedCount } = await conversations.updateOne({ _id, version: before.version }, { $set: fields })
    if (matchedCount !== 1) throw new Error(`conversation ${conversationId} was written to while it was seeded`)
    // Else stats would fetch them all from the log, as a gap, while we measure.
    await heads.updateOne({ _id }, { $set: { eventNo: conversation.eventNo } })
    await client.close()
  },

  /** Conversations of farmers of their own, four messages in each, newest last. Their logs stay empty: no list reads them. */
  async conversations({ mongodb, namespace, count, status, agents }: ConversationsSeed): Promise<void> {
    const client = await connected(mongodb)
    const conversations = client.db(`${namespace}fieldline_conversation`).collection<ConversationDocument>('conversations')
    const sample = ofStatus(status)
    function* copies(): Generator<ConversationDocument> {
      for (let number = 0; number < count; number += 1) {
        const at = instant(number - count)
        const assigned = sample.assigned && { ...sample.assigned, person: agentOf(number % agents), placeToken: null }
        const own = { id: newId() as ConversationId, farmer: { ...sample.farmer, id: `seeded-${status}-${number}` }, assigned }
        yield toDocument({ ...sample, ...own, activityAt: at, waitingSince: sample.waitingSince && at, outbox: [] })
      }
    }
    await inserted(conversations, copies())
    await client.close()
  },
})

function connected(mongodb: string): Promise<MongoClient> {
  return MongoClient.connect(mongodb, { directConnection: true, writeConcern: { w: 1 } })
}

async function inserted<Item extends { _id: string }>(collection: Collection<Item>, items: Iterator<Item>): Promise<void> {
  const one = async (): Promise<void> => {
    for (let batch = taken(items); batch.length > 0; batch = taken(items)) await collection.insertMany(batch as never, { ordered: false })
  }
  await Promise.all(Array.from({ length: underWay }, one))
}

function taken<Item>(items: Iterator<Item>): Item[] {
  const batch: Item[] = []
  while (batch.length < atOnce) {
    const { value, done } = items.next()
    if (done) break
    batch.push(value)
  }
  return batch
}

function ofStatus(status: ConversationsSeed['status']): Conversation {
  const now = instant(0)
  const agent = agentOf(0)
  const farmer: PersonSummary = { id: 'seeded', role: 'User', firstName: 'Rajesh', lastName: 'Kumar', phone: null }
  const steps: ((it: Conversation) => Decision)[] = [
    (it) => saying(it, farmer, now),
    ...(status === 'waiting'
      ? []
      : [(it: Conversation) => assign(it, { agent, placeToken: newId(), reason: 'least-busy', note: null, by: 'system' }, now)]),
    ...[farmer, status === 'waiting' ? farmer : agent, farmer].map((sender) => (it: Conversation) => saying(it, sender, now)),
    ...(status === 'closed' ? [(it: Conversation) => changeStatus(it, { to: 'closed', by: agent, reason: null }, now)] : []),
  ]
  const created = written(create({ id: newId() as ConversationId, farmer, previousConversationId: null }, now), now).next
  return steps.reduce((it, step) => written(step(it), now).next, created)
}

function saying(conversation: Conversation, sender: PersonSummary, now: string): Decision {
  const messageId = newId() as MessageId
  const content = 'My tomato leaves are turning yellow, what can I do?'
  const nothingElse = { media: null, clientMessageId: null, sentTo: null, placeToken: null }
  return say(conversation, { messageId, sender, messageType: 'text', content, ...nothingElse }, now)
}

/** As if it were committed, logged and published. */
function written(decision: Decision, now: string): { next: Conversation; logged: LogDocument[] } {
  const { next, entries } = numbered(decision, { commandId: newId(), now })
  return { next: { ...next, outbox: [] }, logged: entries.map(toLog) }
}

function agentOf(number: number): PersonSummary {
  return { id: `agent-${number}`, role: 'Support', firstName: 'Support', lastName: `${number}`, phone: null }
}

const began = Date.now()
function instant(step: number): string {
  return new Date(began + step * stepMs).toISOString()
}
