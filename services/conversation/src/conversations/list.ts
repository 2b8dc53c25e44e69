// Lists of conversations: which parts a list is made of, and how parts become one page. Pure; stores turn a part into a query.
import { type Status, statuses } from '@fieldline/contracts/conversations'
import type { PersonId } from '@fieldline/contracts/ids'
import type { ListFilter, ListOrder, ListPosition } from './conversation.store.ts'
import type { Conversation } from './conversation.ts'

/** A part of a list that one index answers: no conversation is in two parts. */
export interface Part {
  readonly farmerId?: PersonId
  /** null: nobody. */
  readonly assignedId?: PersonId | null
  readonly status: Status
  /** Only what stands in the queue: an empty conversation that was given back doesn't. */
  readonly queued?: true
}

/** Sorts behind every instant. */
export const notWaiting = '~'

export function partsOf({ scope, status, assignedTo }: ListFilter): Part[] {
  const wanted = status === undefined ? statuses : [status]
  const assigned = assignedTo === undefined ? {} : { assignedId: assignedTo }
  if (scope.kind === 'all') return wanted.map((one) => ({ status: one, ...assigned }))
  if (scope.kind === 'farmer') return wanted.map((one) => ({ status: one, farmerId: scope.id, ...assigned }))
  const own: Part[] =
    assignedTo === undefined || assignedTo === scope.id ? wanted.map((one) => ({ status: one, assignedId: scope.id })) : []
  if (scope.kind === 'agent') return own
  const queue = (assignedTo === undefined || assignedTo === null) && wanted.includes('waiting')
  return [...own.filter((part) => part.status !== 'waiting'), ...(queue ? [{ status: 'waiting' as const, queued: true as const }] : [])]
}

export function positionOf(conversation: Conversation, order: ListOrder): ListPosition {
  return { key: sortKey(conversation, order), id: conversation.id }
}

export function sortKey({ activityAt, waitingSince }: Conversation, order: ListOrder): string {
  return order === 'activity' ? activityAt : (waitingSince ?? notWaiting)
}

/** The positions of parts as those of the whole list. */
export function sorted<Positioned extends ListPosition>(parts: readonly (readonly Positioned[])[], order: ListOrder): Positioned[] {
  const sign = order === 'activity' ? -1 : 1
  const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)
  return parts.flat().sort((a, b) => sign * (compare(a.key, b.key) || compare(a.id, b.id)))
}

/** Parts, each sorted, as one page. */
export function merged(parts: readonly (readonly Conversation[])[], order: ListOrder, limit: number): Conversation[] {
  const placed = parts.map((part) => part.map((conversation) => ({ conversation, ...positionOf(conversation, order) })))
  return sorted(placed, order)
    .slice(0, limit)
    .map(({ conversation }) => conversation)
}
