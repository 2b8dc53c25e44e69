// Messages as they cross a wire: the command that sends one, the fact that was committed, and the view a client gets (spec 2 and 4).
import { z } from 'zod'
import { ClientMessageId, ConversationId, MediaId, MessageId } from './ids.ts'
import { MediaSummary, MediaView, mediaTypes, mediaView, type SignLink } from './media.ts'
import { isAbsent, optional } from './optional.ts'
import { limitField, pageFields, seqField } from './pages.ts'
import { PersonSummary, PersonView, personView } from './people.ts'

export const messageTypes = ['text', ...mediaTypes] as const
export const MessageType = z.enum(messageTypes)
export type MessageType = z.infer<typeof MessageType>

export const textLimit = 4_000

const codePoints = (text: string): number => {
  // Cheap for what nearly every text is: no longer than the limit even in UTF-16 units.
  if (text.length <= textLimit) return text.length
  return Array.from(text).length
}
const isWellFormed = (text: string): boolean => text.isWellFormed()

/** 1 to 4,000 Unicode code points, not blank. */
const Text = z
  .string()
  .refine((text) => text.trim() !== '', 'must not be blank')
  .refine((text) => codePoints(text) <= textLimit, `must be at most ${textLimit} characters`)
  .refine(isWellFormed, 'must be well-formed Unicode')
const Caption = z
  .string()
  .refine((text) => codePoints(text) <= textLimit, `must be at most ${textLimit} characters`)
  .refine(isWellFormed, 'must be well-formed Unicode')

const common = { conversationId: ConversationId, clientMessageId: optional(ClientMessageId) }
/** `POST /messages` and `message:send`. Without `messageType` it is text. Whatever else a client sends (senderId, createdAt …) is dropped. */
export const SendMessage = z.preprocess(
  (body) => {
    if (typeof body !== 'object' || body === null || Array.isArray(body)) return body
    return isAbsent((body as Record<string, unknown>).messageType) ? { ...body, messageType: 'text' } : body
  },
  z.discriminatedUnion('messageType', [
    z.object({ ...common, messageType: z.literal('text'), content: Text }),
    z.object({
      ...common,
      messageType: z.enum(mediaTypes),
      mediaId: MediaId,
      content: Caption.nullish().transform((text) => text || null),
    }),
  ]),
)
export type SendMessage = z.infer<typeof SendMessage>

/** A committed message: in the log, in `message.created`, between services. Read state is not in it: it derives from marks. */
export const Message = z.object({
  id: MessageId,
  conversationId: ConversationId,
  /** 1, 2, 3 … per conversation, without a gap. */
  seq: z.number().int().positive(),
  sender: PersonSummary.omit({ phone: true }),
  messageType: MessageType,
  content: z.string().nullable(),
  media: MediaSummary.nullable(),
  clientMessageId: z.string().nullable(),
  createdAt: z.iso.datetime(),
})
export type Message = z.infer<typeof Message>

/** A message as a client sees it. */
export const MessageView = z.object({
  _id: MessageId,
  conversationId: ConversationId,
  seq: z.number().int().positive(),
  senderId: PersonView,
  messageType: MessageType,
  content: z.string().nullable(),
  mediaId: MediaId.nullable(),
  media: MediaView.nullable(),
  isRead: z.boolean(),
  readAt: z.iso.datetime().nullable(),
  clientMessageId: z.string().optional(),
  createdAt: z.iso.datetime(),
})
export type MessageView = z.infer<typeof MessageView>

/** Shows a message. `read` is what the marks say of it: null while the other side has not read it, else when it did. */
export function messageView(message: Message, read: { at: string } | null, sign: SignLink): MessageView {
  return {
    _id: message.id,
    conversationId: message.conversationId,
    seq: message.seq,
    senderId: personView({ ...message.sender, phone: null }),
    messageType: message.messageType,
    content: message.content,
    mediaId: message.media?.id ?? null,
    media: message.media ? mediaView(message.media, sign) : null,
    isRead: read !== null,
    readAt: read?.at ?? null,
    ...(message.clientMessageId === null ? {} : { clientMessageId: message.clientMessageId }),
    createdAt: message.createdAt,
  }
}

/** `GET /messages/:conversationId`. Page 1 is the newest; `beforeSeq` and `afterSeq` exclude each other and `page`. */
export const ListMessages = z
  .object({
    page: pageFields.page.unwrap().optional(),
    limit: limitField(50),
    beforeSeq: seqField.optional(),
    afterSeq: seqField.optional(),
  })
  .refine((query) => [query.page, query.beforeSeq, query.afterSeq].filter((asked) => asked !== undefined).length <= 1, {
    message: 'page, beforeSeq and afterSeq exclude each other',
    path: ['page'],
  })
export type ListMessages = z.infer<typeof ListMessages>
