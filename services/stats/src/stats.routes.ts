// HTTP door of the statistics.
import { texts } from '@fieldline/contracts/envelopes'
import type { Person } from '@fieldline/contracts/people'
import { StatsQuery } from '@fieldline/contracts/stats'
import type { Clock } from '@fieldline/service/clock'
import { parse } from '@fieldline/service/parse'
import { Router } from 'express'
import type { NamedAgent } from './entries.ts'
import type { FactsStore } from './facts.store.ts'
import { figures } from './figures.ts'
import { readQuestion } from './question.ts'

export interface StatsRoutesDeps {
  store: FactsStore
  clock: Clock
  maxRangeDays: number
}

export function statsRoutes({ store, clock, maxRangeDays }: StatsRoutesDeps): Router {
  const routes = Router()
  routes.get('/support/stats', async (req, res) => {
    const now = clock.now()
    const question = readQuestion(parse(StatsQuery, req.query, 'query'), req.person, now, maxRangeDays)
    const self = req.person.role === 'Support' ? agentOf(req.person) : null
    const generation = await store.generation(await store.current())
    res.json({ message: texts.stats, data: await figures(generation, question, self, now) })
  })
  return routes
}

function agentOf({ id, role, firstName, lastName }: Person): NamedAgent {
  return { id, role, firstName, lastName, at: 0 }
}
