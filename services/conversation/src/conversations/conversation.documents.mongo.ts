// What conversations, their log, keys and slots look like in MongoDB, and the indexes their queries need.
import type { ConversationId, MessageId } from '@fieldline/contracts/ids'
import type { Connection } from 'mongoose'
import { collectionOf } from '../people/collection.mongo.ts'
import type { KnownKey } from './conversation.store.ts'
import { type Conversation, type Entry, sideOf } from './conversation.ts'
import { notWaiting } from './list.ts'

export type ConversationDocument = Omit<Conversation, 'id' | 'outbox' | 'unansweredSince'> & {
  _id: ConversationId
  /** `waitingSince`, or what sorts behind every instant. */
  waitingKey: string
  unansweredSince?: Conversation['unansweredSince']
  /** Which write brought it to this version. */
  lastWrite?: string
  outbox?: WaitingEntry[]
}

/** An entry on its way: one text, as every commit carries it and nobody asks the database what is in it. The log keeps it in the open. */
export interface WaitingEntry {
  id: string
  time: string
  entry: string
}

/** `_id` is conversation and eventNo, so that it is unique per conversation on any shard and orders the log. */
export interface LogDocument extends Entry {
  _id: string
  conversationId: ConversationId
  eventNo: number
  /** Of messages only. */
  seq?: number
  side?: 'farmer' | 'support'
  messageId?: MessageId
  /** Of decisions about assignment only. */
  assignment?: true
}
export type KeyDocument = KnownKey & { _id: string; at: Date }
export interface SlotDocument {
  _id: string
  conversationId: ConversationId
  previousConversationId: ConversationId | null
}

/** Spec 2: a retry is known for at least 7 days. */
const keyLifeSeconds = 30 * 86_400

/** Makes what the queries below need, without blocking who writes; harmless where it is there already. */
export async function indexConversations(connection: Connection): Promise<void> {
  await collectionOf<ConversationDocument>(
    connection,
    'conversations',
  )((conversations) =>
    conversations.createIndexes([
      { name: 'farmer', key: { 'farmer.id': 1, status: 1, activityAt: -1, _id: -1 } },
      { name: 'assigned', key: { 'assigned.person.id': 1, status: 1, activityAt: -1, _id: -1 } },
      { name: 'activity', key: { status: 1, activityAt: -1, _id: -1 } },
      { name: 'waiting', key: { status: 1, waitingKey: 1, _id: 1 } },
      { name: 'outbox-time', key: { 'outbox.time': 1 }, sparse: true },
      { name: 'empty', key: { 'assigned.at': 1 }, partialFilterExpression: { status: 'open', lastSeq: 0 } },
      { name: 'empty-waiting', key: { waitingKey: 1, lastSeq: 1 }, partialFilterExpression: { status: 'waiting', lastSeq: 0 } },
      { name: 'resolved', key: { resolvedAt: 1 }, partialFilterExpression: { status: 'resolved' } },
    ]),
  )
  await collectionOf<LogDocument>(
    connection,
    'log',
  )((log) =>
    log.createIndexes([
      { name: 'messages', key: { conversationId: 1, seq: 1, side: 1 }, unique: true, partialFilterExpression: { seq: { $gt: 0 } } },
      { name: 'message', key: { conversationId: 1, messageId: 1 }, partialFilterExpression: { seq: { $gt: 0 } } },
      { name: 'assignments', key: { conversationId: 1, eventNo: -1 }, partialFilterExpression: { assignment: true } },
    ]),
  )
  await collectionOf<KeyDocument>(connection, 'keys')((keys) => keys.createIndex({ at: 1 }, { expireAfterSeconds: keyLifeSeconds }))
}

/** Without its outbox, which changes by entries. */
export function toDocument({ id, outbox: _outbox, ...fields }: Conversation): ConversationDocument {
  return { _id: id, ...fields, waitingKey: fields.waitingSince ?? notWaiting }
}

export function fromDocument({
  _id,
  waitingKey: _waitingKey,
  lastWrite: _lastWrite,
  outbox = [],
  // Not in documents of earlier releases.
  unansweredSince = null,
  ...fields
}: ConversationDocument): Conversation {
  return { id: _id, ...fields, unansweredSince, outbox: outbox.map(({ entry }) => JSON.parse(entry) as Entry) }
}

export function toWaiting(entry: Entry): WaitingEntry {
  return { id: entry.event.id, time: entry.event.time, entry: JSON.stringify(entry) }
}

export function toLog({ event, farmerMessages }: Entry): LogDocument {
  const common = {
    _id: logId(event.conversationid, event.eventno),
    conversationId: event.conversationid,
    eventNo: event.eventno,
    event,
    farmerMessages,
  }
  if (event.type === 'conversation.assigned') return { ...common, assignment: true }
  if (event.type !== 'message.created') return common
  const { message, farmerId } = event.data
  return { ...common, seq: message.seq, side: sideOf({ farmer: { id: farmerId } }, message.sender.id), messageId: message.id }
}

export function entryOf({ event, farmerMessages }: LogDocument): Entry {
  return { event, farmerMessages }
}

/** Digits enough for every safe integer, so that text orders as numbers do. */
export function logId(conversationId: string, eventNo: number): string {
  return `${conversationId}:${String(eventNo).padStart(16, '0')}`
}
