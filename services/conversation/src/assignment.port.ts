// What the core of conversation asks of assignment. Implemented in assignment/; the only way from here to there.
import type { ConversationId, PersonId } from '@fieldline/contracts/ids'
import type { Conversation } from './conversations/conversation.ts'

export interface Assignment {
  /** A drain pass of the queue begun after this call has ended, or a second has gone by. Never rejects: what was missed, the sweeper finds. */
  drained(): Promise<void>
  /** Something may be to hand out: starts a pass, waits for nothing. */
  kick(): void
  /** A place with the former agent of a conversation to be reopened (online, available, room); its token, else null. */
  reserve(agentId: PersonId, conversationId: ConversationId): Promise<string | null>
  /** Gives back a place that a write no longer holds. Never rejects. */
  release(agentId: PersonId, placeToken: string): Promise<void>
  /** Gives back a place that was reserved for a write that did not get in. Never rejects. */
  cancel(agentId: PersonId, placeToken: string): Promise<void>
  /** A farmer wrote in an open conversation: if its agent is gone, it goes back to the queue. Waits for nothing. */
  farmerWrote(conversation: Conversation): void
}
