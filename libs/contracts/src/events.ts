// Domain events and signals: CloudEvents 1.0 envelopes, one schema a type (spec 8). An event is bounded in size and never holds a link.
import { z } from 'zod'
import { AssignmentReason, ConversationState, Status } from './conversations.ts'
import { ConversationId, PersonId } from './ids.ts'
import { MediaSummary } from './media.ts'
import { Message } from './messages.ts'
import { PersonSummary } from './people.ts'

const envelope = {
  specversion: z.literal('1.0'),
  /** Unique per event, the same at each repetition. */
  id: z.string().min(1).max(128),
  source: z.string().min(1).max(128),
  time: z.iso.datetime(),
  datacontenttype: z.literal('application/json'),
  /** W3C trace context of what caused the event; absent rather than invalid. */
  traceparent: z.string().max(64).optional(),
  tracestate: z.string().max(512).optional(),
}
/** Events of a conversation are counted 1, 2, 3 … per conversation, each with a number of its own. */
const ofConversation = { ...envelope, conversationid: ConversationId, eventno: z.number().int().positive() }

/** The system, or a person's id. */
const Actor = z.string().min(1).max(128)

export const ConversationCreated = z.object({
  ...ofConversation,
  type: z.literal('conversation.created'),
  data: z.object({ conversation: ConversationState }),
})

/** Who is assigned changed: `to` null means nobody. The change of status that comes with it is an event of its own, after it. */
export const ConversationAssigned = z.object({
  ...ofConversation,
  type: z.literal('conversation.assigned'),
  data: z.object({
    from: PersonSummary.nullable(),
    to: PersonSummary.nullable(),
    reason: AssignmentReason,
    note: z.string().nullable(),
    by: Actor,
    /** The state after the whole command. */
    conversation: ConversationState,
  }),
})

export const ConversationStatusChanged = z.object({
  ...ofConversation,
  type: z.literal('conversation.status-changed'),
  data: z.object({
    from: Status,
    to: Status,
    reason: z.string().nullable(),
    by: Actor,
    /** resolved → open or waiting, by a farmer's message. */
    reopened: z.boolean(),
    conversation: ConversationState,
  }),
})

/** A read mark moved. `upToSeq` is the mark, `fromSeq` where it stood; receipts are for the messages of the other side in (fromSeq, upToSeq]. */
export const ConversationRead = z.object({
  ...ofConversation,
  type: z.literal('conversation.read'),
  data: z.object({
    reader: PersonSummary.omit({ phone: true }),
    side: z.enum(['farmer', 'support']),
    fromSeq: z.number().int().nonnegative(),
    upToSeq: z.number().int().positive(),
    readAt: z.iso.datetime(),
    /** The newest (at most 50) messages of the other side that this mark newly covers, oldest first. */
    messages: z.array(z.object({ id: z.string(), seq: z.number().int() })).max(50),
    conversation: ConversationState,
  }),
})

export const MessageCreated = z.object({
  ...ofConversation,
  type: z.literal('message.created'),
  data: z.object({
    message: Message,
    farmerId: PersonId,
    assignedId: PersonId.nullable(),
    status: Status,
    /** Whom the farmer named but who could not take it any more: the closed conversation that a message was sent to. */
    sentTo: ConversationId.nullable(),
  }),
})

export const MediaUploaded = z.object({
  ...envelope,
  type: z.literal('media.uploaded'),
  data: z.object({ media: MediaSummary, ownerId: PersonId, at: z.iso.datetime() }),
})

/** Presence and availability of a person: `version` grows with each change, older ones are dropped. Online and offline are counted by realtime, availability by conversation. */
const ofPerson = { person: PersonSummary, version: z.number().int().positive(), at: z.iso.datetime() }
export const UserOnline = z.object({
  ...envelope,
  type: z.literal('user.online'),
  data: z.object({ ...ofPerson, /** `iat` of the token that tells the person's names and role. */ iat: z.number() }),
})
export const UserOffline = z.object({
  ...envelope,
  type: z.literal('user.offline'),
  data: z.object({ ...ofPerson, lastSeenAt: z.iso.datetime() }),
})
export const UserAvailabilityChanged = z.object({
  ...envelope,
  type: z.literal('user.availability-changed'),
  data: z.object({ ...ofPerson, available: z.boolean() }),
})

export const ConversationEvent = z.discriminatedUnion('type', [
  ConversationCreated,
  ConversationAssigned,
  ConversationStatusChanged,
  ConversationRead,
  MessageCreated,
])
export const PresenceEvent = z.discriminatedUnion('type', [UserOnline, UserOffline])
export const UserEvent = z.discriminatedUnion('type', [UserOnline, UserOffline, UserAvailabilityChanged])
export const DomainEvent = z.discriminatedUnion('type', [
  ConversationCreated,
  ConversationAssigned,
  ConversationStatusChanged,
  ConversationRead,
  MessageCreated,
  MediaUploaded,
  UserOnline,
  UserOffline,
  UserAvailabilityChanged,
])

export type ConversationCreated = z.infer<typeof ConversationCreated>
export type ConversationAssigned = z.infer<typeof ConversationAssigned>
export type ConversationStatusChanged = z.infer<typeof ConversationStatusChanged>
export type ConversationRead = z.infer<typeof ConversationRead>
export type MessageCreated = z.infer<typeof MessageCreated>
export type MediaUploaded = z.infer<typeof MediaUploaded>
export type UserOnline = z.infer<typeof UserOnline>
export type UserOffline = z.infer<typeof UserOffline>
export type UserAvailabilityChanged = z.infer<typeof UserAvailabilityChanged>
export type ConversationEvent = z.infer<typeof ConversationEvent>
export type PresenceEvent = z.infer<typeof PresenceEvent>
export type UserEvent = z.infer<typeof UserEvent>
export type DomainEvent = z.infer<typeof DomainEvent>

/** Signals may be lost: `chat.signals`, transient. */
export const TypingSignal = z.object({
  type: z.enum(['typing.started', 'typing.stopped']),
  conversationId: ConversationId,
  userId: PersonId,
  userName: z.string(),
  /** The replica it comes from, which has told its own sockets already. */
  instance: z.string(),
})
export const StatsChanged = z.object({ type: z.literal('stats.changed'), at: z.iso.datetime() })
export const Signal = z.union([TypingSignal, StatsChanged])
export type TypingSignal = z.infer<typeof TypingSignal>
export type StatsChanged = z.infer<typeof StatsChanged>
export type Signal = z.infer<typeof Signal>
