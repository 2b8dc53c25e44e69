// One page of a list that moves while it is read: with a cursor, a page shows the list in the order it had when the page it began from was read.
import type { ConversationStore, ListFilter, ListOrder, ListPosition } from './conversation.store.ts'
import type { Conversation } from './conversation.ts'
import { cursorOf, type ListCursor, readCursor } from './cursor.ts'
import { positionOf, sortKey } from './list.ts'

export interface Asked {
  readonly page?: number | undefined
  readonly limit: number
  readonly cursor?: string | undefined
}

export interface Page {
  readonly conversations: Conversation[]
  /** Where to go on; null at the end. */
  readonly next: string | null
}

type Listed = Pick<ConversationStore, 'list' | 'nth' | 'messages'>
interface Placed {
  readonly conversation: Conversation
  readonly position: ListPosition
}

/** Conversations that got a message since the first page was read are looked at one by one; more than so many show up again only in a new list. */
const mostMoved = 200
const messagesAtOnce = 50

/** @param total how many the list has: a page beyond is empty at no cost. @throws AppError VALIDATION_FAILED for a cursor that isn't one of this list */
export async function listPage(
  store: Listed,
  filter: ListFilter,
  order: ListOrder,
  { page = 1, limit, cursor }: Asked,
  total: number,
): Promise<Page> {
  if (cursor !== undefined) return pageAfter(readCursor(cursor, order))
  const offset = (page - 1) * limit
  if (offset >= total) return { conversations: [], next: null }
  // Read first: whoever rises from now on is told from who was above the page already.
  const [top] = offset === 0 ? [] : await store.list(filter, order, { limit: 1 })
  const before = offset === 0 ? undefined : await store.nth(filter, order, offset)
  // Shorter than its total said.
  if (before === null) return { conversations: [], next: null }
  const found = (await store.list(filter, order, { limit: limit + 1, after: before })).map((conversation) => ({
    conversation,
    position: positionOf(conversation, order),
  }))
  return cut(found, top ? sortKey(top, order) : (found[0]?.position.key ?? ''))

  async function pageAfter({ position, asOf }: ListCursor): Promise<Page> {
    const stayed = (await store.list(filter, order, { limit: limit + 1, after: position })).map((conversation) => ({
      conversation,
      position: positionOf(conversation, order),
    }))
    const moved = order === 'activity' ? await movedFromBelow(position, asOf) : []
    const all = [...stayed, ...moved].sort((a, b) => (isBelow(a.position, b.position) ? 1 : -1))
    return cut(order === 'activity' ? all : stayed, asOf)
  }

  /** Those that went up since: they'd have come below `position`, and nobody has seen them yet. */
  async function movedFromBelow(position: ListPosition, asOf: string): Promise<Placed[]> {
    const risen = await store.list(filter, 'activity', { limit: mostMoved, above: asOf })
    const placed = await Promise.all(
      risen
        .filter(({ createdAt }) => createdAt <= asOf)
        .map(async (conversation) => ({ conversation, position: await positionAt(conversation, asOf) })),
    )
    return placed.filter((one) => isBelow(one.position, position))
  }

  async function positionAt({ id, lastSeq, createdAt }: Conversation, asOf: string): Promise<ListPosition> {
    for (let to = lastSeq; to > 0; to -= messagesAtOnce) {
      const entries = await store.messages(id, Math.max(to - messagesAtOnce + 1, 1), to)
      const then = entries.findLast(({ event }) => event.time <= asOf)
      if (then) return { key: then.event.time, id }
    }
    return { key: createdAt, id }
  }

  function cut(found: readonly Placed[], asOf: string): Page {
    const shown = found.slice(0, limit)
    const last = shown.at(-1)
    const next = found.length > limit && last ? cursorOf(order, { position: last.position, asOf }) : null
    return { conversations: shown.map(({ conversation }) => conversation), next }
  }
}

/** In the order of activity, newest first. */
function isBelow(a: ListPosition, b: ListPosition): boolean {
  return a.key < b.key || (a.key === b.key && a.id < b.id)
}
