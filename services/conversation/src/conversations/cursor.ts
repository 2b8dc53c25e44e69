// The cursor of lists, opaque to clients: the order, where in it to go on, and when the page it began from was read. Pure.
import { invalid } from '@fieldline/service/parse'
import { z } from 'zod'
import type { ListOrder, ListPosition } from './conversation.store.ts'

const text = z.string().max(64)
const Cursor = z.tuple([z.enum(['activity', 'waitingSince']), text, text, text])

export interface ListCursor {
  readonly position: ListPosition
  /** The newest activity of the list when the page was read that the cursor began from: what moved since is above it. */
  readonly asOf: string
}

export function cursorOf(order: ListOrder, { position, asOf }: ListCursor): string {
  return Buffer.from(JSON.stringify([order, position.key, position.id, asOf])).toString('base64url')
}

/** @throws AppError VALIDATION_FAILED for one of another order, or none of ours */
export function readCursor(cursor: string, order: ListOrder): ListCursor {
  try {
    const [ordered, key, id, asOf] = Cursor.parse(JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8')))
    if (ordered === order) return { position: { key, id }, asOf }
  } catch {
    // Refused below, like one of another order.
  }
  throw invalid([{ field: 'cursor', message: 'is not a cursor of this list' }])
}
