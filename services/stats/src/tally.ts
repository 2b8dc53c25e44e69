// What an event means for the figures (spec 7). Pure: (head, entry) → the next head and the facts it makes. No I/O, no clock.
//
// Definitions, in one place:
// - Response clock: starts at the farmer's first unanswered message, whether anybody is assigned or not; stops at the next message of the support
//   side (Support or Admin), to whose sender the reply is credited. A reassignment neither stops nor restarts it.
// - First response: the first reply after the creation, and after each reopening. Every reply, the first too, is a reply time.
// - What was unanswered when a conversation was resolved or closed stays so: its clock is dropped. A reopening message starts a new one.
// - Waiting time: from `waitingSince` to the assignment that ends it, credited to the agent who was assigned. A wait that ends by closing is no sample.
// - Resolution time: from the creation, or the last reopening, to `resolved`; credited to the agent who held the conversation then.
// - Reopened: credited to the agent whose resolution it undoes. Closed: to who resolved it, or held it.
// - Created counts for an agent as the conversations created then whose first agent it became.
import type { Status } from '@fieldline/contracts/conversations'
import type { MediaType } from '@fieldline/contracts/media'
import type { Role } from '@fieldline/contracts/people'
import type { Entry } from './entries.ts'

/** Where a conversation stands after its first `eventNo` events. Times in ms since 1970. */
export interface Head {
  conversationId: string
  eventNo: number
  status: Status
  /** Who holds it, or held it last when it was resolved or closed; null while it waits. */
  agentId: string | null
  /** Since when it is in the queue. */
  waitingSince: number | null
  createdAt: number
  /** Its creation or its last reopening. */
  startedAt: number
  unansweredSince: number | null
  /** The first response since `startedAt` was given. */
  answered: boolean
  /** Its first agent was counted. */
  received: boolean
  resolvedBy: string | null
}

export const factKinds = ['created', 'received', 'wait', 'message', 'resolved', 'reopened', 'closed', 'media'] as const
export type FactKind = (typeof factKinds)[number]

/** One countable fact, never changed once made; its key is (conversationId, eventNo, kind). */
export interface Fact {
  /** Of `media`: the file's id, with `eventNo` 0. */
  conversationId: string
  eventNo: number
  kind: FactKind
  /** ms since 1970. */
  at: number
  /** To whom it is credited; a message's sender where that is an agent, a file's uploader. */
  agentId: string | null
  /** Whose conversation a message belongs to. */
  holderId: string | null
  /** A message's sender's role, a file's type, what a closed conversation was before. */
  detail: Role | MediaType | Status | null
  /** The wait, the reply time of a message that answers, the resolution time. */
  ms: number | null
  /** The reply is a first response. */
  first: boolean
}

/** The entry isn't the one that follows this head: a fault of the caller, or of the log. */
export class OutOfOrder extends Error {
  override readonly name = 'OutOfOrder'
}

/** Moves a conversation's head over its next entry. @throws OutOfOrder unless it is the next one */
export function tally(before: Head | null, entry: Entry): { head: Head; facts: Fact[] } {
  const expected = (before?.eventNo ?? 0) + 1
  if (entry.eventNo !== expected) throw new OutOfOrder(`event ${entry.eventNo} of ${entry.conversationId} where ${expected} is next`)
  const facts: Fact[] = []
  const note = (fact: Partial<Fact> & Pick<Fact, 'kind'>) => {
    facts.push({ ...blank, conversationId: entry.conversationId, eventNo: entry.eventNo, at: entry.at, ...fact })
  }
  if (entry.type === 'created') {
    note({ kind: 'created' })
    if (entry.assignedId !== null) note({ kind: 'received', agentId: entry.assignedId })
    return { head: newHead(entry), facts }
  }
  if (before === null) throw new OutOfOrder(`${entry.conversationId} begins with ${entry.type}`)
  const head: Head = { ...before, eventNo: entry.eventNo }
  switch (entry.type) {
    case 'assigned':
      if (entry.toId !== null && head.waitingSince !== null) {
        note({ kind: 'wait', agentId: entry.toId, ms: span(head.waitingSince, entry.at) })
      }
      if (entry.toId !== null && !head.received) note({ kind: 'received', agentId: entry.toId, at: head.createdAt })
      head.received ||= entry.toId !== null
      // Its place is given back at the end, but it stays the work of who held it.
      head.agentId = entry.toId ?? (entry.ended ? head.agentId : null)
      head.waitingSince = entry.waitingSince
      break
    case 'status':
      changeStatus(head, entry, note)
      break
    case 'message':
      addMessage(head, entry, note)
      break
    case 'read':
      break
  }
  return { head, facts }
}

/** The fact of an uploaded file. */
export function mediaFact(upload: { mediaId: string; type: MediaType; ownerId: string; at: number }): Fact {
  return { ...blank, conversationId: upload.mediaId, kind: 'media', at: upload.at, agentId: upload.ownerId, detail: upload.type }
}

const blank = { conversationId: '', eventNo: 0, at: 0, agentId: null, holderId: null, detail: null, ms: null, first: false }

type Note = (fact: Partial<Fact> & Pick<Fact, 'kind'>) => void

function newHead(entry: Extract<Entry, { type: 'created' }>): Head {
  return {
    conversationId: entry.conversationId,
    eventNo: entry.eventNo,
    status: entry.status,
    agentId: entry.assignedId,
    waitingSince: entry.waitingSince,
    createdAt: entry.at,
    startedAt: entry.at,
    unansweredSince: null,
    answered: false,
    received: entry.assignedId !== null,
    resolvedBy: null,
  }
}

function changeStatus(head: Head, { from, to, reopened, at, waitingSince }: Extract<Entry, { type: 'status' }>, note: Note): void {
  if (to === 'resolved') {
    note({ kind: 'resolved', agentId: head.agentId, ms: span(head.startedAt, at) })
    head.resolvedBy = head.agentId
  }
  if (reopened) {
    note({ kind: 'reopened', agentId: head.resolvedBy })
    head.startedAt = at
    head.answered = false
  }
  if (to === 'closed') note({ kind: 'closed', agentId: from === 'resolved' ? head.resolvedBy : head.agentId, detail: from })
  if (to === 'resolved' || to === 'closed') head.unansweredSince = null
  if (to === 'waiting') head.agentId = null
  head.status = to
  head.waitingSince = to === 'waiting' ? waitingSince : null
}

function addMessage(head: Head, { senderId, role, assignedId, status, at }: Extract<Entry, { type: 'message' }>, note: Note): void {
  const ended = status === 'resolved' || status === 'closed'
  const holderId = assignedId ?? (ended ? head.agentId : null)
  // One that was emptied out of the queue is back in it with its first message.
  if (head.status === 'waiting' && status === 'waiting') head.waitingSince ??= at
  if (role === 'User') {
    note({ kind: 'message', holderId, detail: role })
    head.unansweredSince ??= at
    return
  }
  const answers = head.unansweredSince !== null
  const first = answers && !head.answered
  note({ kind: 'message', agentId: senderId, holderId, detail: role, first, ms: answers ? span(head.unansweredSince, at) : null })
  head.answered ||= answers
  head.unansweredSince = null
}

/** Clocks of two machines differ a little: never below 0. */
function span(from: number | null, to: number): number {
  return Math.max(0, to - (from ?? to))
}
