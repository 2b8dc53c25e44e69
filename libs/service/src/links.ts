// Links to media files: who signs them (conversation, realtime, media) and who checks them (media) use this one file (spec 6).
import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto'

export type Variant = 'original' | 'thumbnail'
export interface LinkedFile {
  mediaId: string
  name: string
  variant: Variant
}
export interface CheckedLink {
  /** Signed by one of our secrets for exactly this file and name, and not expired. */
  valid: boolean
  /** What the link asks for, whether or not it is valid. */
  variant: Variant
  /** Seconds until it ends; 0 for one that is not valid. */
  secondsLeft: number
}

export interface LinkSigner {
  /** `PUBLIC_URL/uploads/chat/<id>/<expiry and signature>/<name>`: the same for a whole day (UTC), good for a day more at least, two at most. */
  sign(file: LinkedFile): string
  /** Takes as long whatever is wrong with the signature. `signature` is the path's third part, `name` its last, decoded. */
  verify(link: { mediaId: string; signature: string; name: string }): CheckedLink
}

const day = 86_400_000
/** Expiry in seconds, base 36; `T` for the thumbnail; HMAC-SHA256. */
const shape = /^([0-9a-z]{1,9})(T?)-([\w-]{43})$/

/** @param secrets newest first: the first signs, all verify, so that keys can be changed without breaking links */
export function createLinkSigner({
  publicUrl,
  secrets,
  now = Date.now,
}: {
  publicUrl: string
  secrets: readonly string[]
  now?: () => number
}): LinkSigner {
  const keys = secrets.map((secret) => createSecretKey(Buffer.from(secret, 'utf8')))
  const [newest] = keys
  if (!newest) throw new Error('Media links need a secret')
  const base = `${publicUrl.replace(/\/+$/, '')}/uploads/chat`

  return {
    sign(file) {
      const expiry = (Math.floor(now() / day) + 2) * day
      const head = `${(expiry / 1_000).toString(36)}${file.variant === 'thumbnail' ? 'T' : ''}`
      return `${base}/${file.mediaId}/${head}-${mac(newest, head, file).toString('base64url')}/${encodeURIComponent(file.name)}`
    },
    verify({ mediaId, signature, name }) {
      const [, expiry = '', thumbnail = '', given = ''] = shape.exec(signature) ?? []
      const variant = thumbnail ? 'thumbnail' : 'original'
      const presented = Buffer.from(given.padEnd(43, '_'), 'base64url')
      let signed = false
      for (const key of keys) {
        const ours = mac(key, `${expiry}${thumbnail}`, { mediaId, name, variant })
        // No early way out: which key fits, if any, must not show in the time this takes.
        signed = (presented.length === ours.length && timingSafeEqual(presented, ours)) || signed
      }
      // Base64 has several spellings of the same bytes; only ours is a link.
      const exact = presented.toString('base64url') === given
      const millisecondsLeft = Number.parseInt(expiry, 36) * 1_000 - now()
      const valid = signed && exact && millisecondsLeft > 0
      return { valid, variant, secondsLeft: valid ? Math.floor(millisecondsLeft / 1_000) : 0 }
    },
  }
}

/** NUL separates, as it can be in none of the parts. */
function mac(key: KeyObject, head: string, { mediaId, name, variant }: LinkedFile): Buffer {
  return createHmac('sha256', key).update(`fieldline-media-link\0${mediaId}\0${variant}\0${head}\0${name}`).digest()
}
