// An uploaded file as media keeps it, and what may happen to it. Pure: no I/O, no clock of its own.
import { AppError } from '@fieldline/contracts/errors'
import type { ReserveMedia } from '@fieldline/contracts/internal'
import { MediaSummary, type MediaType } from '@fieldline/contracts/media'

/** uploading: its objects may be there or not. stored: they all are. deleting: nobody may use it any more. */
export type MediaState = 'uploading' | 'stored' | 'deleting'

export interface StoredObject {
  /** Bytes. */
  size: number
  /** SHA-256 of the content, base64url: the ETag of its delivery. */
  etag: string
}

export interface Media {
  id: string
  ownerId: string
  state: MediaState
  type: MediaType
  name: string
  /** MIME type of what is stored. */
  format: string
  original: StoredObject
  thumbnail: StoredObject | null
  width: number | null
  height: number | null
  createdAt: Date
  /** When it was uploaded or last reserved: what is old by this is asked about and swept. */
  usedAt: Date
  /** The conversation it was first reserved in, or moved on to; null until it is reserved. */
  conversationId: string | null
  /** Those it moved on from, newest first, at most `mostEarlier`: their readers may read it still. */
  earlierConversationIds: readonly string[]
  /** Messages it was reserved for, at most `mostReservations`. */
  messageIds: readonly string[]
  /** A message uses it for certain: never swept. */
  attached: boolean
  /** `media.uploaded` is confirmed by the broker. */
  announced: boolean
}

/** Beyond so many reservations of one file nobody counts any more: it stays. */
export const mostReservations = 20
/** And beyond so many conversations that it moved on from; the oldest is forgotten. */
export const mostEarlier = 10

export function originalKey(id: string): string {
  return `${id}/original`
}
export function thumbnailKey(id: string): string {
  return `${id}/thumbnail`
}

/** A file before its first byte is stored. */
export function begun(id: string, owner: string, name: string, type: MediaType, now: Date): Media {
  return {
    ...{ id, ownerId: owner, state: 'uploading', type, name, format: '', original: { size: 0, etag: '' }, thumbnail: null, width: null },
    ...{ height: null, createdAt: now, usedAt: now, conversationId: null, earlierConversationIds: [], messageIds: [] },
    ...{ attached: false, announced: false },
  }
}

export function summaryOf(media: Media): MediaSummary {
  return MediaSummary.parse({
    ...{ id: media.id, name: media.name, type: media.type, format: media.format, size: media.original.size },
    hasThumbnail: media.thumbnail !== null,
    ...(media.width === null ? {} : { width: media.width }),
    ...(media.height === null ? {} : { height: media.height }),
  })
}

/** The conversations it is used in, as far as anybody knows. */
export function conversationsOf({ conversationId, earlierConversationIds }: Media): string[] {
  return conversationId === null ? [] : [conversationId, ...earlierConversationIds]
}

/**
 * May this message use the file? It may where nobody has reserved it, in a conversation it is reserved in, and in any other of its owner's own:
 * what a farmer sends into a closed one lands in the next (spec 3), while an agent's file never gets from one farmer to another.
 * @throws AppError MEDIA_NOT_FOUND (also somebody else's), VALIDATION_FAILED, MEDIA_IN_USE
 */
export function checkReservable(media: Media | null, ask: ReserveMedia): asserts media is Media {
  if (media?.state !== 'stored' || media.ownerId !== ask.ownerId) throw new AppError('MEDIA_NOT_FOUND', 'There is no such file of yours')
  if (media.type !== ask.type) {
    const message = `The file is ${media.type}, not ${ask.type}`
    throw new AppError('VALIDATION_FAILED', message, { details: [{ field: 'messageType', message }] })
  }
  const used = conversationsOf(media)
  if (used.length === 0 || used.includes(ask.conversationId) || ask.farmerId === ask.ownerId) return
  throw new AppError('MEDIA_IN_USE', 'The file is used in another conversation; upload it again')
}

/** The file with that reservation in it. */
export function reserved(media: Media, ask: ReserveMedia, now: Date): Media {
  const known = media.messageIds.includes(ask.messageId)
  const full = !known && media.messageIds.length >= mostReservations
  const used = conversationsOf(media)
  const [conversationId = ask.conversationId, ...earlier] = used.includes(ask.conversationId) ? used : [ask.conversationId, ...used]
  return {
    ...media,
    conversationId,
    earlierConversationIds: earlier.slice(0, mostEarlier),
    messageIds: known || full ? media.messageIds : [...media.messageIds, ask.messageId],
    attached: media.attached || full || earlier.length > mostEarlier,
    usedAt: now,
  }
}
