// Port of conversations, their log and what is found by them. test/conversation.store.contract.ts proves it for each adapter.
import type { Status } from '@fieldline/contracts/conversations'
import type { ConversationId, MessageId, PersonId } from '@fieldline/contracts/ids'
import type { Conversation, Entry, Instant, Side } from './conversation.ts'
import type { Scope } from './visibility.ts'

/** `full`: the outbox holds as much as it may; the same write may get in once the broker takes events again. */
export type Committed = 'committed' | 'conflict' | 'full'

/** What a sender's key stands for, once its message is in the log. */
export interface KnownKey {
  /** The conversation that was named, and the one the message landed in. */
  readonly named: ConversationId
  readonly conversationId: ConversationId
  readonly messageId: MessageId
  readonly seq: number
  /** Of type, text and media, so that other content under the same key is told. */
  readonly contentHash: string
}

/** A farmer's one conversation that counts now. */
export interface Slot {
  readonly conversationId: ConversationId
  readonly previousConversationId: ConversationId | null
}

export interface ListFilter {
  readonly scope: Scope
  readonly status?: Status | undefined
  /** A person's id; null: nobody; undefined: whoever. */
  readonly assignedTo?: PersonId | null | undefined
}
/** `activity`: newest first. `waitingSince`: who waits longest first, then those who don't wait. */
export type ListOrder = 'activity' | 'waitingSince'
export interface ListPage {
  readonly limit: number
  /** The position behind which to go on. */
  readonly after?: ListPosition | undefined
  /** By activity: only what had some after this instant. */
  readonly above?: Instant | undefined
}
export interface ListPosition {
  readonly key: string
  readonly id: string
}

/** Where a walk through the queue, or through what is due, goes on. */
export interface Due {
  readonly at: Instant
  readonly id: ConversationId
}

/** Every method is atomic by itself; none spans two conversations. Reads are of the majority, from the primary. @throws AppError UNAVAILABLE from each: of a write it means that its outcome is unknown */
export interface ConversationStore {
  /** The conversation with its outbox; null if there is none. */
  load(id: ConversationId): Promise<Conversation | null>
  /** Writes a conversation that must not be there yet. False if it is. */
  insert(next: Conversation, entries: readonly Entry[]): Promise<boolean>
  /** Writes `next` and pushes its events if `before.version` is still the stored one and the outbox has room; takes what is `leaving` along, as `forget` does. */
  commit(before: Conversation, next: Conversation, entries: readonly Entry[], leaving?: readonly Entry[]): Promise<Committed>
  /** Moves `version` on and nothing else, so that a writer who read before is too late. False if `version` wasn't the stored one. */
  bump(id: ConversationId, version: number): Promise<boolean>

  /** Puts entries into the log, and the keys of their messages into the index. What is there already is fine. */
  append(entries: readonly Entry[]): Promise<void>
  /** Takes entries that are in the log and confirmed out of their outboxes; touches neither version nor eventNo. */
  forget(entries: readonly Entry[]): Promise<void>
  /** Conversations with an event in the outbox since before `before`, at most `limit`. */
  unpublished(before: Instant, limit: number): Promise<ConversationId[]>

  /** Messages in the log with `from <= seq <= to`, by seq. */
  messages(id: ConversationId, from: number, to: number): Promise<Entry[]>
  /** The newest `limit` messages of one side with `after < seq <= upTo`, oldest first. */
  messagesOf(id: ConversationId, side: Side, after: number, upTo: number, limit: number): Promise<{ id: MessageId; seq: number }[]>
  /** A message of this conversation that is in the log. */
  message(id: ConversationId, messageId: MessageId): Promise<Entry | null>
  /** The log after `after`, by eventNo, at most `limit`. */
  entries(id: ConversationId, after: number, limit: number): Promise<Entry[]>
  /** Decisions about assignment in the log, oldest first, the newest `limit`. */
  assignments(id: ConversationId, limit: number): Promise<Entry[]>
  /** What stands behind a sender's key (`keyOf`). */
  key(hash: string): Promise<KnownKey | null>

  slot(farmerId: PersonId): Promise<Slot | null>
  /** Points the farmer's slot from `from` (null: none yet) to a new conversation. False if it no longer stood at `from`. */
  moveSlot(farmerId: PersonId, from: ConversationId | null, to: ConversationId): Promise<boolean>

  // Lists. Their conversations come without the outbox.
  list(filter: ListFilter, order: ListOrder, page: ListPage): Promise<Conversation[]>
  /** Where the nth of a list stands, from 1; null where the list ends before it. It costs a look at the positions of all before it, so `n` needs a bound. */
  nth(filter: ListFilter, order: ListOrder, n: number): Promise<ListPosition | null>
  count(filter: ListFilter): Promise<Record<Status, number>>
  heads(ids: readonly ConversationId[]): Promise<{ conversationId: ConversationId; eventNo: number; lastSeq: number }[]>
  /** Every conversation by id, after `after`. */
  walk(after: ConversationId | null, limit: number): Promise<{ conversationId: ConversationId; eventNo: number }[]>
  /** The queue, who waits longest first, after `after`. */
  waiting(after: Due | null, limit: number): Promise<Conversation[]>
  /** Open conversations of an agent, at most `limit`, by id after `after`. */
  openOf(agentId: PersonId, limit: number, after?: ConversationId): Promise<Conversation[]>
  /** Those without a message: who waits since before `before`, then the open ones assigned before it, so that no freed place goes to another empty one. */
  emptySince(before: Instant, limit: number): Promise<Conversation[]>
  /** Resolved before `before`, oldest first. */
  resolvedSince(before: Instant, limit: number): Promise<Conversation[]>
}
