// What may happen to a conversation's status and to whom it is assigned (spec 3). Pure: no I/O, no clock of its own.
import type { AssignmentReason, Status } from '@fieldline/contracts/conversations'
import { AppError } from '@fieldline/contracts/errors'
import type { ConversationId, PersonId } from '@fieldline/contracts/ids'
import type { Person, PersonSummary } from '@fieldline/contracts/people'
import { type Assigned, type Conversation, type Decision, type Fact, type Instant, nothing } from './conversation.ts'
import { mayManage } from './visibility.ts'

/** What a person may do by `PATCH status`. Assignment and a farmer's message open; nobody does by hand. */
const next: Record<Status, readonly Status[]> = {
  waiting: ['closed'],
  open: ['waiting', 'resolved', 'closed'],
  resolved: ['closed'],
  closed: [],
}
const keptGivenBack = 5

/** A conversation that nobody has yet: it waits. `version` and `eventNo` are 0 until it is written. */
export function create(
  { id, farmer, previousConversationId }: { id: ConversationId; farmer: PersonSummary; previousConversationId: ConversationId | null },
  now: Instant,
): Decision {
  const unread = { seq: 0, steps: [] }
  const after: Conversation = {
    id,
    version: 0,
    eventNo: 0,
    lastSeq: 0,
    farmerMessages: 0,
    farmer,
    assigned: null,
    status: 'waiting',
    marks: { farmer: unread, support: unread },
    unread: { farmer: 0, support: 0 },
    lastMessage: null,
    waitingSince: now,
    unansweredSince: null,
    resolvedAt: null,
    givenBack: [],
    previousConversationId,
    activityAt: now,
    createdAt: now,
    updatedAt: now,
    outbox: [],
  }
  return { after, facts: [{ type: 'conversation.created' }] }
}

/** Decides a change of status asked for by a person. The status it has already is no event. @throws AppError FORBIDDEN, CONVERSATION_CLOSED, ILLEGAL_TRANSITION */
export function changeStatus(
  conversation: Conversation,
  { to, by, reason }: { to: Status; by: Pick<Person, 'id' | 'role'>; reason: string | null },
  now: Instant,
): Decision {
  if (!mayManage(conversation, by)) throw new AppError('FORBIDDEN', 'Only the assigned agent or an admin can change the status')
  const { status } = conversation
  if (status === to) return nothing(conversation)
  if (status === 'closed') throw new AppError('CONVERSATION_CLOSED', 'The conversation is closed')
  if (!next[status].includes(to)) throw new AppError('ILLEGAL_TRANSITION', `A ${status} conversation cannot become ${to}`)
  if (to === 'waiting') {
    const why = by.id === conversation.assigned?.person.id ? 'released-by-agent' : 'released-by-admin'
    return release(conversation, { reason: why, note: reason, by: by.id, queued: true }, now)
  }
  return end(conversation, { to: to as 'resolved' | 'closed', by: by.id, reason }, now)
}

/** Closes what has been resolved for long enough. Nothing if it was reopened or closed meanwhile. */
export function closeResolved(conversation: Conversation, { resolvedBefore }: { resolvedBefore: Instant }, now: Instant): Decision {
  if (conversation.resolvedAt === null || conversation.resolvedAt > resolvedBefore) return nothing(conversation)
  return end(conversation, { to: 'closed', by: 'system', reason: null }, now)
}

/** The agent stays named, but no longer holds a place for it. */
function end(
  conversation: Conversation,
  { to, by, reason }: { to: 'resolved' | 'closed'; by: string; reason: string | null },
  now: Instant,
): Decision {
  const assigned = conversation.assigned && { ...conversation.assigned, placeToken: null }
  return {
    after: { ...conversation, status: to, assigned, waitingSince: null, unansweredSince: null, resolvedAt: to === 'resolved' ? now : null },
    facts: [statusChanged(conversation.status, to, { by, reason })],
  }
}

export interface Assign {
  readonly agent: PersonSummary
  /** Of the place reserved for this very write. */
  readonly placeToken: string
  readonly reason: Extract<AssignmentReason, 'least-busy' | 'claimed' | 'reassigned'>
  readonly note: string | null
  /** A person's id, or `system`. */
  readonly by: string
}

/** Assigns a waiting conversation, or an open one anew. @throws AppError CONVERSATION_CLOSED, ILLEGAL_TRANSITION (resolved) */
export function assign(conversation: Conversation, { agent, placeToken, reason, note, by }: Assign, now: Instant): Decision {
  refuseEnded(conversation)
  const from = conversation.assigned?.person ?? null
  if (from?.id === agent.id && conversation.status === 'open') return nothing(conversation)
  return {
    after: { ...conversation, assigned: { person: agent, placeToken, at: now }, status: 'open', waitingSince: null },
    facts: [
      { type: 'conversation.assigned', from, to: agent, reason, note, by },
      ...(conversation.status === 'open' ? [] : [statusChanged(conversation.status, 'open', { by, reason: null })]),
    ],
  }
}

/** An agent takes a waiting conversation; whoever comes second is told. @throws AppError CONVERSATION_CLOSED, ALREADY_ASSIGNED */
export function claim(conversation: Conversation, claimed: Omit<Assign, 'reason' | 'by' | 'note'>, now: Instant): Decision {
  refuseClosed(conversation)
  if (conversation.status !== 'waiting') throw new AppError('ALREADY_ASSIGNED', 'Another agent has this conversation already')
  return assign(conversation, { ...claimed, reason: 'claimed', note: null, by: claimed.agent.id }, now)
}

export interface Release {
  readonly reason: Extract<AssignmentReason, 'released-by-admin' | 'released-by-agent' | 'agent-gone' | 'empty'>
  readonly note: string | null
  readonly by: string
  /** False: it stands in no queue until its next message (an empty one). */
  readonly queued: boolean
}

/** Puts an open conversation back. One that waits already is left as it is. @throws AppError CONVERSATION_CLOSED, ILLEGAL_TRANSITION (resolved) */
export function release(conversation: Conversation, { reason, note, by, queued }: Release, now: Instant): Decision {
  refuseEnded(conversation)
  if (conversation.status === 'waiting') return nothing(conversation)
  const from = conversation.assigned?.person ?? null
  return {
    after: {
      ...conversation,
      assigned: null,
      status: 'waiting',
      // A farmer who waits for an answer doesn't begin anew.
      waitingSince: queued ? (conversation.unansweredSince ?? now) : null,
      // Who is gone, or had an empty one, didn't choose to give it back.
      givenBack: from && reason.startsWith('released-') ? remembered(conversation, from.id, now) : conversation.givenBack,
    },
    facts: [
      { type: 'conversation.assigned', from, to: null, reason, note, by },
      statusChanged(conversation.status, 'waiting', { by, reason: null }),
    ],
  }
}

/** A resolved conversation, woken by its farmer's message: back to its agent where `placeToken` holds a place there, else to the queue. */
export function reopen(conversation: Conversation, placeToken: string | null, now: Instant): Decision {
  const by = conversation.farmer.id
  const from = conversation.assigned?.person ?? null
  const assigned: Assigned | null = from && placeToken !== null ? { person: from, placeToken, at: now } : null
  const to: Status = assigned ? 'open' : 'waiting'
  const facts: Fact[] = [
    ...(from
      ? [{ type: 'conversation.assigned' as const, from, to: assigned?.person ?? null, reason: 'reopened' as const, note: null, by }]
      : []),
    { ...statusChanged(conversation.status, to, { by, reason: null }), reopened: true },
  ]
  return { after: { ...conversation, assigned, status: to, waitingSince: assigned ? null : now, resolvedAt: null }, facts }
}

function refuseClosed(conversation: Conversation): void {
  if (conversation.status === 'closed') throw new AppError('CONVERSATION_CLOSED', 'The conversation is closed')
}

function refuseEnded(conversation: Conversation): void {
  refuseClosed(conversation)
  if (conversation.status === 'resolved') {
    throw new AppError('ILLEGAL_TRANSITION', 'A resolved conversation is reopened by a message of its farmer only')
  }
}

function remembered({ givenBack }: Conversation, personId: PersonId, at: Instant): Conversation['givenBack'] {
  return [...givenBack.filter((one) => one.personId !== personId), { personId, at }].slice(-keptGivenBack)
}

function statusChanged(from: Status, to: Status, { by, reason }: { by: string; reason: string | null }) {
  return { type: 'conversation.status-changed' as const, from, to, reason, by, reopened: false }
}
