// Socket doors of conversations: join, leave, read everything.

import type { Conversations } from './conversation.client.ts'
import type { Doors } from './door.ts'
import type { Rooms } from './rooms.ts'
import type { Typing } from './typing.ts'

export interface ConversationDoorDeps {
  readonly rooms: Rooms
  readonly typing: Typing
  readonly conversations: Conversations
}

export function conversationDoors({ rooms, typing, conversations }: ConversationDoorDeps) {
  return {
    'conversation:join': async (session, { conversationId, afterSeq }) => {
      session.settled = true
      return rooms.join(session, conversationId, afterSeq)
    },
    'conversation:leave': (session, { conversationId }) => {
      typing.stop(session, conversationId)
      if (conversationId === undefined) rooms.leaveAll(session)
      else rooms.leave(session, conversationId)
    },
    'conversation:mark-all-read': async (session, { conversationId }) => {
      await conversations.markRead(session.token, conversationId)
    },
  } satisfies Partial<Doors>
}
