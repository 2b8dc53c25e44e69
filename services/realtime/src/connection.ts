// A connection's life: its handshake, its place among its person's sockets, its token's end, its own end (spec 5, "Ends that heal").
import { AppError } from '@fieldline/contracts/errors'
import type { Person } from '@fieldline/contracts/people'
import type { Verifier } from '@fieldline/service/auth'
import type { Logger } from '@fieldline/service/logger'
import type { Audience } from './audience.ts'
import { type Confirmations, engineOf } from './confirm.ts'
import { Deadlines } from './deadlines.ts'
import { validTraceparent } from './door.ts'
import { type Engine, releaseHandshake } from './engine.ts'
import type { RealtimeMetrics } from './metrics.ts'
import { type ChatSocket, clientMarks, deviceMarks, pidOf, Session } from './session.ts'

export interface ConnectionDeps {
  readonly engine: Engine
  readonly verifier: Verifier
  readonly audience: Audience
  readonly confirmations: Confirmations
  readonly metrics: RealtimeMetrics
  readonly log: Logger
  readonly mostSockets: number
  readonly slowReaderBytes: number
  readonly probeMs: number
  readonly take: (session: Session, event: string, args: readonly unknown[]) => Promise<void>
  readonly arrived: (session: Session) => void
  readonly gone: (session: Session) => void
}

const expiryNoticeMs = 60_000
const tickMs = 1_000
const probeSteps = 5

export class Connections {
  readonly #deps: ConnectionDeps
  readonly #warnings = new Deadlines<Session>()
  readonly #expiries = new Deadlines<Session>()
  /** Who waits for the answer of a session that is asked. */
  readonly #probes = new WeakMap<Session, (() => void)[]>()
  #timer: NodeJS.Timeout | undefined

  constructor(deps: ConnectionDeps) {
    this.#deps = deps
    const { io } = deps.engine
    io.use((socket, next) => void this.#admit(socket, next))
    io.on('connection', (socket) => this.#connected(socket))
  }

  start(): void {
    this.#timer = setInterval(() => this.#tick(), tickMs).unref()
  }
  stop(): void {
    clearInterval(this.#timer)
  }

  /** After `auth:refresh`. */
  refreshed(session: Session): void {
    this.#warnings.remove(session)
    this.#expiries.remove(session)
    this.#schedule(session)
  }

  /** Asks a device that looks alive, while it seems to have come back already; without an answer its connection is over. */
  probe(socketId: string, answered: () => void): void {
    const session = this.#deps.engine.io.sockets.sockets.get(socketId)?.data.session
    if (!session || session.closed) return
    const asked = this.#probes.get(session)
    asked?.push(answered)
    if (asked) return
    const engine = engineOf(session)
    this.#probes.set(session, [answered])
    // In steps, so that what this replica itself stands still for counts as one: an answer may have lain there all the while.
    let steps = probeSteps
    const timer = setInterval(() => {
      steps -= 1
      if (steps > 0) return
      clearInterval(timer)
      this.#deps.metrics.drops.inc({ reason: 'no-answer' })
      session.close()
      engine.transport.socket?.terminate()
    }, this.#deps.probeMs / probeSteps)
    timer.unref()
    engine.once('heartbeat', () => {
      clearInterval(timer)
      for (const tell of this.#probes.get(session) ?? []) tell()
      this.#probes.delete(session)
    })
    engine.sendPacket('ping')
  }

  /** Only a bad token is refused for good; what may pass ends the connection, so that the client comes again. */
  async #admit(socket: ChatSocket, next: (error?: Error) => void): Promise<void> {
    const { verifier, metrics, log } = this.#deps
    const token: unknown = socket.handshake.auth.token
    try {
      if (typeof token !== 'string' || token === '') throw new AppError('UNAUTHENTICATED', 'Authentication required')
      const admitted = { person: await verifier.verify(token), token, ...clientMarks(socket.handshake.auth.pid) }
      // Socket.IO puts it into its answer; the recovery that it is for is off.
      Object.assign(socket, { pid: pidOf(admitted) })
      socket.data.admitted = admitted
      next()
    } catch (error) {
      if (error instanceof AppError && error.status === 401) {
        metrics.refused.inc({ reason: 'token' })
        next(Object.assign(new Error(error.message), { data: { code: error.code, message: error.message, retryable: false } }))
        return
      }
      log.warn({ err: error }, 'a token could not be checked now')
      metrics.refused.inc({ reason: 'unavailable' })
      socket.conn.close()
    }
  }

  #connected(socket: ChatSocket): void {
    const { admitted } = socket.data
    if (!admitted) {
      socket.conn.close()
      return
    }
    const { engine, audience, confirmations, arrived, mostSockets, metrics } = this.#deps
    const { clientId, shown } = admitted
    const marks = { ...deviceMarks(admitted.token, socket.handshake.headers['user-agent']), clientId, shown }
    const session = new Session(socket, admitted, marks, validTraceparent(socket.handshake.auth.traceparent))
    socket.data = { session }
    engine.authenticated(engineOf(session).id)
    releaseHandshake(socket)
    confirmations.watch(session)
    socket.onAny(this.#onAny)
    socket.on('disconnect', this.#onDisconnect)
    const theirs = audience.of(session.person.id)
    // A client that is back has no other connection, whatever its old one looks like.
    if (shown) for (const other of [...theirs]) if (other.clientId === clientId) other.close()
    if (theirs.size >= mostSockets) {
      const [oldest] = theirs
      metrics.drops.inc({ reason: 'too-many-sockets' })
      oldest?.close()
    }
    audience.add(session)
    this.#schedule(session)
    arrived(session)
  }

  #schedule(session: Session): void {
    const { exp } = session.person
    if (exp === null) return
    this.#warnings.add(session, exp * 1_000 - expiryNoticeMs)
    this.#expiries.add(session, exp * 1_000)
  }

  #tick(): void {
    const now = Date.now()
    for (const session of this.#warnings.due(now)) session.emit('auth:expiring', { expiresAt: expiryOf(session.person) })
    for (const session of this.#expiries.due(now)) this.#expire(session)
    for (const session of this.#deps.audience.sessions()) if (this.#isSlow(session)) this.#drop(session)
  }

  /** For good: a client that came back with the same token would only be refused. */
  #expire(session: Session): void {
    const message = 'The token has expired'
    session.emit('error', { message, code: 'TOKEN_EXPIRED', retryable: false })
    session.socket.disconnect(true)
  }

  #isSlow(session: Session): boolean {
    const { transport, writeBuffer } = engineOf(session)
    let unsent = transport.socket?.bufferedAmount ?? 0
    for (const { data } of writeBuffer) unsent += typeof data === 'string' ? data.length : 0
    return unsent > this.#deps.slowReaderBytes
  }

  #drop(session: Session): void {
    this.#deps.metrics.drops.inc({ reason: 'slow-reader' })
    this.#deps.log.info({ personId: session.person.id }, 'a reader was too slow')
    const { transport } = engineOf(session)
    session.close()
    // Its buffer goes now, not when it has read it.
    transport.socket?.terminate()
  }

  // One function for all sockets: a closure each would cost memory for every idle one.
  readonly #onAny = ((self: Connections) =>
    function (this: ChatSocket, event: string | number, ...args: unknown[]): void {
      const { session } = this.data
      // Socket.IO's parser lets a number be an event's name too.
      if (session && !session.closed) void self.#deps.take(session, String(event), args)
    })(this)
  readonly #onDisconnect = ((self: Connections) =>
    function (this: ChatSocket): void {
      const { session } = this.data
      if (!session || session.closed) return
      session.closed = true
      self.#warnings.remove(session)
      self.#expiries.remove(session)
      self.#deps.audience.remove(session)
      self.#deps.gone(session)
      // Who leaves the namespace but keeps the line would hold it for good, counted in no limit; a stock client hangs up by itself.
      session.end()
    })(this)
}

function expiryOf({ exp }: Person): string {
  return new Date((exp ?? 0) * 1_000).toISOString()
}
