// HTTP door of uploads: POST /api/v1/chat/media.
import { texts } from '@fieldline/contracts/envelopes'
import { AppError } from '@fieldline/contracts/errors'
import { mediaView, type SignLink, UploadForm } from '@fieldline/contracts/media'
import type { Counter } from '@fieldline/service/metrics'
import { invalid, parse } from '@fieldline/service/parse'
import { type RequestHandler, type Response, Router } from 'express'
import type { Announce } from './announce.ts'
import { readForm } from './form.ts'
import { summaryOf } from './media.ts'
import type { Spool } from './spool.ts'
import type { StoreUpload } from './upload.ts'

export interface UploadRoutesDeps {
  authenticate: RequestHandler
  spool: Spool
  upload: StoreUpload
  announce: Announce
  sign: SignLink
  uploads: Counter<'outcome'>
  /** Uploads at a time; what comes beyond gets 503, so that the disk is bounded too. */
  most: number
  /** Those of one person; what comes beyond gets 429, so that nobody holds the places of all others with bodies that never end. */
  mostOfOne: number
  idleMs: number
  /** From an upload's last byte to its answer. */
  answerMs: number
  /** For clients written after the seed's Dart sample: one file is answered as an object instead of an array. */
  singleAsObject: boolean
}

export function uploadRoutes({
  authenticate,
  spool,
  upload,
  announce,
  sign,
  uploads,
  most,
  mostOfOne,
  idleMs,
  answerMs,
  singleAsObject,
}: UploadRoutesDeps): Router {
  const routes = Router()
  const running = new Map<string, number>()
  let all = 0

  function enter(person: string): void {
    const own = running.get(person) ?? 0
    if (own >= mostOfOne) throw new AppError('RATE_LIMITED', 'Too many uploads of yours at once; let one end first', { retryAfter: 5 })
    // Trouble of the uploads' disk alone: files go on being delivered, so no breaker may open.
    if (all >= most) throw new AppError('UNAVAILABLE', 'Too many uploads at once; try again soon', { retryAfter: 5, faultOf: 'spool' })
    running.set(person, own + 1)
    all += 1
  }
  function leave(person: string): void {
    const rest = (running.get(person) ?? 0) - 1
    if (rest > 0) running.set(person, rest)
    else running.delete(person)
    all -= 1
  }

  /**
   * While an upload waits for its turn, the gateway hears every now and then that it is not forgotten (102, RFC 2518, 10.1): silence means trouble there.
   * @returns ends it
   */
  function stillAtWork(res: Response, gone: AbortController): () => Promise<void> {
    const pulse = setInterval(() => res.writeProcessing(), idleMs / 4)
    const late = setTimeout(() => {
      clearInterval(pulse)
      gone.abort(
        new AppError('UNAVAILABLE', 'The upload waited too long for its turn; try again later', { retryAfter: 30, faultOf: 'turns' }),
      )
    }, answerMs)
    return async () => {
      clearInterval(pulse)
      clearTimeout(late)
    }
  }

  // Resumable uploads (tus) are to stand beside this form, under /media/uploads: they end in the same `upload`.
  routes.post('/media', authenticate, async (req, res) => {
    const { id: person } = req.person
    enter(person)
    const gone = new AbortController()
    res.once('close', () => {
      if (!res.writableFinished) gone.abort()
      // Who was answered before the end of its upload may not hold the connection with the rest.
      else if (!req.complete) req.destroy()
    })
    if (req.destroyed) gone.abort()
    let outcome = 'refused'
    const release: (() => Promise<void>)[] = []
    try {
      const form = await readForm(req, spool, idleMs)
      release.push(...form.files.map((file) => file.content.release))
      const { type } = parse(UploadForm, form.fields)
      if (form.files.length === 0) throw invalid([{ field: 'media', message: 'at least one file is needed' }])
      release.push(stillAtWork(res, gone))
      const files = await upload({ ownerId: person, type, files: form.files, signal: gone.signal })
      outcome = 'stored'
      const views = files.map((file) => mediaView(summaryOf(file), sign))
      res.status(201).json({ message: texts.uploaded, data: singleAsObject && views.length === 1 ? views[0] : views })
      void announce(files)
    } finally {
      leave(person)
      uploads.inc({ outcome: gone.signal.aborted ? 'aborted' : outcome })
      await Promise.all(release.map((done) => done()))
    }
  })
  return routes
}
