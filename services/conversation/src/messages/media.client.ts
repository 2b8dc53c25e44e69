// Asks media to keep a file for a message, before the message is committed (contracts internal).
import { ReservedMedia } from '@fieldline/contracts/internal'
import type { MediaSummary } from '@fieldline/contracts/media'
import type { Peer } from '@fieldline/service/peer'
import type { MediaReservation } from './send.ts'

/** @throws AppError as media answered it; UNAVAILABLE while it is away */
export function reserveAt(media: Pick<Peer, 'call'>): (reservation: MediaReservation) => Promise<MediaSummary> {
  return async ({ mediaId, ...body }) => {
    const path = `/internal/media/${mediaId}/reserve`
    return (await media.call({ method: 'POST', path, body, schema: ReservedMedia, idempotent: true })).body.media
  }
}
