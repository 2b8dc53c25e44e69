// The Socket.IO server on the service's HTTP server: its limits, whom it refuses for now, and what it must not keep in memory.
import { randomBytes } from 'node:crypto'
import type { Server as HttpServer, IncomingMessage } from 'node:http'
import { Server } from 'socket.io'
import { type EngineConnection, type EngineTransport, mayUpgrade } from './confirm.ts'
import { flushOncePerTurn } from './flush.ts'
import type { RealtimeMetrics } from './metrics.ts'
import { jsonParser } from './parser.ts'
import type { ChatServer, ChatSocket } from './session.ts'

export interface EngineConfig {
  readonly socketPath: string
  readonly packetBytes: number
  readonly pingIntervalMs: number
  readonly pingTimeoutMs: number
  readonly connectTimeoutMs: number
  readonly corsOrigins: readonly string[]
  readonly nodeEnv: string
  readonly trustedProxies: number
  readonly mostConnections: number
  readonly mostUnauthenticated: number
}

export interface Engine {
  readonly io: ChatServer
  /** From now on new handshakes are refused; whoever is refused comes again, elsewhere. */
  refuse(): void
  /** The connection has shown its token. */
  authenticated(connectionId: string): void
}

/** @param instanceName first part of each engine id: `<name>.<random>`, so that the gateway finds the replica that owns a session */
export function createEngine(http: HttpServer, config: EngineConfig, instanceName: () => string, metrics: () => RealtimeMetrics): Engine {
  let refusing = false
  const allowed = originRule(config)
  const strangers = new Strangers(config.mostUnauthenticated)

  function reasonToRefuse(request: IncomingMessage): string | null {
    if (refusing) return 'draining'
    if (!allowed(request.headers.origin)) return 'origin'
    if (io.engine.clientsCount >= config.mostConnections) return 'full'
    return strangers.isFull(addressOf(request, config.trustedProxies)) ? 'unauthenticated' : null
  }

  const io: ChatServer = new Server(http, {
    path: config.socketPath,
    serveClient: false,
    parser: jsonParser,
    perMessageDeflate: false,
    maxHttpBufferSize: config.packetBytes,
    pingInterval: config.pingIntervalMs,
    pingTimeout: config.pingTimeoutMs,
    connectTimeout: config.connectTimeoutMs,
    // CORS headers do not cover WebSocket: the same rule stands in `allowRequest`.
    cors: { origin: (origin, answer) => answer(null, allowed(origin)), credentials: true, maxAge: 600 },
    allowRequest: (request, answer) => {
      const reason = reasonToRefuse(request)
      if (reason !== null) metrics().refused.inc({ reason })
      answer(reason === null ? null : `refused for now: ${reason}`, reason === null)
    },
  })
  Object.assign(io.engine, { generateId: () => `${instanceName()}.${randomBytes(15).toString('base64url')}` })
  // Functions for all connections: closures each would cost memory for every idle one.
  function closed(this: EngineConnection): void {
    strangers.remove(this.id)
  }
  function upgraded(this: EngineConnection): void {
    releaseUpgrade(this.transport)
  }
  io.engine.on('connection', (connection: EngineConnection & { request: IncomingMessage | null }) => {
    const { id, request, transport } = connection
    if (request) strangers.add(id, addressOf(request, config.trustedProxies))
    flushOncePerTurn(connection)
    connection.on('close', closed)
    releaseUpgrade(transport)
    if (mayUpgrade(connection)) connection.on('upgrade', upgraded)
  })
  return {
    io,
    refuse: () => {
      refusing = true
    },
    authenticated: (id) => strangers.remove(id),
  }
}

/** What every socket shows of its handshake once it was admitted. */
const spent = Object.freeze({ headers: {}, time: '', address: '', xdomain: false, secure: false, issued: 0, url: '', query: {}, auth: {} })

/** After its handshake a connection needs its request no more; its headers alone are a third of an idle socket's memory. */
export function releaseHandshake(socket: ChatSocket): void {
  Object.assign(socket, { handshake: spent })
  Object.assign(socket.conn, { request: null })
}

/** The upgrade's response waits for the end of the TCP socket, and with it its request stays in memory. */
function releaseUpgrade(transport: EngineTransport): void {
  if (transport.name !== 'websocket') return
  // Of an answer's headers only polling tells.
  transport.removeAllListeners('headers')
  const { socket } = transport
  const tcp = socket?._socket
  if (!isEmitter(tcp)) return
  for (const listener of tcp.rawListeners('close')) {
    const inner: unknown = 'listener' in listener ? listener.listener : undefined
    // engine.io's own is the only unnamed one; `ws` and Node name theirs.
    if (typeof inner === 'function' && inner.name === '') tcp.removeListener('close', listener)
  }
}

interface CloseEmitter {
  rawListeners(event: 'close'): (((...args: never[]) => void) & { listener?: unknown })[]
  removeListener(event: 'close', listener: (...args: never[]) => void): unknown
}
function isEmitter(value: unknown): value is CloseEmitter {
  return typeof value === 'object' && value !== null && 'rawListeners' in value && 'removeListener' in value
}

/** Connections of each address that have not shown a token yet. */
class Strangers {
  readonly #most: number
  readonly #byAddress = new Map<string, number>()
  readonly #addresses = new Map<string, string>()
  constructor(most: number) {
    this.#most = most
  }
  isFull(address: string): boolean {
    return (this.#byAddress.get(address) ?? 0) >= this.#most
  }
  add(id: string, address: string): void {
    this.#addresses.set(id, address)
    this.#byAddress.set(address, (this.#byAddress.get(address) ?? 0) + 1)
  }
  remove(id: string): void {
    const address = this.#addresses.get(id)
    if (address === undefined || !this.#addresses.delete(id)) return
    const left = (this.#byAddress.get(address) ?? 1) - 1
    if (left > 0) this.#byAddress.set(address, left)
    else this.#byAddress.delete(address)
  }
}

/** Native apps send no origin; web clients one that is configured, or localhost in development. */
export function originRule({
  corsOrigins,
  nodeEnv,
}: Pick<EngineConfig, 'corsOrigins' | 'nodeEnv'>): (origin: string | undefined) => boolean {
  const known = new Set(corsOrigins.map((origin) => origin.replace(/\/+$/, '').toLowerCase()))
  return (origin) => {
    if (origin === undefined || known.has('*') || known.has(origin.toLowerCase())) return true
    return nodeEnv !== 'production' && known.size === 0 && /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/i.test(origin)
  }
}

/** The address as the nearest trusted proxy saw it. */
export function addressOf(request: Pick<IncomingMessage, 'headers' | 'socket'>, trustedProxies: number): string {
  const own = request.socket.remoteAddress ?? ''
  const header = request.headers['x-forwarded-for']
  const seen = (Array.isArray(header) ? header.join(',') : (header ?? ''))
    .split(',')
    .map((one) => one.trim())
    .filter(Boolean)
  return trustedProxies === 0 ? own : (seen.at(-Math.min(trustedProxies, seen.length)) ?? own)
}
