// Shapes of identifiers. Ours are 24 hex digits (ObjectId); people's are opaque strings of the identity provider.
import { z } from 'zod'

const hex24 = /^[0-9a-f]{24}$/

export const ConversationId = z.string().regex(hex24, 'must be 24 hexadecimal digits').brand<'ConversationId'>()
export const MessageId = z.string().regex(hex24, 'must be 24 hexadecimal digits').brand<'MessageId'>()
export const MediaId = z.string().regex(hex24, 'must be 24 hexadecimal digits').brand<'MediaId'>()
/** 1 to 128 characters, none of them a control character. Never an object key, never a path. */
export const PersonId = z
  .string()
  .min(1)
  .max(128)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are exactly what is refused
  .regex(/^[^\u0000-\u001f\u007f]+$/, 'must not hold control characters')
/** What a client calls its message, so that a retry is known: 1 to 128 printable ASCII characters, as it may come in a header. */
export const ClientMessageId = z.string().regex(/^[\x21-\x7e]{1,128}$/, 'must be 1 to 128 printable characters without spaces')

export type ConversationId = z.infer<typeof ConversationId>
export type MessageId = z.infer<typeof MessageId>
export type MediaId = z.infer<typeof MediaId>
export type PersonId = string
