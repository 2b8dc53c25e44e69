// Saying something in a conversation, and what stands behind a sender's key (spec 4). Pure: no I/O, no clock of its own.
import { AppError } from '@fieldline/contracts/errors'
import type { MessageCreated } from '@fieldline/contracts/events'
import type { ConversationId, MessageId } from '@fieldline/contracts/ids'
import type { MediaSummary } from '@fieldline/contracts/media'
import type { Message, MessageType } from '@fieldline/contracts/messages'
import type { Person } from '@fieldline/contracts/people'
import { type Conversation, type Decision, type Entry, type Instant, nothing, sideOf } from '../conversations/conversation.ts'
import { reopen } from '../conversations/lifecycle.ts'
import { mayWrite } from '../conversations/visibility.ts'

export interface Say {
  readonly messageId: MessageId
  readonly sender: Pick<Person, 'id' | 'role' | 'firstName' | 'lastName' | 'phone'>
  readonly messageType: MessageType
  readonly content: string | null
  readonly media: MediaSummary | null
  readonly clientMessageId: string | null
  /** The closed conversation that was named instead of this one. */
  readonly sentTo: ConversationId | null
  /** For a farmer's message to a resolved conversation: the place held with its agent, null where there is none. */
  readonly placeToken: string | null
}

const previewLength = 200

/**
 * Decides a message. A farmer's reopens a resolved conversation; anybody's puts an empty one that was given back into the queue.
 * @throws AppError FORBIDDEN, CONVERSATION_CLOSED
 */
export function say(conversation: Conversation, { sender, messageType, content, media, ...rest }: Say, now: Instant): Decision {
  if (!mayWrite(conversation, sender)) throw new AppError('FORBIDDEN', 'This is not your conversation')
  if (conversation.status === 'closed') throw new AppError('CONVERSATION_CLOSED', 'The conversation is closed')
  const side = sideOf(conversation, sender.id)
  const woken = side === 'farmer' && conversation.status === 'resolved' ? reopen(conversation, rest.placeToken, now) : nothing(conversation)
  const seq = conversation.lastSeq + 1
  const { id, role, firstName, lastName, phone } = sender
  const message: Message = {
    id: rest.messageId,
    conversationId: conversation.id,
    seq,
    sender: { id, role, firstName, lastName },
    messageType,
    content,
    media,
    clientMessageId: rest.clientMessageId,
    createdAt: now,
  }
  const { unread, farmer } = conversation
  return {
    after: {
      ...woken.after,
      // The farmer's newest names come with each of the farmer's messages.
      farmer: side === 'farmer' ? { id, role: farmer.role, firstName, lastName, phone } : farmer,
      lastSeq: seq,
      farmerMessages: conversation.farmerMessages + (side === 'farmer' ? 1 : 0),
      unread: side === 'farmer' ? { ...unread, support: unread.support + 1 } : { ...unread, farmer: unread.farmer + 1 },
      lastMessage: { id: message.id, seq, senderId: id, messageType, content: preview(content), createdAt: now },
      waitingSince: woken.after.status === 'waiting' ? (woken.after.waitingSince ?? now) : null,
      unansweredSince: side === 'farmer' ? (woken.after.unansweredSince ?? now) : null,
      activityAt: now,
    },
    facts: [...woken.facts, { type: 'message.created', message, sentTo: rest.sentTo }],
  }
}

/** What a sender's key was used for: the conversation named, and what was said. */
export interface Asked {
  readonly named: ConversationId
  readonly messageType: MessageType
  readonly content: string | null
  readonly mediaId: string | null
}

export function askedBy(event: MessageCreated): Asked {
  const { message, sentTo } = event.data
  return {
    named: sentTo ?? message.conversationId,
    messageType: message.messageType,
    content: message.content,
    mediaId: message.media?.id ?? null,
  }
}

/** One text for what must be the same under the same key. */
export function contentText({ messageType, content, mediaId }: Omit<Asked, 'named'>): string {
  return JSON.stringify([messageType, content, mediaId])
}

/** The message of that sender and key among entries not in the log yet. */
export function saidIn(outbox: readonly Entry[], senderId: string, clientMessageId: string): Entry | null {
  const isIt = ({ event }: Entry) =>
    event.type === 'message.created' && event.data.message.clientMessageId === clientMessageId && event.data.message.sender.id === senderId
  return outbox.find(isIt) ?? null
}

function preview(content: string | null): string | null {
  if (content === null || content.length <= previewLength) return content
  return Array.from(content).slice(0, previewLength).join('')
}
