// Inner HTTP doors: who is online (conversation asks), and this replica's name (the gateway asks).
import { PresenceRequest } from '@fieldline/contracts/internal'
import type { InternalTokens } from '@fieldline/service/internal'
import { requireInternal } from '@fieldline/service/internal'
import { parse } from '@fieldline/service/parse'
import { Router } from 'express'
import type { Roster } from './presence/roster.ts'

export interface RouteDeps {
  readonly internalTokens: InternalTokens
  readonly roster: () => Roster
  /** First part of this replica's engine ids. */
  readonly name: string
  readonly isDraining: () => boolean
}

export function realtimeRoutes({ internalTokens, roster, name, isDraining }: RouteDeps): Router {
  const routes = Router()
  routes.use('/internal', requireInternal(internalTokens))
  routes.post('/internal/presence', async (req, res) => {
    const { personIds } = parse(PresenceRequest, req.body)
    res.json({ people: await roster().query(personIds) })
  })
  routes.get('/internal/replica', (_req, res) => {
    res.json({ name, ready: !isDraining() })
  })
  return routes
}
