// The one wrapper around every client event: parses, limits, calls the door, answers. Socket errors are caught here and nowhere else.
import { AppError } from '@fieldline/contracts/errors'
import { type ClientEvent, type ClientPayload, clientEvents, type SocketError } from '@fieldline/contracts/socket'
import type { Logger } from '@fieldline/service/logger'
import { parse } from '@fieldline/service/parse'
import { type Carrier, span } from '@fieldline/service/telemetry'
import type { ZodType } from 'zod'
import type { Rate, RateLimiter } from './limits.ts'
import type { RealtimeMetrics } from './metrics.ts'
import { TakenBack } from './rooms.ts'
import type { Session } from './session.ts'

/** What a door makes of a parsed event; its result is the acknowledgement's `data`. @throws AppError */
export type Door<Event extends ClientEvent> = (session: Session, payload: ClientPayload<Event>) => unknown
export type Doors = { readonly [Event in ClientEvent]: Door<Event> }

export interface DoorDeps {
  readonly limiter: RateLimiter | null
  readonly rates: { readonly [Event in ClientEvent]?: Rate } & { readonly other: Rate }
  readonly metrics: RealtimeMetrics
  readonly log: Logger
  readonly running: { begin(session: Session): () => void }
}

/** Coalesced in silence: never an `error`, and counted in no limit. */
const silent: ReadonlySet<string> = new Set<ClientEvent>(['typing:start', 'typing:stop'])

export function createDoorkeeper(doors: Doors, { limiter, rates, metrics, log, running }: DoorDeps) {
  async function run(session: Session, event: string, payload: unknown): Promise<unknown> {
    if (session.person.exp !== null && Date.now() >= session.person.exp * 1_000 && event !== 'auth:refresh')
      throw new AppError('TOKEN_EXPIRED', 'The token has expired')
    if (session.leaving) throw new AppError('UNAVAILABLE', 'This connection is about to end; say it again on the next', { retryAfter: 1 })
    const known = isClientEvent(event)
    if (limiter && !silent.has(event)) {
      const rate = (known && rates[event]) || rates.other
      const wait = limiter.take(`${known ? event : 'unknown'} ${session.person.id}`, rate)
      if (wait > 0) throw new AppError('RATE_LIMITED', 'Too many of these at once; try again in a moment', { retryAfter: wait })
    }
    if (!known) throw new AppError('BAD_REQUEST', 'There is no such event')
    if (ArrayBuffer.isView(payload)) throw new AppError('VALIDATION_FAILED', 'The payload must be an object, not bytes')
    return through(event, session, payload)
  }

  /** The event's own schema and door, found by its name. */
  function through<Event extends ClientEvent>(event: Event, session: Session, payload: unknown): unknown {
    const schema: ZodType<ClientPayload<Event>> = clientEvents[event] as unknown as ZodType<ClientPayload<Event>>
    const door: Door<Event> = doors[event]
    return door(session, parse(schema, payload, 'event'))
  }

  /** Takes one event with whatever a client sent along. Never rejects. */
  return async function take(session: Session, event: string, args: readonly unknown[]): Promise<void> {
    const last = args.at(-1)
    const acknowledge = typeof last === 'function' ? (last as (answer: unknown) => void) : null
    const payload = args.length > 1 || !acknowledge ? args[0] : undefined
    const done = running.begin(session)
    const label = isClientEvent(event) ? event : 'unknown'
    try {
      const parent = carrierOf(payload) ?? (session.traceparent === undefined ? undefined : { traceparent: session.traceparent })
      const data = silent.has(event)
        ? await run(session, event, payload)
        : await span(`socket ${label}`, {}, () => run(session, event, payload), { parent, kind: 'server' })
      metrics.events.inc({ event: label, outcome: 'ok' })
      acknowledge?.({ ok: true, data: data ?? {} })
    } catch (thrown) {
      const error = thrown instanceof AppError ? thrown : new AppError('INTERNAL', 'Internal server error')
      if (error !== thrown) log.error({ err: thrown, event: label }, 'event failed')
      metrics.events.inc({ event: label, outcome: error.code })
      const { code, retryable } = error
      if (!silent.has(event) && !(error instanceof TakenBack))
        session.emit('error', { message: error.message, code, ...named(event, payload, thrown), retryable })
      acknowledge?.({
        ok: false,
        error: { code, message: error.message, retryable, ...(error.retryAfter === undefined ? {} : { retryAfter: error.retryAfter }) },
      })
    } finally {
      done()
    }
  }
}

/** An error of a send whose key was ours: with it a client can try again without doubling. */
export class SendFailed extends AppError {
  readonly clientMessageId: string
  constructor(cause: AppError, clientMessageId: string) {
    super(cause.code, cause.message, {
      ...(cause.details ? { details: cause.details } : {}),
      ...(cause.retryAfter === undefined ? {} : { retryAfter: cause.retryAfter }),
      cause,
    })
    this.clientMessageId = clientMessageId
  }
}

function isClientEvent(event: string): event is ClientEvent {
  return Object.hasOwn(clientEvents, event)
}

/** What the client called it, as far as that can be told from what may be anything. */
function named(event: string, payload: unknown, thrown: unknown): Pick<SocketError, 'event' | 'conversationId' | 'clientMessageId'> {
  const given = typeof payload === 'object' && payload !== null ? (payload as Record<string, unknown>) : { conversationId: payload }
  const { conversationId, clientMessageId } = given
  const key = thrown instanceof SendFailed ? thrown.clientMessageId : clientMessageId
  return {
    event: event.slice(0, 64),
    ...(isName(conversationId) ? { conversationId } : {}),
    ...(isName(key) ? { clientMessageId: key } : {}),
  }
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= 128
}

const traceparentShape = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/

export function validTraceparent(value: unknown): string | undefined {
  return typeof value === 'string' && traceparentShape.test(value) ? value : undefined
}

function carrierOf(payload: unknown): Carrier | undefined {
  if (typeof payload !== 'object' || payload === null || !('traceparent' in payload)) return undefined
  const traceparent = validTraceparent(payload.traceparent)
  return traceparent === undefined ? undefined : { traceparent }
}
