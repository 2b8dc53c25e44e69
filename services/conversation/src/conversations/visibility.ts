// Who may see, answer and manage a conversation: the one rule behind reads, lists, totals, joins and events (spec 2). Pure.
import type { PersonId } from '@fieldline/contracts/ids'
import type { Person } from '@fieldline/contracts/people'
import type { Conversation } from './conversation.ts'

/** Who asks, with the role that counts (a newer token may have lowered the token's own). */
export type Viewer = Pick<Person, 'id' | 'role'>
/** `SUPPORT_SEES`: `all`: every agent reads every conversation. */
export type SupportSees = 'own' | 'all'

type Seen = Pick<Conversation, 'farmer' | 'assigned' | 'status'>

/**
 * The farmer, the assigned agent, an admin; every agent while it waits (or where agents see all). `currentAgent` is who is assigned to the same farmer's
 * current conversation: that agent reads the earlier ones too. Asked only where the rest doesn't let the viewer in.
 */
export function mayRead(conversation: Seen, viewer: Viewer, sees: SupportSees, currentAgent?: PersonId | null): boolean {
  if (viewer.role === 'Admin' || isParty(conversation, viewer)) return true
  if (viewer.role !== 'Support') return false
  return sees === 'all' || conversation.status === 'waiting' || currentAgent === viewer.id
}

/** The farmer, the assigned agent, an admin. */
export function mayWrite(conversation: Seen, viewer: Viewer): boolean {
  return viewer.role === 'Admin' || isParty(conversation, viewer)
}

/** The assigned agent or an admin. */
export function mayManage(conversation: Seen, viewer: Viewer): boolean {
  return viewer.role === 'Admin' || isOwnAgent(conversation, viewer)
}

export function isFarmer({ farmer }: Seen, viewer: Viewer): boolean {
  return farmer.id === viewer.id
}

/** Assigned, and still an agent. */
export function isOwnAgent({ assigned }: Seen, viewer: Viewer): boolean {
  return viewer.role === 'Support' && assigned?.person.id === viewer.id
}

function isParty(conversation: Seen, viewer: Viewer): boolean {
  return isFarmer(conversation, viewer) || isOwnAgent(conversation, viewer)
}

/** What a list shows: the same rule as a filter. Stores turn it into a query. */
export type Scope =
  | { readonly kind: 'farmer'; readonly id: PersonId }
  | { readonly kind: 'agent'; readonly id: PersonId }
  /** An agent's own and the queue. */
  | { readonly kind: 'desk'; readonly id: PersonId }
  | { readonly kind: 'all' }

/** `GET /conversations`: mine. */
export function ownScope(viewer: Viewer): Scope {
  return viewer.role === 'User' ? { kind: 'farmer', id: viewer.id } : { kind: 'agent', id: viewer.id }
}

/** `GET /support/conversations`. */
export function supportScope(viewer: Viewer, sees: SupportSees): Scope {
  return viewer.role === 'Admin' || sees === 'all' ? { kind: 'all' } : { kind: 'desk', id: viewer.id }
}
