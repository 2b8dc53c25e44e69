// When a conversation leaves an agent, or the queue, without anybody asking (spec 3). Pure: no I/O, no clock of its own.
import { type Conversation, type Decision, type Instant, nothing } from '../conversations/conversation.ts'
import { release } from '../conversations/lifecycle.ts'

/** An agent and the token of the place that a decision was made about: another assignment, even to the same agent, is another matter. */
export interface HeldBy {
  readonly agentId: string
  readonly token: string
}

/** The last word is the farmer's. */
export function awaitsAnswer({ status, lastMessage, farmer }: Conversation): boolean {
  return status === 'open' && lastMessage?.senderId === farmer.id
}

/** Gives back what awaits an answer of an agent who is gone; of somebody who is no agent any more, `whatever` is still open. */
export function giveBack(conversation: Conversation, { agentId, token }: HeldBy, whatever: boolean, now: Instant): Decision {
  const { assigned, status } = conversation
  if (status !== 'open' || assigned?.person.id !== agentId || assigned.placeToken !== token) return nothing(conversation)
  if (!whatever && !awaitsAnswer(conversation)) return nothing(conversation)
  return release(conversation, { reason: 'agent-gone', note: null, by: 'system', queued: conversation.lastSeq > 0 }, now)
}

/** An empty conversation holds no place, and stands in no queue, longer than since `before`. Its first message puts it back in the queue. */
export function releaseEmpty(conversation: Conversation, before: Instant, now: Instant): Decision {
  const { status, lastSeq, assigned, waitingSince } = conversation
  if (lastSeq > 0) return nothing(conversation)
  if (status === 'open' && assigned && assigned.at < before)
    return release(conversation, { reason: 'empty', note: null, by: 'system', queued: false }, now)
  if (status !== 'waiting' || waitingSince === null || waitingSince >= before) return nothing(conversation)
  return {
    after: { ...conversation, waitingSince: null },
    facts: [{ type: 'conversation.assigned', from: null, to: null, reason: 'empty', note: null, by: 'system' }],
  }
}
