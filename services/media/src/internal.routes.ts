// Door for services: conversation reserves a file before it commits the message that names it.
import { AppError } from '@fieldline/contracts/errors'
import { IdParams, type ReservedMedia, ReserveMedia } from '@fieldline/contracts/internal'
import type { Clock } from '@fieldline/service/clock'
import { parse } from '@fieldline/service/parse'
import { type RequestHandler, Router } from 'express'
import type { MediaStore } from './media.store.ts'
import { checkReservable, conversationsOf, type Media, reserved, summaryOf } from './media.ts'

type Deps = { requireInternal: RequestHandler; store: Pick<MediaStore, 'load' | 'replace'>; clock: Clock }

export function internalRoutes({ requireInternal, store, clock }: Deps): Router {
  const routes = Router()
  routes.post('/media/:id/reserve', requireInternal, async (req, res) => {
    const { id } = parse(IdParams.media, req.params, 'params')
    const media = await reserve(store, id, parse(ReserveMedia, req.body), clock)
    res.json({ media: summaryOf(media) } satisfies ReservedMedia)
  })
  return routes
}

const mostTries = 10

/** Load, decide, one conditional write; again where somebody was quicker. @throws AppError as `checkReservable`, UNAVAILABLE */
async function reserve(store: Pick<MediaStore, 'load' | 'replace'>, id: string, ask: ReserveMedia, clock: Clock): Promise<Media> {
  for (let tries = 0; tries < mostTries; tries += 1) {
    const media = await store.load(id)
    checkReservable(media, ask)
    if (conversationsOf(media).includes(ask.conversationId) && media.messageIds.includes(ask.messageId)) return media
    const after = reserved(media, ask, clock.now())
    if (await store.replace(media, after)) return after
  }
  throw new AppError('UNAVAILABLE', 'The file is asked for too often at once; try again')
}
