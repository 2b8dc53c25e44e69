// What media asks conversation: who may read a file, and whether a message that reserved one exists.
import { AppError } from '@fieldline/contracts/errors'
import { Access, Committed } from '@fieldline/contracts/internal'
import type { Person } from '@fieldline/contracts/people'
import type { Peer } from '@fieldline/service/peer'

export interface Conversations {
  /** May this person read the conversation? False for one that doesn't exist. @throws AppError UNAVAILABLE */
  mayRead(conversationId: string, person: Person): Promise<boolean>
  /** Which of these messages (at most 500) exist. @throws AppError UNAVAILABLE */
  committed(messages: readonly { messageId: string; conversationId: string }[]): Promise<Set<string>>
}

export function askConversation(peer: Pick<Peer, 'call'>): Conversations {
  return {
    async mayRead(conversationId, { id: personId, role, iat }) {
      try {
        const path = `/internal/conversations/${conversationId}/access`
        const { body } = await peer.call({ method: 'GET', path, query: { personId, role, iat: Math.floor(iat) }, schema: Access })
        return body.mayRead
      } catch (error) {
        if (error instanceof AppError && error.status === 404) return false
        throw error
      }
    },
    async committed(messages) {
      const call = {
        method: 'POST' as const,
        path: '/internal/messages/committed',
        body: { messages },
        schema: Committed,
        idempotent: true,
      }
      const { body } = await peer.call(call)
      return new Set(body.messageIds)
    },
  }
}
