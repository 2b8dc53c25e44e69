// Who may hear a conversation, as far as its state tells (spec 2, "May read"). Conversation decides at every join and send; this puts out in between. Pure.
import type { ConversationState, Status } from '@fieldline/contracts/conversations'
import type { Person } from '@fieldline/contracts/people'

/** What of a conversation decides about rights. */
export interface Parties {
  readonly farmerId: string
  readonly assignedId: string | null
  readonly status: Status
}

export function partiesOf(state: ConversationState): Parties {
  return { farmerId: state.farmer.id, assignedId: state.assigned?.id ?? null, status: state.status }
}

export function mayRead(parties: Parties, person: Pick<Person, 'id' | 'role'>, supportSees: 'own' | 'all'): boolean {
  if (person.role === 'Admin') return true
  if (person.role === 'User') return parties.farmerId === person.id
  return parties.assignedId === person.id || parties.status === 'waiting' || supportSees === 'all'
}

/** The farmer and the assigned agent. */
export function isParticipant(parties: Parties, personId: string): boolean {
  return parties.farmerId === personId || parties.assignedId === personId
}

/** The state for somebody whose lists it leaves: nothing of what was said, nobody's counters. */
export function withoutContent(state: ConversationState): ConversationState {
  return { ...state, lastMessage: null, unread: [], farmer: { ...state.farmer, phone: null } }
}
