// A service's HTTP server: request ids, JSON, the error edge, metrics, and an end that finishes what runs.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { AppError } from '@fieldline/contracts/errors'
import express, { type Express, type RequestHandler } from 'express'
import { type AdminSource, adminRouter } from './admin.ts'
import type { Health } from './health.ts'
import { errorHandler, notFound } from './http-errors.ts'
import type { Part } from './lifecycle.ts'
import type { Logger } from './logger.ts'
import { histogram, type Registry } from './metrics.ts'
import { requestIdFrom, withRequestId } from './request-context.ts'

declare module 'express-serve-static-core' {
  interface Request {
    requestId: string
  }
}

export interface HttpOptions {
  name: string
  log: Logger
  health: Health
  registry: Registry
  host: string
  /** 0 takes a free one. */
  port: number
  /** Port of health and metrics; undefined: they are on `port`. */
  adminPort?: number | undefined
  drainMs: number
  /** Takes a request before Express does (true: it is answered there): for a door where Express itself would be most of the cost. */
  first?: (req: IncomingMessage, res: ServerResponse) => boolean
  /** Adds the service's middleware and doors, behind request id and JSON parser. */
  routers: (app: Express) => void
  /** Bytes of a JSON body; false leaves bodies alone (a proxy). Default 1 MiB. */
  jsonLimit?: number | false
  /** Content types of bodies let through unparsed (`multipart/form-data`); others than JSON get 415. */
  otherBodies?: readonly string[]
  /** How long a request may take to arrive in whole; 0 for no limit (slow uploads). Default 60 s. */
  requestTimeoutMs?: number
  /** Whose health and metrics are shown; default: this service's. The embedded run shows all five's. */
  admin?: readonly AdminSource[]
}

export interface HttpPart extends Part {
  /** For what attaches itself: Socket.IO, upgrades. Upgraded sockets are ended by whoever took them, not here. */
  readonly server: Server
  /** Base address once started, e.g. `http://127.0.0.1:4001`. */
  readonly url: string | undefined
  readonly adminUrl: string | undefined
  /** Takes no new connections from now on; what runs goes on. `stop` does it too. */
  stopAccepting(): void
  start(): Promise<void>
  stop(): Promise<void>
}

export function createHttp(options: HttpOptions): HttpPart {
  const { name, log, health, registry, host, port, adminPort, drainMs, first } = options
  const admin = adminRouter(options.admin ?? [{ name, health, registry }])
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  const server = createServer(
    {
      keepAliveTimeout: 65_000,
      headersTimeout: 20_000,
      requestTimeout: options.requestTimeoutMs ?? 60_000,
      maxHeaderSize: 32_768,
      noDelay: true,
    },
    first ? (req, res) => void (first(req, res) || app(req, res)) : app,
  )
  const running = followRequests(server)
  app.use(
    observe(registry),
    identify(() => !server.listening),
  )
  if (adminPort === undefined) app.use(admin)
  if (options.jsonLimit !== false) app.use(jsonBody(options.jsonLimit ?? 1_048_576, options.otherBodies ?? []))
  options.routers(app)
  app.use(notFound, errorHandler(log))
  server.on('clientError', refuseMalformed)

  const adminServer =
    adminPort === undefined ? undefined : createServer(express().disable('x-powered-by').use(admin, notFound, errorHandler(log)))
  let url: string | undefined
  let adminUrl: string | undefined

  function stopAccepting(): void {
    if (server.listening) server.close()
  }

  return {
    name: 'http',
    server,
    get url() {
      return url
    },
    get adminUrl() {
      return adminUrl
    },
    stopAccepting,
    async start() {
      if (adminServer) adminUrl = await listen(adminServer, host, adminPort ?? 0)
      url = await listen(server, host, port)
      log.info({ url, ...(adminUrl ? { adminUrl } : {}) }, 'listening')
    },
    async stop() {
      stopAccepting()
      await running.end(drainMs)
      server.closeAllConnections()
      if (adminServer) await closeNow(adminServer)
    },
  }
}

/** Connections that wait to be accepted: when a replica restarts all its clients come at once, and the kernel makes whoever finds no place try again a second and more later (Node's own: 511). */
const mostWaiting = 4_096

async function listen(server: Server, host: string, port: number): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, host, backlog: mostWaiting }, () => {
      server.off('error', reject)
      resolve()
    })
  })
  const bound = server.address() as AddressInfo
  const reachable = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${bound.port}`
}

function closeNow(server: Server): Promise<void> {
  return new Promise((resolve) => {
    if (!server.listening) {
      resolve()
      return
    }
    server.close(() => resolve())
    server.closeAllConnections()
  })
}

/** Counts what is being answered, so that the end can wait for it. */
function followRequests(server: Server): { end(withinMs: number): Promise<void> } {
  let running = 0
  let idle: (() => void) | undefined
  server.on('request', (_req, res) => {
    running += 1
    res.once('close', () => {
      running -= 1
      if (running === 0) idle?.()
    })
  })
  return {
    async end(withinMs) {
      if (running === 0) return
      const sweep = setInterval(() => server.closeIdleConnections(), 50)
      let deadline: NodeJS.Timeout | undefined
      await new Promise<void>((resolve) => {
        idle = resolve
        deadline = setTimeout(resolve, withinMs)
      })
      clearTimeout(deadline)
      clearInterval(sweep)
    },
  }
}

/** Request id, and what holds for every answer. A client on a kept connection is told to leave while we stop. */
function identify(stopping: () => boolean): RequestHandler {
  return (req, res, next) => {
    req.requestId = requestIdFrom(req.get('x-request-id'))
    res.set({ 'X-Request-Id': req.requestId, 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff' })
    if (stopping()) res.set('Connection', 'close')
    withRequestId(req.requestId, next)
  }
}

function jsonBody(limit: number, otherBodies: readonly string[]): RequestHandler[] {
  const isJson = (type: string) => type === '' || type === 'application/json' || /^application\/[\w.-]+\+json$/.test(type)
  const typeOf = (header: string | undefined) => (header ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
  return [
    (req, _res, next) => {
      const type = typeOf(req.get('content-type'))
      const hasBody = req.headers['transfer-encoding'] !== undefined || Number(req.get('content-length') ?? 0) > 0
      if (hasBody && !isJson(type) && !otherBodies.includes(type)) {
        throw new AppError('UNSUPPORTED_MEDIA_TYPE', `The body must be application/json, not ${type.slice(0, 100)}`)
      }
      next()
    },
    // Not strict: `null` is the same as no body where none is needed.
    express.json({ limit, strict: false, type: (req) => isJson(typeOf(req.headers['content-type'])) }),
  ]
}

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])
const mostRoutes = 200

/** Durations by route pattern: bounded, whatever clients ask for. */
function observe(registry: Registry): RequestHandler {
  const durations = histogram(registry, 'fieldline_http_request_duration_seconds', 'Time to answer a request', [
    'method',
    'route',
    'status',
  ])
  const routes = new Set<string>()
  return (req, res, next) => {
    const began = performance.now()
    res.once('close', () => {
      const pattern: unknown = req.route?.path
      const known = typeof pattern === 'string' ? `${withoutIds(req.baseUrl)}${pattern}` : 'none'
      if (routes.size < mostRoutes) routes.add(known)
      const route = routes.has(known) ? known : 'other'
      const method = methods.has(req.method) ? req.method : 'OTHER'
      const status = res.writableFinished ? `${Math.floor(res.statusCode / 100)}xx` : 'aborted'
      durations.observe({ method, route, status }, (performance.now() - began) / 1_000)
    })
    next()
  }
}

/** A router mounted below a parameter shows its value in `baseUrl`. */
function withoutIds(path: string): string {
  return path === '' ? path : path.replace(/\/[^/]*\d[^/]*/g, (part) => (/^\/v\d$/.test(part) ? part : '/:id'))
}

/** What is no HTTP gets an answer where it still can, and nothing here falls over. */
function refuseMalformed(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const [status, code, message] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? ['431 Request Header Fields Too Large', 'BAD_REQUEST', 'The headers are too large']
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? ['408 Request Timeout', 'BAD_REQUEST', 'The request took too long to arrive']
        : ['400 Bad Request', 'BAD_REQUEST', 'The request is malformed']
  const body = JSON.stringify({ success: false, message, code, requestId: requestIdFrom(undefined) })
  socket.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}
