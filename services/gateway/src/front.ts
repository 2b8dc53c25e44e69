// The front of the server: requests for the services behind are taken here, before Express, whose own work would cost more than all of ours.
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Logger } from '@fieldline/service/logger'
import type { Histogram, Registry } from '@fieldline/service/metrics'
import { requestIdFrom, withRequestId } from '@fieldline/service/request-context'
import type { RequestHandler } from 'express'
import { refuse } from './answers.ts'
import { ClientLeft } from './breaker.ts'
import type { GatewayConfig } from './config.ts'
import { compressJson, corsHeaders, headersOf, securityHeaders } from './pages.ts'

/** Answers one request; `headers` are those its answer begins with, and whoever answers may add to them. @throws AppError, ClientLeft */
export type Door = (req: IncomingMessage, res: ServerResponse, headers: OutgoingHttpHeaders, requestId: string) => Promise<void>

export interface FrontDeps {
  config: GatewayConfig
  log: Logger
  registry: Registry
  rest: Door
  /** While the server stops, clients on kept connections are told to leave. */
  stopping: () => boolean
}

const restPath = /^\/(?:api\/v1\/chat\/(?:conversations|messages|support|media)|uploads\/chat)(?=[/?]|$)/

export function createFront({ config, log, registry, rest, stopping }: FrontDeps): (req: IncomingMessage, res: ServerResponse) => boolean {
  const always: OutgoingHttpHeaders = { 'cache-control': 'no-store', ...headersOf(securityHeaders(config)), vary: 'Origin' }
  const cors = plain(corsHeaders(config))
  const compress = plain(compressJson(config))
  let durations: Histogram<'method' | 'route' | 'status'> | undefined

  function observe(req: IncomingMessage, res: ServerResponse, route: string, began: number): void {
    durations ??= registry.getSingleMetric('fieldline_http_request_duration_seconds') as typeof durations
    const status = res.writableFinished ? `${Math.floor(res.statusCode / 100)}xx` : 'aborted'
    durations?.observe(
      { method: methods.has(req.method ?? '') ? String(req.method) : 'OTHER', route, status },
      (performance.now() - began) / 1_000,
    )
  }

  return (req, res) => {
    const route = restPath.exec(req.url ?? '')?.[0]
    // Preflights are Express's: they ask nothing of a service.
    if (route === undefined || req.method === 'OPTIONS') return false
    const began = performance.now()
    const requestId = requestIdFrom(single(req.headers['x-request-id']))
    const headers = { ...always, 'x-request-id': requestId }
    if (stopping()) Object.assign(headers, { connection: 'close' })
    res.once('close', () => observe(req, res, route, began))
    if (req.headers.origin !== undefined) cors(req, res)
    if (req.headers['accept-encoding'] !== undefined) compress(req, res)
    withRequestId(requestId, () => {
      rest(req, res, headers, requestId).catch((error: unknown) => {
        if (error instanceof ClientLeft) res.destroy()
        else refuse(res, error, headers, requestId, log)
      })
    })
    return true
  }
}

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'])

/** Middleware that needs nothing of Express, and calls on at once. */
function plain(middleware: RequestHandler): (req: IncomingMessage, res: ServerResponse) => void {
  const untyped = middleware as unknown as (req: IncomingMessage, res: ServerResponse, next: () => void) => void
  return (req, res) => untyped(req, res, () => undefined)
}

function single(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value
}
