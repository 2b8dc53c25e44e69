// What a file is, by its bytes alone: neither its name nor its declared type counts (spec 6).
import { AppError } from '@fieldline/contracts/errors'
import type { MediaType } from '@fieldline/contracts/media'
import { fileTypeFromBuffer } from 'file-type'
import { soundHolds } from './frames.ts'
import type { ReadAt } from './read-at.ts'
import { isoTracks, webmTracks } from './tracks.ts'

export interface Sniffed {
  type: MediaType
  /** MIME type. */
  format: string
  /** Without a dot. */
  extension: string
}

/** What phones make. `container`: audio and video share it, the tracks decide. */
const formats: Record<string, { type?: MediaType; format: string; extension: string; container?: 'iso' | 'webm' }> = {
  'image/jpeg': { type: 'image', format: 'image/jpeg', extension: 'jpg' },
  'image/png': { type: 'image', format: 'image/png', extension: 'png' },
  'image/apng': { type: 'image', format: 'image/png', extension: 'png' },
  'image/webp': { type: 'image', format: 'image/webp', extension: 'webp' },
  'image/gif': { type: 'image', format: 'image/gif', extension: 'gif' },
  'image/avif': { type: 'image', format: 'image/avif', extension: 'avif' },
  'image/heic': { type: 'image', format: 'image/heic', extension: 'heic' },
  'image/heif': { type: 'image', format: 'image/heic', extension: 'heic' },
  'audio/mpeg': { type: 'audio', format: 'audio/mpeg', extension: 'mp3' },
  'audio/aac': { type: 'audio', format: 'audio/aac', extension: 'aac' },
  'audio/ogg': { type: 'audio', format: 'audio/ogg', extension: 'ogg' },
  'audio/ogg; codecs=opus': { type: 'audio', format: 'audio/ogg', extension: 'ogg' },
  'audio/wav': { type: 'audio', format: 'audio/wav', extension: 'wav' },
  'audio/amr': { type: 'audio', format: 'audio/amr', extension: 'amr' },
  'audio/mp4': { type: 'audio', format: 'audio/mp4', extension: 'm4a', container: 'iso' },
  'audio/x-m4a': { type: 'audio', format: 'audio/mp4', extension: 'm4a', container: 'iso' },
  'video/mp4': { type: 'video', format: 'video/mp4', extension: 'mp4', container: 'iso' },
  'video/x-m4v': { type: 'video', format: 'video/mp4', extension: 'mp4', container: 'iso' },
  'video/quicktime': { type: 'video', format: 'video/quicktime', extension: 'mov', container: 'iso' },
  'video/3gpp': { type: 'video', format: 'video/3gpp', extension: '3gp', container: 'iso' },
  'video/3gpp2': { type: 'video', format: 'video/3gpp2', extension: '3g2', container: 'iso' },
  'video/webm': { type: 'video', format: 'video/webm', extension: 'webm', container: 'webm' },
}
const asAudio: Record<string, Pick<Sniffed, 'format' | 'extension'>> = {
  'video/mp4': { format: 'audio/mp4', extension: 'm4a' },
  'video/quicktime': { format: 'audio/mp4', extension: 'm4a' },
  'video/3gpp': { format: 'audio/3gpp', extension: '3gp' },
  'video/3gpp2': { format: 'audio/3gpp2', extension: '3g2' },
  'video/webm': { format: 'audio/webm', extension: 'webm' },
}
const asVideo: Record<string, Pick<Sniffed, 'format' | 'extension'>> = { 'audio/mp4': { format: 'video/mp4', extension: 'mp4' } }

/** Enough for the formats that are recognised by what stands after their first chunks. */
const prefix = 131_072

/** @throws AppError UNSUPPORTED_MEDIA_TYPE for what is none of the accepted formats */
export async function sniff(read: ReadAt, size: number): Promise<Sniffed> {
  // A file that its own structure leads astray is no format either.
  const start = await beyondTags(read)
  const found = await fileTypeFromBuffer(await read(start, prefix)).catch(() => undefined)
  const known = formats[found?.mime ?? '']
  if (!known?.type) throw new AppError('UNSUPPORTED_MEDIA_TYPE', `A file of this kind is not accepted${found ? ` (${found.mime})` : ''}`)
  const { type, format, extension, container } = known
  if (!container) {
    if (!(await soundHolds(format, read, start))) throw nothingPlays(format)
    return { type, format, extension }
  }
  const tracks = container === 'iso' ? await isoTracks(read, size) : await webmTracks(read, size)
  if (!tracks.audio && !tracks.video) throw nothingPlays(format)
  if (tracks.video) return { type: 'video', ...(asVideo[format] ?? { format, extension }) }
  return { type: 'audio', ...(asAudio[format] ?? { format, extension }) }
}

/** It begins as such a file does, and then is none. */
function nothingPlays(format: string): AppError {
  return new AppError('UNSUPPORTED_MEDIA_TYPE', `The file begins as ${format}, but holds nothing that plays`)
}

/** Where the sound of an MP3 begins: its tag may hold a cover of any size (ID3v2.4, 3.1). */
async function beyondTags(read: ReadAt): Promise<number> {
  let at = 0
  for (let tags = 0; tags < 10; tags += 1) {
    const head = await read(at, 10)
    if (head.length < 10 || head.toString('latin1', 0, 3) !== 'ID3') break
    const length = [6, 7, 8, 9].reduce((sum, index) => sum * 128 + ((head[index] ?? 0) & 0x7f), 0)
    at += 10 + length
  }
  return at
}
