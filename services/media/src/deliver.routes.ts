// HTTP door of delivery: files by signed link, or by the token of who may read their conversation (spec 6).
import { pipeline } from 'node:stream/promises'
import { AppError } from '@fieldline/contracts/errors'
import { IdParams } from '@fieldline/contracts/internal'
import type { Person } from '@fieldline/contracts/people'
import { ObjectNotFound, type ObjectStore, ObjectsUnavailable } from '@fieldline/objects/store'
import type { Verifier } from '@fieldline/service/auth'
import { bearerOf } from '@fieldline/service/bearer'
import type { CheckedLink, LinkSigner } from '@fieldline/service/links'
import type { Counter } from '@fieldline/service/metrics'
import { create as contentDisposition } from 'content-disposition'
import { type Request, type Response, Router } from 'express'
import parseRange from 'range-parser'
import type { Conversations } from './conversations.ts'
import type { MediaStore } from './media.store.ts'
import { conversationsOf, type Media, originalKey, thumbnailKey } from './media.ts'
import { outletOf } from './outlet.ts'

export interface DeliverDeps {
  store: Pick<MediaStore, 'load'>
  objects: Pick<ObjectStore, 'get'>
  links: Pick<LinkSigner, 'verify'>
  verifier: Verifier
  conversations: Pick<Conversations, 'mayRead'>
  deliveries: Counter<'outcome'>
  /** A connection on which nothing moves for so long ends. */
  idleMs: number
}

/** What a browser shows without running anything; all else is saved. */
const shown = /^(?:image\/(?:jpeg|png|webp|gif)|audio\/|video\/)/

export function deliverRoutes({ store, objects, links, verifier, conversations, deliveries, idleMs }: DeliverDeps): Router {
  const routes = Router()

  routes.get('/:id/:signature/:name', async (req, res) => {
    const { id } = parseId(req)
    const link = links.verify({ mediaId: id, signature: req.params.signature, name: req.params.name })
    const media = await admitted(id, link, req)
    const part = link.variant === 'thumbnail' ? media.thumbnail : media.original
    if (!part) throw new AppError('MEDIA_NOT_FOUND', 'There is no such file')

    const thumbnail = link.variant === 'thumbnail'
    const validators = { ETag: `"${part.etag}"`, 'Last-Modified': media.createdAt.toUTCString() }
    res.set({ ...validators, 'Cache-Control': link.valid ? `private, max-age=${link.secondsLeft}, immutable` : 'private, no-cache' })
    if (!link.valid) res.vary('Authorization')
    if (req.fresh) {
      res.status(304).end()
      return
    }
    const range = rangeOf(req, part.size, validators)
    if (range === 'unsatisfiable') {
      res.set('Content-Range', `bytes */${part.size}`)
      throw new AppError('RANGE_NOT_SATISFIABLE', `The file has ${part.size} bytes`)
    }
    const format = thumbnail ? 'image/jpeg' : media.format
    res.status(range ? 206 : 200).set({
      'Content-Type': format,
      'Content-Length': String(range ? range.end - range.start + 1 : part.size),
      'Content-Disposition': contentDisposition(media.name, { type: shown.test(format) ? 'inline' : 'attachment' }),
      'Accept-Ranges': 'bytes',
      'X-Content-Type-Options': 'nosniff',
      // Opened by itself, the file is a document of its own that may do nothing.
      'Content-Security-Policy': "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox",
      // The web client may live on another origin; who has the link may show the file.
      'Cross-Origin-Resource-Policy': 'cross-origin',
      ...(range ? { 'Content-Range': `bytes ${range.start}-${range.end}/${part.size}` } : {}),
    })
    if (req.method === 'HEAD') {
      res.end()
      return
    }
    await send(res, thumbnail ? thumbnailKey(id) : originalKey(id), range)
  })

  /** The file, for who has its link or may read it. @throws AppError LINK_INVALID, MEDIA_NOT_FOUND, FORBIDDEN, and those of tokens */
  async function admitted(id: string, link: CheckedLink, req: Request): Promise<Media> {
    if (!link.valid && req.headers.authorization === undefined) throw new AppError('LINK_INVALID', 'The link is not valid or has expired')
    const person = link.valid ? null : await verifier.verify(bearerOf(req.headers.authorization))
    const media = await store.load(id)
    if (media?.state !== 'stored') throw new AppError('MEDIA_NOT_FOUND', 'There is no such file')
    if (!person) return media
    if (!(await mayRead(media, person))) throw new AppError('FORBIDDEN', 'You may not read this file')
    return media
  }

  /** Until a message uses it, it is its uploader's alone; then access follows the conversations it is used in. */
  async function mayRead(media: Media, person: Person): Promise<boolean> {
    if (media.conversationId === null) return media.ownerId === person.id
    for (const conversationId of conversationsOf(media)) if (await conversations.mayRead(conversationId, person)) return true
    return false
  }

  async function send(res: Response, key: string, range: { start: number; end: number } | null): Promise<void> {
    const body = await objects.get(key, range ?? undefined).catch((error: unknown) => {
      for (const name of ['Content-Length', 'Content-Range', 'Content-Disposition', 'ETag', 'Last-Modified']) res.removeHeader(name)
      if (error instanceof ObjectNotFound) throw new AppError('MEDIA_NOT_FOUND', 'There is no such file', { cause: error })
      if (error instanceof ObjectsUnavailable)
        throw new AppError('UNAVAILABLE', 'Files can not be read now', { cause: error, retryAfter: 5 })
      throw error
    })
    // Nothing moves: the client or the store is gone without saying so.
    res.setTimeout(idleMs, () => res.destroy())
    try {
      await pipeline(body, outletOf(res))
      deliveries.inc({ outcome: 'sent' })
    } catch (error) {
      // A client that leaves is no fault; a store that breaks off is, and half a file must not look like a whole one.
      if (!res.destroyed || !prematureClose(error)) throw error
      deliveries.inc({ outcome: 'left' })
    }
  }

  return routes
}

function parseId(req: Request): { id: string } {
  const parsed = IdParams.media.safeParse({ id: req.params.id })
  if (!parsed.success) throw new AppError('MEDIA_NOT_FOUND', 'There is no such file')
  return parsed.data
}

/** The one range asked for; null for the whole file: none, several, malformed, or an `If-Range` of another version (RFC 9110, 14.2). */
function rangeOf(
  req: Request,
  size: number,
  validators: { ETag: string; 'Last-Modified': string },
): { start: number; end: number } | 'unsatisfiable' | null {
  const header = req.headers.range
  if (req.method !== 'GET' || header === undefined) return null
  const condition = req.headers['if-range']
  if (condition !== undefined && condition !== validators.ETag && condition !== validators['Last-Modified']) return null
  const ranges = parseRange(size, header, { combine: true })
  if (ranges === -1) return 'unsatisfiable'
  if (ranges === -2 || ranges.type !== 'bytes' || ranges.length !== 1) return null
  return ranges[0] ?? null
}

function prematureClose(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE'
}
