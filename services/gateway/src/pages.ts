// What holds for every answer a browser may see: security headers, CORS, compression of JSON, and the limit of what anybody may ask for.
import compression from 'compression'
import cors from 'cors'
import type { RequestHandler } from 'express'
import helmet from 'helmet'
import { limitKey, originOf } from './address.ts'
import type { GatewayConfig } from './config.ts'
import type { Limits } from './limits.ts'

const localhost = /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?$/

/** Whether a web page of that origin may read our answers. */
export function originAllowed(origin: string, config: Pick<GatewayConfig, 'corsOrigins' | 'nodeEnv'>): boolean {
  if (config.corsOrigins.length > 0)
    return config.corsOrigins.some((one) => one === '*' || one.replace(/\/+$/, '').toLowerCase() === origin.toLowerCase())
  return config.nodeEnv !== 'production' && localhost.test(origin)
}

export function corsHeaders(config: GatewayConfig): RequestHandler {
  return cors({
    origin: (origin, answer) => answer(null, origin !== undefined && originAllowed(origin, config)),
    methods: ['GET', 'HEAD', 'POST', 'PATCH'],
    allowedHeaders: [
      'Authorization',
      'Content-Type',
      'Idempotency-Key',
      'X-Request-Id',
      'Range',
      'If-None-Match',
      'traceparent',
      'tracestate',
    ],
    exposedHeaders: ['X-Request-Id', 'Retry-After', 'RateLimit-Limit', 'RateLimit-Remaining', 'RateLimit-Reset', 'ETag', 'Content-Range'],
    // Nothing here lives on cookies, but a Socket.IO client may be told to send them.
    credentials: true,
    maxAge: 600,
    optionsSuccessStatus: 204,
  })
}

/** For what is no page: nothing may be run, framed or sniffed. Files are shown by web clients of other origins, so they may be embedded. */
export function securityHeaders(config: GatewayConfig): RequestHandler {
  return helmet({
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
    crossOriginResourcePolicy: { policy: 'cross-origin' },
    // Headers that say something about pages only are left out: every byte counts on 2G.
    crossOriginEmbedderPolicy: false,
    crossOriginOpenerPolicy: false,
    originAgentCluster: false,
    xDnsPrefetchControl: false,
    xDownloadOptions: false,
    xPermittedCrossDomainPolicies: false,
    xXssProtection: false,
    xFrameOptions: { action: 'deny' },
    referrerPolicy: { policy: 'no-referrer' },
    strictTransportSecurity: config.publicUrl.startsWith('https:'),
  })
}

/** Only JSON: what media sends is compressed already. */
export function compressJson(config: GatewayConfig): RequestHandler {
  return compression({
    threshold: config.compressFromBytes,
    level: 4,
    filter: (_req, res) => /^application\/([\w.-]+\+)?json\b/.test(String(res.getHeader('Content-Type') ?? '')),
  })
}

/** For whatever is answered to anybody: it counts against the address. */
export function countedByAddress(config: GatewayConfig, limits: Limits): RequestHandler {
  return async (req, res, next) => {
    const { address } = originOf(req, config.trustedProxies)
    await limits.take('anonymous', limitKey(address), (standing) => res.setHeaders(new Map(Object.entries(standing))))
    next()
  }
}

/** The headers a middleware sets on every answer, so that they need not be worked out for each. */
export function headersOf(middleware: RequestHandler): Record<string, string> {
  const headers: Record<string, string> = {}
  const res = {
    setHeader: (name: string, value: string) => Object.assign(headers, { [name.toLowerCase()]: value }),
    removeHeader: () => undefined,
  }
  const untyped = middleware as unknown as (req: object, res: object, next: () => void) => void
  untyped({ headers: {} }, res, () => undefined)
  return headers
}
