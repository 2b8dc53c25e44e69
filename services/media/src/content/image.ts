// Photos made safe to show: upright, without EXIF (a farm's position!), re-encoded so that nothing hides in them, with a thumbnail.
import { AppError } from '@fieldline/contracts/errors'
import sharp, { type Metadata, type Sharp } from 'sharp'

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
/** Formats that can't be shown everywhere become one that can. */
const outputs: Record<string, 'jpeg' | 'png' | 'webp' | 'gif' | 'widest'> = {
  ...{ 'image/jpeg': 'jpeg', 'image/png': 'png', 'image/webp': 'webp', 'image/gif': 'gif', 'image/avif': 'widest', 'image/heic': 'widest' },
}

/** @throws AppError UNPROCESSABLE_MEDIA (unreadable, too many pixels or frames), UNSUPPORTED_MEDIA_TYPE (a format this build can't decode) */
export async function safeImage(bytes: Buffer, format: string, limits: ImageLimits): Promise<SafeImage> {
  const animated = format === 'image/gif' || format === 'image/webp'
  const open = (pages: number): Sharp => sharp(bytes, { limitInputPixels: limits.pixels, failOn: 'error', pages, sequentialRead: true })
  const about = await readable(() => open(1).metadata(), format, limits)
  const frames = animated ? (about.pages ?? 1) : 1
  if (frames > limits.frames) throw new AppError('UNPROCESSABLE_MEDIA', `The image has more than ${limits.frames} frames`)
  if (about.width * (about.pageHeight ?? about.height) * frames > limits.pixels) throw tooManyPixels(limits)

  const kind = outputs[format] === 'widest' ? (about.hasAlpha ? 'png' : 'jpeg') : (outputs[format] ?? 'jpeg')
  const original = await readable(
    () => encoded(open(frames).autoOrient(), kind, about).timeout({ seconds }).toBuffer({ resolveWithObject: true }),
    format,
    limits,
  )
  const thumbnail = await readable(
    () =>
      open(1)
        .autoOrient()
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

function encoded(image: Sharp, kind: 'jpeg' | 'png' | 'webp' | 'gif', about: Metadata): Sharp {
  if (kind === 'jpeg') return image.jpeg({ quality: 88 })
  if (kind === 'png') return image.png({ palette: about.isPalette === true })
  if (kind === 'webp') return image.webp({ quality: 88 })
  return image.gif()
}

async function readable<Result>(work: () => Promise<Result>, format: string, limits: ImageLimits): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    const reason =
      error instanceof Error || (typeof error === 'object' && error !== null && 'message' in error) ? String(error.message) : ''
    if (/pixel limit/i.test(reason)) throw tooManyPixels(limits)
    const cannotDecode =
      /unsupported image format|compression format|no decoding plugin|bad seek|Unsupported codec/i.test(reason) && format === 'image/heic'
    if (cannotDecode)
      throw new AppError('UNSUPPORTED_MEDIA_TYPE', 'HEIC photos can not be read here; send the photo as JPEG', { cause: error })
    throw new AppError('UNPROCESSABLE_MEDIA', 'The image can not be read', { cause: error })
  }
}

function tooManyPixels(limits: ImageLimits): AppError {
  return new AppError('UNPROCESSABLE_MEDIA', `The image has more than ${Math.floor(limits.pixels / 1_000_000)} megapixels`)
}
