// The conversation as an aggregate: its state, the facts that change it, and how facts become events. Pure: no I/O, no clock of its own.
import type { ConversationState, LastMessage, Mark, Status } from '@fieldline/contracts/conversations'
import type { ConversationAssigned, ConversationEvent, ConversationRead, ConversationStatusChanged } from '@fieldline/contracts/events'
import type { ConversationId, PersonId } from '@fieldline/contracts/ids'
import type { Message } from '@fieldline/contracts/messages'
import type { PersonSummary } from '@fieldline/contracts/people'

/** UTC, ISO 8601 with milliseconds and `Z`: as text they order as they did in time. */
export type Instant = string

export type Side = 'farmer' | 'support'

/** Up to where a side has read. `steps` are the mark's last moves, oldest first; at most `keptSteps`. */
export interface SideMark {
  readonly seq: number
  readonly steps: readonly { readonly seq: number; readonly at: Instant }[]
}

export interface Assigned {
  readonly person: PersonSummary
  /** The place held with that agent; null once it was given back (resolved, closed: the agent stays named). */
  readonly placeToken: string | null
  readonly at: Instant
}

/** Who gave the conversation back, so that it isn't given to them again for a while. */
export interface GivenBack {
  readonly personId: PersonId
  readonly at: Instant
}

/** An event as outbox and log keep it. */
export interface Entry {
  readonly event: ConversationEvent
  /** Of `message.created`: how many of the messages up to this one are the farmer's. Else null. */
  readonly farmerMessages: number | null
}

export interface Conversation {
  readonly id: ConversationId
  /** Guards state: every write of state expects the one it read. */
  readonly version: number
  /** Counts events, 1, 2, 3 … */
  readonly eventNo: number
  /** Counts messages, 1, 2, 3 … */
  readonly lastSeq: number
  /** How many of them are the farmer's. */
  readonly farmerMessages: number
  readonly farmer: PersonSummary
  readonly assigned: Assigned | null
  readonly status: Status
  readonly marks: { readonly farmer: SideMark; readonly support: SideMark }
  /** What each side has not read; the support side's passes to a new agent. */
  readonly unread: { readonly farmer: number; readonly support: number }
  readonly lastMessage: LastMessage | null
  /** What orders the queue: since when the farmer waits; null where it is in none (assigned, resolved, closed, or empty and given back). */
  readonly waitingSince: Instant | null
  /** When the farmer's first unanswered message came; null where there is none. What is resolved or closed has none. */
  readonly unansweredSince: Instant | null
  /** Since when it is resolved; null where it isn't. */
  readonly resolvedAt: Instant | null
  /** The last few who gave it back, oldest first. */
  readonly givenBack: readonly GivenBack[]
  readonly previousConversationId: ConversationId | null
  /** Of the last message, else of the beginning: what lists are sorted by. */
  readonly activityAt: Instant
  readonly createdAt: Instant
  readonly updatedAt: Instant
  /** Events that are committed and perhaps neither in the log nor published yet, by eventNo. */
  readonly outbox: readonly Entry[]
}

type Without<Event extends { type: string; data: { conversation: unknown } }> = { type: Event['type'] } & Omit<
  Event['data'],
  'conversation'
>

/** What a command changed. It becomes an event when it is numbered. */
export type Fact =
  | { type: 'conversation.created' }
  | Without<ConversationAssigned>
  | Without<ConversationStatusChanged>
  | Without<ConversationRead>
  | { type: 'message.created'; message: Message; sentTo: ConversationId | null }

/** What a rule decided: the state after it (`version`, `eventNo` and `outbox` untouched) and what happened, in order. No facts: nothing changes. */
export interface Decision {
  readonly after: Conversation
  readonly facts: readonly Fact[]
}

export const nothing = (conversation: Conversation): Decision => ({ after: conversation, facts: [] })

/** The state between services, without history. */
export function stateOf(conversation: Conversation): ConversationState {
  const { id, farmer, assigned, status, unread, lastMessage, lastSeq, waitingSince, previousConversationId, createdAt, updatedAt } =
    conversation
  return {
    id,
    farmer,
    assigned: assigned?.person ?? null,
    status,
    unread: [
      ...(unread.farmer > 0 ? [{ personId: farmer.id, count: unread.farmer }] : []),
      ...(assigned && unread.support > 0 ? [{ personId: assigned.person.id, count: unread.support }] : []),
    ],
    lastMessage,
    lastSeq,
    waitingSince,
    previousConversationId,
    createdAt,
    updatedAt,
  }
}

/** Marks as they cross a wire. The support side's belongs to whoever is assigned; while nobody is, it is nobody's and left out. */
export function marksOf({ marks, farmer, assigned }: Conversation): Mark[] {
  const mark = (personId: PersonId, side: Side, { seq, steps }: SideMark): Mark => ({ personId, side, seq, steps: [...steps] })
  return [mark(farmer.id, 'farmer', marks.farmer), ...(assigned ? [mark(assigned.person.id, 'support', marks.support)] : [])]
}

export function sideOf({ farmer }: { readonly farmer: { readonly id: PersonId } }, personId: PersonId): Side {
  return personId === farmer.id ? 'farmer' : 'support'
}

export interface Numbering {
  /** The command's id: with the event's place in the command it makes the event's id, the same at each try. */
  readonly commandId: string
  readonly now: Instant
  readonly trace?: { readonly traceparent: string; readonly tracestate?: string } | undefined
}

/** The state to write and the events to push with it: the next version, and eventNos going on from the last one. */
export function numbered({ after, facts }: Decision, { commandId, now, trace }: Numbering): { next: Conversation; entries: Entry[] } {
  const eventNo = after.eventNo + facts.length
  const next: Conversation = { ...after, version: after.version + 1, eventNo, updatedAt: now }
  const entries = facts.map((fact, index): Entry => {
    const envelope = {
      specversion: '1.0' as const,
      id: eventId(commandId, index),
      source: 'fieldline/conversation',
      time: now,
      datacontenttype: 'application/json' as const,
      conversationid: after.id,
      eventno: after.eventNo + index + 1,
      ...trace,
    }
    return {
      event: { ...envelope, ...contents(fact, next) } as ConversationEvent,
      farmerMessages: fact.type === 'message.created' ? next.farmerMessages : null,
    }
  })
  return { next: { ...next, outbox: [...after.outbox, ...entries] }, entries }
}

export function eventId(commandId: string, index: number): string {
  return `${commandId}-${index}`
}

function contents({ type, ...fact }: Fact, next: Conversation): Pick<ConversationEvent, 'type' | 'data'> {
  if (type !== 'message.created')
    return { type, data: { ...fact, conversation: stateOf(next) } } as Pick<ConversationEvent, 'type' | 'data'>
  const { message, sentTo } = fact as Extract<Fact, { type: 'message.created' }>
  return {
    type,
    data: { message, farmerId: next.farmer.id, assignedId: next.assigned?.person.id ?? null, status: next.status, sentTo },
  }
}
