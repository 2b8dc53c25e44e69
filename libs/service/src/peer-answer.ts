// What a peer's answer means: a result, a refusal to hand on, or a failure that speaks against the peer. Pure.
import { AppError, isErrorCode } from '@fieldline/contracts/errors'
import type { ZodType } from 'zod'

/** The part of a call that its answer is judged by. */
interface Asked<T> {
  method: string
  token?: string
  schema?: ZodType<T>
}

export interface Raw {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
}

/** A failure that speaks against the peer: it counts for the breaker. */
export class PeerFault extends Error {
  override readonly name = 'PeerFault'
  readonly kind: 'unreachable' | 'late' | 'answered'
  readonly answer: Raw | undefined
  constructor(kind: PeerFault['kind'], answer?: Raw, cause?: unknown) {
    super(`the peer ${kind === 'answered' ? `answered ${answer?.status}` : `is ${kind}`}`, { cause })
    this.kind = kind
    this.answer = answer
  }
}

/** 503 with a code of its own speaks of one conversation or one file; only UNAVAILABLE speaks of the whole peer. */
export function speaksAgainst(raw: Raw): boolean {
  if (raw.status < 500 || raw.headers['x-fault-of'] !== undefined) return false
  if (raw.status !== 503) return true
  const code = envelopeOf(raw.text)?.code
  return !isErrorCode(code) || code === 'UNAVAILABLE'
}

export function mayRetry(error: unknown): boolean {
  if (!(error instanceof PeerFault)) return false
  return error.kind === 'unreachable' || error.answer?.status === 502 || error.answer?.status === 503
}

export function fromFault(name: string, fault: PeerFault): AppError {
  const { answer } = fault
  if (!answer) return new AppError('UNAVAILABLE', `${name} is not available now`, { retryAfter: 1, faultOf: name, cause: fault })
  if (answer.status === 500) return new AppError('INTERNAL', 'Internal server error', { cause: fault })
  return new AppError('UNAVAILABLE', `${name} is not available now`, { retryAfter: retryAfterOf(answer) ?? 1, faultOf: name, cause: fault })
}

export function answerOf<T>(name: string, call: Asked<T>, raw: Raw): { status: number; body: T } {
  if (raw.status < 200 || raw.status > 299) throw refusalOf(name, call, raw)
  const body: unknown = raw.text === '' ? undefined : JSON.parse(raw.text)
  if (!call.schema) return { status: raw.status, body: body as T }
  const parsed = call.schema.safeParse(body)
  if (!parsed.success) throw new Error(`${name} answered ${call.method} with another shape than agreed`, { cause: parsed.error })
  return { status: raw.status, body: parsed.data }
}

function refusalOf(name: string, call: Asked<unknown>, raw: Raw): Error {
  // A refused service token is a fault of ours, not of the person's who asks.
  if (call.token === undefined && raw.status === 401) return new Error(`${name} refused this service's internal token`)
  const { code, message, details } = envelopeOf(raw.text) ?? {}
  if (!isErrorCode(code)) return new Error(`${name} answered ${raw.status} without an envelope`)
  const retryAfter = retryAfterOf(raw)
  const faultOf = raw.headers['x-fault-of']
  return new AppError(code, typeof message === 'string' ? message : `${name} refused`, {
    ...(Array.isArray(details) ? { details } : {}),
    ...(retryAfter === undefined ? {} : { retryAfter }),
    ...(typeof faultOf === 'string' ? { faultOf } : {}),
  })
}

function envelopeOf(text: string): { code?: unknown; message?: unknown; details?: unknown } | undefined {
  try {
    const parsed: unknown = JSON.parse(text)
    return typeof parsed === 'object' && parsed !== null ? parsed : undefined
  } catch {
    return undefined
  }
}

function retryAfterOf({ headers }: Raw): number | undefined {
  const seconds = Number(headers['retry-after'])
  return Number.isFinite(seconds) && seconds > 0 ? seconds : undefined
}
