// The index of senders' keys: what is kept of a message under its key, and how a key is hashed.
import { createHash } from 'node:crypto'
import { type Asked, askedBy, contentText } from '../messages/message.ts'
import type { KnownKey } from './conversation.store.ts'
import type { Entry } from './conversation.ts'

/** One text for a sender and a key; neither can reach into the other. */
export function keyOf(senderId: string, clientMessageId: string): string {
  return hashed(JSON.stringify([senderId, clientMessageId]))
}

export function contentHashOf(asked: Omit<Asked, 'named'>): string {
  return hashed(contentText(asked))
}

export function keysOf(entries: readonly Entry[]): (KnownKey & { hash: string })[] {
  return entries.flatMap(({ event }) => {
    if (event.type !== 'message.created' || event.data.message.clientMessageId === null) return []
    const { message } = event.data
    const asked = askedBy(event)
    const known = { named: asked.named, conversationId: message.conversationId, messageId: message.id, seq: message.seq }
    return [{ ...known, contentHash: contentHashOf(asked), hash: keyOf(message.sender.id, String(message.clientMessageId)) }]
  })
}

function hashed(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}
