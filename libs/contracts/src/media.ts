// Media as it crosses a wire: what was uploaded, how it is shown, and how it is named between services (spec 6).
import { z } from 'zod'
import { MediaId } from './ids.ts'

export const mediaTypes = ['image', 'audio', 'video'] as const
export const MediaType = z.enum(mediaTypes)
export type MediaType = z.infer<typeof MediaType>

export const mediaLimits = { files: 5, bytesPerFile: 10_485_760 } as const

/** An uploaded file in events, in the log and between services: never with a link. `name` as the uploader called it (cleaned, up to 255 characters), `format` a MIME type, `size` in bytes. */
export const MediaSummary = z.object({
  id: MediaId,
  name: z.string().min(1).max(255),
  type: MediaType,
  format: z.string().max(128),
  size: z.number().int().nonnegative(),
  hasThumbnail: z.boolean(),
  width: z.number().int().positive().optional(),
  height: z.number().int().positive().optional(),
})
export type MediaSummary = z.infer<typeof MediaSummary>

/** The same for a client: with links that are signed when they are sent. */
export const MediaView = z.object({
  _id: MediaId,
  name: z.string(),
  type: MediaType,
  url: z.string(),
  thumbnailUrl: z.string().optional(),
  format: z.string(),
  size: z.number().int(),
  width: z.number().int().optional(),
  height: z.number().int().optional(),
})
export type MediaView = z.infer<typeof MediaView>

/** Signs a link to a file; made by `createLinkSigner` of libs/service. */
export type SignLink = (file: { mediaId: string; name: string; variant: 'original' | 'thumbnail' }) => string

export function mediaView(media: MediaSummary, sign: SignLink): MediaView {
  return {
    _id: media.id,
    name: media.name,
    type: media.type,
    url: sign({ mediaId: media.id, name: media.name, variant: 'original' }),
    ...(media.hasThumbnail ? { thumbnailUrl: sign({ mediaId: media.id, name: media.name, variant: 'thumbnail' }) } : {}),
    format: media.format,
    size: media.size,
    ...(media.width === undefined ? {} : { width: media.width }),
    ...(media.height === undefined ? {} : { height: media.height }),
  }
}

export const UploadForm = z.object({ type: MediaType })
export type UploadForm = z.infer<typeof UploadForm>
