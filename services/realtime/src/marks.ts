// What read marks say of one message: read by the other side or not, and since when (spec 4). Pure.
import type { Mark } from '@fieldline/contracts/conversations'
import type { Message } from '@fieldline/contracts/messages'

/** Null while the other side's mark does not cover the message. */
export function readOf(message: Pick<Message, 'seq' | 'sender'>, marks: readonly Mark[], farmerId: string): { at: string } | null {
  const otherSide = message.sender.id === farmerId ? 'support' : 'farmer'
  let earliest: string | null = null
  for (const mark of marks) {
    if (mark.side !== otherSide || mark.seq < message.seq) continue
    const at = mark.steps.find((step) => step.seq >= message.seq)?.at
    if (at !== undefined && (earliest === null || at < earliest)) earliest = at
  }
  return earliest === null ? null : { at: earliest }
}

/** How far each side has read. */
export function readUpTo(marks: readonly Mark[]): { farmer: number; support: number } {
  const upTo = { farmer: 0, support: 0 }
  for (const mark of marks) upTo[mark.side] = Math.max(upTo[mark.side], mark.seq)
  return upTo
}
