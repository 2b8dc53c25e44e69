// Socket doors of messages: send and read up to. The first room of a message's path.
import { AppError } from '@fieldline/contracts/errors'
import type { ConversationId } from '@fieldline/contracts/ids'
import { newId } from '@fieldline/service/ids'
import type { Conversations } from './conversation.client.ts'
import { type Doors, SendFailed } from './door.ts'
import type { Rooms } from './rooms.ts'
import type { Session } from './session.ts'
import type { Takeover } from './takeover.ts'
import type { Typing } from './typing.ts'

export interface MessageDoorDeps {
  readonly rooms: Rooms
  readonly typing: Typing
  readonly conversations: Conversations
  readonly takeover: Takeover
}

const mostWaitingSends = 100

export function messageDoors({ rooms, typing, conversations, takeover }: MessageDoorDeps) {
  return {
    'message:send': async (session, command) => {
      session.want(command.conversationId)
      const clientMessageId = command.clientMessageId ?? newId()
      typing.sending(session, command.conversationId, clientMessageId)
      return oneAtATime(session, command.conversationId, async () => {
        // A message committed while its sender's join is read would be in what the join found, and not be told.
        await rooms.entering(session, command.conversationId)
        const follows = session.joined.has(command.conversationId) || (await takeover.before(session, command.conversationId))
        try {
          const message = await conversations.send(session.token, { ...command, clientMessageId })
          const { _id: messageId, conversationId, seq, createdAt: timestamp } = message
          const sent = { messageId, timestamp, conversationId, seq, clientMessageId }
          session.emit('message:sent', sent)
          // Where it landed: a message to a closed conversation is in the farmer's current one.
          if (conversationId !== command.conversationId && session.wants(command.conversationId)) session.want(conversationId)
          // Whose rooms are full hears at least what it says itself.
          if (!rooms.hasRoomFor(session, conversationId)) session.emit('message:new', { message, conversationId })
          if (follows || conversationId !== command.conversationId) void rooms.follow(session, conversationId, { seq: seq - 1 })
          else takeover.after(session, conversationId, seq - 1)
          return sent
        } catch (error) {
          throw error instanceof AppError ? new SendFailed(error, clientMessageId) : error
        }
      })
    },
    'message:read': async (session, { messageId, conversationId }) => {
      await conversations.markRead(session.token, conversationId, messageId)
    },
  } satisfies Partial<Doors>
}

/** What one socket sends into one conversation keeps its order: one in flight, the others wait. */
async function oneAtATime<T>(session: Session, id: ConversationId, work: () => Promise<T>): Promise<T> {
  session.sends ??= new Map()
  const { sends } = session
  const line = sends.get(id) ?? { tail: Promise.resolve(), waiting: 0 }
  if (line.waiting >= mostWaitingSends) throw new AppError('RATE_LIMITED', 'Too many messages wait to be sent')
  sends.set(id, line)
  line.waiting += 1
  const turn = line.tail.then(work)
  line.tail = turn.catch(() => undefined)
  try {
    return await turn
  } finally {
    line.waiting -= 1
    if (line.waiting === 0) sends.delete(id)
  }
}
