// Health and metrics over HTTP, of one service or, in the embedded run, of several in one process.
import { Router } from 'express'
import type { Health, ReadyReport } from './health.ts'
import { metricsText, metricsType, type Registry } from './metrics.ts'

export interface AdminSource {
  name: string
  health: Health
  registry: Registry
}

/** `/health/live`, `/health/ready` (dependencies by name; by `service/name` where there are several services) and `/metrics`. */
export function adminRouter(sources: readonly AdminSource[]): Router {
  const routes = Router()
  routes.use((_req, res, next) => {
    res.set('Cache-Control', 'no-store')
    next()
  })
  routes.get('/health/live', (_req, res) => {
    res.json({ status: 'live' })
  })
  routes.get('/health/ready', async (_req, res) => {
    const report = await readiness(sources)
    res.status(report.status === 'ready' ? 200 : 503).json(report)
  })
  routes.get('/metrics', async (_req, res) => {
    res.type(metricsType).send(await metricsText(sources.map(({ registry }) => registry)))
  })
  return routes
}

const worstFirst: readonly ReadyReport['status'][] = ['stopping', 'starting', 'unready', 'ready']

async function readiness(sources: readonly AdminSource[]): Promise<ReadyReport> {
  const reports = await Promise.all(sources.map(async ({ name, health }) => ({ name, ...(await health.ready()) })))
  const dependencies: ReadyReport['dependencies'] = {}
  for (const report of reports) {
    for (const [dependency, state] of Object.entries(report.dependencies)) {
      dependencies[sources.length === 1 ? dependency : `${report.name}/${dependency}`] = state
    }
  }
  const status = worstFirst.find((one) => reports.some((report) => report.status === one)) ?? 'ready'
  return { status, dependencies }
}
