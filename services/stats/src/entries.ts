// What a statistic needs of an event, and nothing else: small enough to be kept while it waits for those before it. Pure.
import type { Status } from '@fieldline/contracts/conversations'
import type { ConversationEvent } from '@fieldline/contracts/events'
import type { PersonSummary, Role } from '@fieldline/contracts/people'

/** Somebody of the support side as an event named them; `at` in ms since 1970. */
export interface NamedAgent {
  id: string
  role: Role
  firstName: string
  lastName: string
  at: number
}

interface OfConversation {
  conversationId: string
  eventNo: number
  /** When it happened, ms since 1970: a message's and a conversation's `createdAt`, else the event's `time`. */
  at: number
  agents: NamedAgent[]
}

/** `waitingSince` (ms) and `status` are the conversation's after the whole command the event belongs to. */
export type Entry = OfConversation &
  (
    | { type: 'created'; status: Status; assignedId: string | null; waitingSince: number | null }
    | { type: 'assigned'; toId: string | null; ended: boolean; waitingSince: number | null }
    | { type: 'status'; from: Status; to: Status; reopened: boolean; waitingSince: number | null }
    | { type: 'message'; senderId: string; role: Role; assignedId: string | null; status: Status }
    | { type: 'read' }
  )

/** Reduces an event of a conversation to its entry. */
export function entryOf(event: ConversationEvent): Entry {
  const at = ms(event.time)
  const common = { conversationId: event.conversationid, eventNo: event.eventno, at, agents: [] }
  switch (event.type) {
    case 'conversation.created': {
      const { status, assigned, waitingSince, createdAt } = event.data.conversation
      return {
        ...common,
        type: 'created',
        at: ms(createdAt),
        status,
        assignedId: assigned?.id ?? null,
        waitingSince: msOrNull(waitingSince),
        agents: named(assigned, at),
      }
    }
    case 'conversation.assigned': {
      const { to, reason, conversation } = event.data
      const ended = reason === 'resolved' || reason === 'closed'
      const waitingSince = msOrNull(conversation.waitingSince)
      return { ...common, type: 'assigned', toId: to?.id ?? null, ended, waitingSince, agents: named(to, at) }
    }
    case 'conversation.status-changed': {
      const { from, to, reopened, conversation } = event.data
      return { ...common, type: 'status', from, to, reopened, waitingSince: msOrNull(conversation.waitingSince) }
    }
    case 'message.created': {
      const { message, assignedId, status } = event.data
      const { id: senderId, role } = message.sender
      const createdAt = ms(message.createdAt)
      const agents = role === 'User' ? [] : named(message.sender, createdAt)
      return { ...common, type: 'message', at: createdAt, senderId, role, assignedId, status, agents }
    }
    case 'conversation.read':
      return { ...common, type: 'read' }
  }
}

function named(person: Omit<PersonSummary, 'phone'> | null, at: number): NamedAgent[] {
  return person ? [{ id: person.id, role: person.role, firstName: person.firstName, lastName: person.lastName, at }] : []
}

function ms(iso: string): number {
  return Date.parse(iso)
}

function msOrNull(iso: string | null): number | null {
  return iso === null ? null : Date.parse(iso)
}
