// What services ask one another under /internal, with tokens of audience `fieldline-internal`. The gateway never proxies it.
import { z } from 'zod'
import { ConversationState, Mark } from './conversations.ts'
import { ConversationEvent } from './events.ts'
import { ConversationId, MediaId, MessageId, PersonId } from './ids.ts'
import { MediaSummary, MediaType } from './media.ts'
import { Message } from './messages.ts'
import { limitField, seqField } from './pages.ts'
import { Role } from './people.ts'

// conversation ---------------------------------------------------------------------------------------------------------------

/** `GET /internal/conversations/:id/events?after&limit`: the log of one conversation, by eventno, nothing above the head that was loaded. 404 CONVERSATION_NOT_FOUND. */
export const EventsQuery = z.object({ after: seqField.default(0), limit: limitField(200, 1_000) })
export const EventsPage = z.object({ events: z.array(ConversationEvent), head: z.number().int() })
export type EventsPage = z.infer<typeof EventsPage>

/**
 * `GET /internal/conversations/:id/snapshot?afterSeq&limit[&personId&role&iat]`: state, marks and the messages after `afterSeq`, oldest first.
 * Without `afterSeq` no messages. With `personId`, `role` and `iat` (of that person's token) only for who may read it: else 403 FORBIDDEN.
 */
export const SnapshotQuery = z.object({
  afterSeq: seqField.optional(),
  limit: limitField(200, 500),
  personId: PersonId.optional(),
  role: Role.optional(),
  iat: z
    .string()
    .regex(/^\d{1,12}$/)
    .transform(Number)
    .optional(),
})
export type SnapshotQuery = z.infer<typeof SnapshotQuery>
export const Snapshot = z.object({
  conversation: ConversationState,
  farmerOnline: z.boolean(),
  marks: z.array(Mark),
  eventNo: z.number().int(),
  lastSeq: z.number().int(),
  messages: z.array(Message),
  /** More messages between the last of `messages` and `lastSeq`. */
  hasMore: z.boolean(),
})
export type Snapshot = z.infer<typeof Snapshot>

/** `POST /internal/heads`: where many conversations stand, in one call. Unknown ones are left out. */
export const HeadsRequest = z.object({ conversationIds: z.array(ConversationId).max(1_000) })
export const Heads = z.object({
  heads: z.array(z.object({ conversationId: ConversationId, eventNo: z.number().int(), lastSeq: z.number().int() })),
})
export type Heads = z.infer<typeof Heads>

/** `POST /internal/states`: what lists show of many conversations, in one call. Unknown ones are left out. */
export const StatesRequest = z.object({ conversationIds: z.array(ConversationId).max(500) })
export const States = z.object({ states: z.array(Snapshot.pick({ conversation: true, farmerOnline: true })) })
export type States = z.infer<typeof States>

/** `POST /internal/roles`: the roles that still count of these people's tokens, as a newer token may have lowered them; in their order. */
export const RolesRequest = z.object({
  people: z.array(z.object({ id: PersonId, role: Role, iat: z.number().int().nonnegative() })).max(1_000),
})
export const Roles = z.object({ roles: z.array(Role) })
export type Roles = z.infer<typeof Roles>

/** `GET /internal/conversations?after&limit`: every conversation by id, with its head; for rebuilds. */
export const WalkQuery = z.object({ after: ConversationId.optional(), limit: limitField(500, 1_000) })
export const Walk = z.object({
  conversations: z.array(z.object({ conversationId: ConversationId, eventNo: z.number().int() })),
  next: ConversationId.nullable(),
})
export type Walk = z.infer<typeof Walk>

/** `GET /internal/conversations/:id/access?personId&role&iat`: may this person read, may it write? */
export const AccessQuery = z.object({
  personId: PersonId,
  role: Role,
  iat: z
    .string()
    .regex(/^\d{1,12}$/)
    .transform(Number),
})
export const Access = z.object({ mayRead: z.boolean(), mayWrite: z.boolean() })
export type Access = z.infer<typeof Access>

/** `POST /internal/messages/committed`: which of these messages exist; media asks before it sweeps what was reserved for them. */
export const CommittedRequest = z.object({ messages: z.array(z.object({ messageId: MessageId, conversationId: ConversationId })).max(500) })
export const Committed = z.object({ messageIds: z.array(MessageId) })
export type Committed = z.infer<typeof Committed>

// media ----------------------------------------------------------------------------------------------------------------------

/**
 * `POST /internal/media/:id/reserve`: before it commits a media message, conversation reserves the file. Idempotent by `messageId`; the owner may use a file again
 * in the same conversation, and a farmer (`farmerId`: whose conversation it is) in every one of their own.
 * 404 MEDIA_NOT_FOUND (also somebody else's), 409 MEDIA_IN_USE (another conversation's), 400 VALIDATION_FAILED (another type).
 */
export const ReserveMedia = z.object({
  ownerId: PersonId,
  type: MediaType,
  conversationId: ConversationId,
  messageId: MessageId,
  /** Not said by replicas of a former release. */
  farmerId: PersonId.optional(),
})
export type ReserveMedia = z.infer<typeof ReserveMedia>
export const ReservedMedia = z.object({ media: MediaSummary })
export type ReservedMedia = z.infer<typeof ReservedMedia>

// realtime -------------------------------------------------------------------------------------------------------------------

/** `POST /internal/presence`: who of these is online, by realtime's own record. `version` 0: never seen. */
export const PresenceRequest = z.object({ personIds: z.array(PersonId).max(1_000) })
export const Presence = z.object({
  people: z.array(
    z.object({ personId: PersonId, online: z.boolean(), version: z.number().int().nonnegative(), lastSeenAt: z.iso.datetime().nullable() }),
  ),
})
export type Presence = z.infer<typeof Presence>

export const IdParams = { conversation: z.object({ id: ConversationId }), media: z.object({ id: MediaId }) }
