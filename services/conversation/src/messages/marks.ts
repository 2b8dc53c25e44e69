// Read state: a mark a side, its last steps, and what derives from them (spec 4). Pure: no I/O, no clock of its own.
import { AppError } from '@fieldline/contracts/errors'
import type { Message } from '@fieldline/contracts/messages'
import type { PersonSummary } from '@fieldline/contracts/people'
import { type Conversation, type Decision, type Instant, nothing, type Side, type SideMark, sideOf } from '../conversations/conversation.ts'
import { isFarmer, isOwnAgent, mayRead } from '../conversations/visibility.ts'

export const keptSteps = 20
/** A receipt names at most this many messages. */
export const receiptLimit = 50

export interface Read {
  readonly reader: PersonSummary
  /** The message up to which it is read, and how many up to it are the farmer's. */
  readonly upTo: { readonly seq: number; readonly farmerMessages: number }
  /** The newest of the other side that the mark newly covers, oldest first, at most `receiptLimit`. */
  readonly covered: readonly { readonly id: string; readonly seq: number }[]
}

/** Which side's mark this person moves; null for an admin, whose reading moves none. @throws AppError FORBIDDEN */
export function readingSide(conversation: Conversation, reader: Pick<PersonSummary, 'id' | 'role'>): Side | null {
  if (isFarmer(conversation, reader)) return 'farmer'
  if (isOwnAgent(conversation, reader)) return 'support'
  if (reader.role === 'Admin' && mayRead(conversation, reader, 'own')) return null
  throw new AppError('FORBIDDEN', 'This is not your conversation')
}

/** Moves the reader's mark forward; what it covers already is no event. @throws AppError FORBIDDEN */
export function read(conversation: Conversation, { reader, upTo, covered }: Read, now: Instant): Decision {
  const side = readingSide(conversation, reader)
  if (side === null || upTo.seq <= conversation.marks[side].seq) return nothing(conversation)
  const mark = conversation.marks[side]
  const moved: SideMark = { seq: upTo.seq, steps: [...mark.steps, { seq: upTo.seq, at: now }].slice(-keptSteps) }
  const left =
    side === 'support'
      ? conversation.farmerMessages - upTo.farmerMessages
      : conversation.lastSeq - upTo.seq - (conversation.farmerMessages - upTo.farmerMessages)
  const { id, role, firstName, lastName } = reader
  return {
    after: { ...conversation, marks: { ...conversation.marks, [side]: moved }, unread: { ...conversation.unread, [side]: left } },
    facts: [
      {
        type: 'conversation.read',
        reader: { id, role, firstName, lastName },
        side,
        fromSeq: mark.seq,
        upToSeq: upTo.seq,
        readAt: now,
        messages: [...covered],
      },
    ],
  }
}

/** When the other side read a message; null while it hasn't. Of a message older than the kept steps: the oldest of them, so at the latest then. */
export function readOf({ farmer, marks }: Conversation, message: Pick<Message, 'seq' | 'sender'>): { at: Instant } | null {
  const mark = marks[sideOf({ farmer }, message.sender.id) === 'farmer' ? 'support' : 'farmer']
  if (message.seq > mark.seq) return null
  const step = mark.steps.find(({ seq }) => seq >= message.seq)
  return step ? { at: step.at } : null
}
