// Socket.IO events, both ways, and their acknowledgements (spec 5). Names are literal: grep one and find contract, door and test.
import { z } from 'zod'
import { ConversationView } from './conversations.ts'
import { errorCodes } from './errors.ts'
import { ConversationId, MessageId, PersonId } from './ids.ts'
import { MessageView, SendMessage } from './messages.ts'
import { optional } from './optional.ts'

/** Where `conversationId` is the only field needed, the bare id will do. */
const orBareId = <Shape extends z.ZodObject>(shape: Shape) =>
  z.preprocess((given) => (typeof given === 'string' ? { conversationId: given } : given), shape)
/** Nothing, `null` and `{}` mean all of this socket's. */
const orNothing = <Shape extends z.ZodObject>(shape: Shape) =>
  z.preprocess(
    (given) => (given === undefined || given === null ? {} : typeof given === 'string' ? { conversationId: given } : given),
    shape,
  )

const count = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER)
/** W3C trace context a client may send along, so that its trace goes on here. */
const traceparent = z.string().max(64).optional()

export const clientEvents = {
  'conversation:join': orBareId(z.object({ conversationId: ConversationId, afterSeq: optional(count) })),
  'conversation:leave': orNothing(z.object({ conversationId: optional(ConversationId) })),
  'message:send': SendMessage,
  'message:read': z.object({ messageId: MessageId, conversationId: ConversationId }),
  'conversation:mark-all-read': orBareId(z.object({ conversationId: ConversationId })),
  'typing:start': orBareId(z.object({ conversationId: ConversationId })),
  'typing:stop': orNothing(z.object({ conversationId: optional(ConversationId) })),
  'auth:refresh': z.preprocess(
    (given) => (typeof given === 'string' ? { token: given } : given),
    z.object({ token: z.string().max(8_192) }),
  ),
} as const
export type ClientEvent = keyof typeof clientEvents
export type ClientPayload<Event extends ClientEvent> = z.infer<(typeof clientEvents)[Event]>
export const Traced = z.object({ traceparent })

/** What `conversation:join` acknowledges: messages after `afterSeq`, oldest first; `hasMore` when the rest is to be fetched by REST or a further join. */
export const Joined = z.object({
  conversation: ConversationView,
  lastSeq: z.number().int(),
  messages: z.array(MessageView),
  hasMore: z.boolean(),
})
export type Joined = z.infer<typeof Joined>

export const SocketError = z.object({
  message: z.string(),
  code: z.enum(errorCodes),
  event: z.string().optional(),
  conversationId: z.string().optional(),
  clientMessageId: z.string().optional(),
  retryable: z.boolean(),
})
export type SocketError = z.infer<typeof SocketError>

export const serverEvents = {
  'message:new': z.object({ message: MessageView, conversationId: ConversationId }),
  'message:sent': z.object({
    messageId: MessageId,
    timestamp: z.iso.datetime(),
    conversationId: ConversationId,
    seq: z.number().int(),
    clientMessageId: z.string().optional(),
  }),
  'notification:new-message': z.object({
    conversationId: ConversationId,
    message: MessageView,
    sender: z.object({ id: PersonId, name: z.string() }),
  }),
  'typing:user-typing': z.object({ conversationId: ConversationId, userId: PersonId, userName: z.string() }),
  'typing:user-stopped': z.object({ conversationId: ConversationId, userId: PersonId, userName: z.string() }),
  'message:read-receipt': z.object({
    messageId: MessageId,
    readBy: PersonId,
    readAt: z.iso.datetime(),
    conversationId: ConversationId,
    upToSeq: z.number().int(),
  }),
  'user:online': z.object({ userId: PersonId, isOnline: z.literal(true), lastSeenAt: z.iso.datetime().nullable() }),
  'user:offline': z.object({ userId: PersonId, isOnline: z.literal(false), lastSeenAt: z.iso.datetime().nullable() }),
  'stats:updated': z.object({ at: z.iso.datetime() }),
  'conversation:assigned': z.object({ conversation: ConversationView }),
  'conversation:updated': z.object({ conversation: ConversationView }),
  'auth:expiring': z.object({ expiresAt: z.iso.datetime() }),
  error: SocketError,
} as const
export type ServerEvent = keyof typeof serverEvents
export type ServerPayload<Event extends ServerEvent> = z.infer<(typeof serverEvents)[Event]>

/** Socket.IO acknowledgement of every client event. */
export type Acknowledgement<Result> =
  | { ok: true; data: Result }
  | { ok: false; error: { code: string; message: string; retryable: boolean } }

export type ServerToClient = { [Event in ServerEvent]: (payload: ServerPayload<Event>) => void }
export type ClientToServer = { [Event in ClientEvent]: (payload: unknown, acknowledge?: unknown) => void }
