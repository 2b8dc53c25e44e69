// Photos made safe to show: upright, without EXIF (a farm's position!), re-encoded so that nothing hides in them, with a thumbnail.
import { AppError } from '@fieldline/contracts/errors'
import sharp, { type Metadata, type OutputInfo, type Sharp } from 'sharp'

// A photo is decoded once in a while: no cache of pixels, one thread a picture, and only the decoders that are accepted.
sharp.cache(false)
sharp.concurrency(1)
sharp.block({ operation: ['VipsForeignLoad'] })
sharp.unblock({
  operation: ['VipsForeignLoadJpeg', 'VipsForeignLoadPng', 'VipsForeignLoadWebp', 'VipsForeignLoadNsgif', 'VipsForeignLoadHeif'],
})

export interface ImageLimits {
  /** Width × height × frames. */
  pixels: number
  frames: number
  /** Width × height that is kept: what has more is scaled down. */
  kept: number
  /** Size that is kept, likewise. */
  bytes: number
  /** The thumbnail's longer side. */
  thumbnail: number
}

export interface SafeImage {
  original: Buffer
  thumbnail: Buffer
  format: string
  /** Without a dot. */
  extension: string
  /** As it is shown, after turning. */
  width: number
  height: number
}

const seconds = 30
type Kind = 'jpeg' | 'png' | 'webp' | 'gif'
/** Formats that can't be shown everywhere become one that can. */
const outputs: Record<string, Kind | 'widest'> = {
  ...{ 'image/jpeg': 'jpeg', 'image/png': 'png', 'image/webp': 'webp', 'image/gif': 'gif', 'image/avif': 'widest', 'image/heic': 'widest' },
}
/** Times a picture is made anew because it came out too large; each aims well below the bound. */
const mostTries = 4

/** @throws AppError UNPROCESSABLE_MEDIA (unreadable, too many pixels or frames), UNSUPPORTED_MEDIA_TYPE (a format this build can't decode) */
export async function safeImage(bytes: Buffer, format: string, limits: ImageLimits): Promise<SafeImage> {
  const animated = format === 'image/gif' || format === 'image/webp'
  const open = (pages: number): Sharp => sharp(bytes, { limitInputPixels: limits.pixels, failOn: 'error', pages, sequentialRead: true })
  const about = await readable(() => open(1).metadata(), format, limits)
  // An animation can be mirrored, not turned: of one that lies on its side or head the first frame is kept, upright.
  const turned = (about.orientation ?? 1) > 2
  const frames = animated && !turned ? (about.pages ?? 1) : 1
  if (frames > limits.frames) throw new AppError('UNPROCESSABLE_MEDIA', `The image has more than ${limits.frames} frames`)
  // The decoders of what is converted hold a picture many times over: of these, what would have to be scaled down is refused.
  const output = outputs[format] ?? 'jpeg'
  const converted = output === 'widest'
  const most = converted ? Math.min(limits.kept, limits.pixels) : limits.pixels
  if (about.width * (about.pageHeight ?? about.height) * frames > most) throw tooManyPixels(most)

  const kind = converted ? (about.hasAlpha ? 'webp' : 'jpeg') : output
  // What is transparent is no photo; coding its transparency costs most.
  const kept = converted && about.hasAlpha ? limits.kept / 4 : limits.kept
  const original = await bounded(about, { kept, bytes: limits.bytes }, (width) =>
    // Scaled before it is turned: the turning needs the picture whole in memory.
    readable(
      () => encoded(open(frames).resize({ width }).autoOrient(), kind, about).timeout({ seconds }).toBuffer({ resolveWithObject: true }),
      format,
      limits,
    ),
  )
  const thumbnail = await readable(
    () =>
      sharp(original.data)
        .resize({ width: limits.thumbnail, height: limits.thumbnail, fit: 'inside', withoutEnlargement: true })
        .flatten({ background: '#ffffff' })
        .jpeg({ quality: 75 })
        .timeout({ seconds })
        .toBuffer(),
    format,
    limits,
  )
  const { width, height, pageHeight } = original.info as typeof original.info & { pageHeight?: number }
  return {
    ...{ original: original.data, thumbnail, format: `image/${kind}`, extension: kind === 'jpeg' ? 'jpg' : kind },
    ...{ width, height: frames > 1 ? (pageHeight ?? height / frames) : height },
  }
}

/** The picture in the largest width that keeps its pixels and bytes within the limits. */
async function bounded(
  about: Metadata,
  limits: Pick<ImageLimits, 'kept' | 'bytes'>,
  make: (width: number) => Promise<{ data: Buffer; info: OutputInfo }>,
): Promise<{ data: Buffer; info: OutputInfo }> {
  let scale = Math.min(1, Math.sqrt(limits.kept / (about.width * (about.pageHeight ?? about.height))))
  for (let tries = 0; tries < mostTries; tries += 1) {
    const made = await make(Math.max(1, Math.floor(about.autoOrient.width * scale)))
    if (made.data.length <= limits.bytes) return made
    scale *= 0.9 * Math.sqrt(limits.bytes / made.data.length)
  }
  throw new AppError('UNPROCESSABLE_MEDIA', 'The image is too large, however small it is made')
}

function encoded(image: Sharp, kind: Kind, about: Metadata): Sharp {
  if (kind === 'jpeg') return image.jpeg({ quality: 88 })
  if (kind === 'png') return image.png(about.isPalette === true ? { palette: true } : { adaptiveFiltering: true })
  if (kind === 'webp') return image.webp({ quality: 88 })
  return image.gif()
}

async function readable<Result>(work: () => Promise<Result>, format: string, limits: ImageLimits): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    const reason =
      error instanceof Error || (typeof error === 'object' && error !== null && 'message' in error) ? String(error.message) : ''
    if (/pixel limit/i.test(reason)) throw tooManyPixels(limits.pixels)
    const cannotDecode =
      /unsupported image format|compression format|no decoding plugin|bad seek|Unsupported codec/i.test(reason) && format === 'image/heic'
    if (cannotDecode)
      throw new AppError('UNSUPPORTED_MEDIA_TYPE', 'HEIC photos can not be read here; send the photo as JPEG', { cause: error })
    throw new AppError('UNPROCESSABLE_MEDIA', 'The image can not be read', { cause: error })
  }
}

function tooManyPixels(most: number): AppError {
  return new AppError('UNPROCESSABLE_MEDIA', `The image has more than ${Math.floor(most / 1_000_000)} megapixels`)
}
