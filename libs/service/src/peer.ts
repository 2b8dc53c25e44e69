// Calls to another service: one undici Pool under one breaker; whatever goes wrong comes back as an AppError.
import { AppError } from '@fieldline/contracts/errors'
import CircuitBreaker from 'opossum'
import { type Dispatcher, Pool } from 'undici'
import type { ZodType } from 'zod'
import type { Health } from './health.ts'
import type { InternalTokens } from './internal.ts'
import type { Part } from './lifecycle.ts'
import type { Logger } from './logger.ts'
import { gauge, histogram, type Registry } from './metrics.ts'
import { answerOf, fromFault, mayRetry, PeerFault, type Raw, speaksAgainst } from './peer-answer.ts'
import { currentRequestId } from './request-context.ts'

export interface PeerCall<T> {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Begins with `/`; ids in it are encoded by the caller. */
  path: string
  query?: Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>
  body?: unknown
  /** The caller's token; without it the call carries a service's own. */
  token?: string
  headers?: Readonly<Record<string, string>>
  schema?: ZodType<T>
  /** May be sent twice (default: a GET): retried once where no answer came or the answer was 502 or 503. */
  idempotent?: boolean
  /** The asker's own end: aborts the call, which then counts as nobody's failure. */
  signal?: AbortSignal
  /** For this call instead of the peer's. */
  timeoutMs?: number
}

export interface PeerAnswer<T> {
  status: number
  body: T
}

export interface Peer extends Part {
  /** @throws AppError as the peer answered it; UNAVAILABLE (with `retryAfter`) when it cannot be reached, is late, or its breaker is open */
  call<T = unknown>(call: PeerCall<T>): Promise<PeerAnswer<T>>
  readonly open: boolean
}

export interface PeerOptions {
  name: string
  url: string
  internalTokens: InternalTokens
  log: Logger
  /** From the call to the last byte of its answer. Default 5,000. */
  timeoutMs?: number
  connections?: number
  breaker?: { failuresPercent?: number; leastCalls?: number; windowMs?: number; resetMs?: number }
  registry?: Registry
  /** Shows the peer beside the dependencies; its being away does not make this service unready. */
  health?: Health
}

const largestAnswer = 16 * 1_024 * 1_024
const unreachable = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'UND_ERR_SOCKET',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_CLOSED',
  'UND_ERR_DESTROYED',
])

export function createPeer(options: PeerOptions): Peer {
  const { name, internalTokens, log, timeoutMs = 5_000, registry } = options
  const base = new URL(options.url)
  const prefix = base.pathname.replace(/\/$/, '')
  // Idle connections end here before they do over there (65 s), so that no request meets a closing one.
  const pool = new Pool(base.origin, {
    connections: options.connections ?? 64,
    pipelining: 1,
    keepAliveTimeout: 30_000,
    keepAliveMaxTimeout: 55_000,
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: { timeout: 2_000 },
  })
  const { failuresPercent = 50, leastCalls = 10, windowMs = 10_000, resetMs = 2_000 } = options.breaker ?? {}
  const breaker = new CircuitBreaker((call: PeerCall<unknown>) => send(call), {
    timeout: false,
    errorThresholdPercentage: failuresPercent,
    volumeThreshold: leastCalls,
    rollingCountTimeout: windowMs,
    resetTimeout: resetMs,
    errorFilter: (error: unknown) => !(error instanceof PeerFault),
  })
  const durations = registry && peerDurations(registry)
  const openGauge = registry && peerOpen(registry)
  openGauge?.set({ peer: name }, 0)
  const state = options.health?.dependency(name, { required: false })
  state?.up()
  breaker.on('open', () => {
    openGauge?.set({ peer: name }, 1)
    state?.down('breaker open')
    log.warn({ peer: name }, 'breaker opened')
  })
  breaker.on('close', () => {
    openGauge?.set({ peer: name }, 0)
    state?.up()
    log.info({ peer: name }, 'breaker closed')
  })

  async function send(call: PeerCall<unknown>): Promise<Raw> {
    const late = new AbortController()
    const signal = call.signal ? AbortSignal.any([call.signal, late.signal]) : late.signal
    const timer = setTimeout(() => late.abort(), call.timeoutMs ?? timeoutMs)
    try {
      const answer = await pool.request({ ...requestOf(call), signal })
      const raw = { status: answer.statusCode, headers: answer.headers, text: await readText(answer.body) }
      if (speaksAgainst(raw)) throw new PeerFault('answered', raw)
      return raw
    } catch (error) {
      if (error instanceof PeerFault) throw error
      if (call.signal?.aborted) throw error
      if (late.signal.aborted) throw new PeerFault('late', undefined, error)
      if (unreachable.has(codeOf(error))) throw new PeerFault('unreachable', undefined, error)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  function requestOf(call: PeerCall<unknown>): Dispatcher.RequestOptions {
    if (!call.path.startsWith('/')) throw new Error('a path begins with /')
    const requestId = currentRequestId()
    const headers: Record<string, string> = {
      accept: 'application/json',
      ...(requestId === undefined ? {} : { 'x-request-id': requestId }),
      ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
      ...call.headers,
      authorization: `Bearer ${call.token ?? internalTokens.issue()}`,
    }
    return {
      method: call.method,
      path: `${prefix}${call.path}${queryOf(call.query)}`,
      headers,
      body: call.body === undefined ? null : JSON.stringify(call.body),
    }
  }

  async function attempt(call: PeerCall<unknown>): Promise<Raw> {
    try {
      return await breaker.fire(call)
    } catch (error) {
      if (!(call.idempotent ?? call.method === 'GET') || !mayRetry(error) || call.signal?.aborted) throw error
      await pause(10 + Math.random() * 90)
      return breaker.fire(call)
    }
  }

  return {
    name: `peer ${name}`,
    get open() {
      return breaker.opened
    },
    async call<T>(call: PeerCall<T>): Promise<PeerAnswer<T>> {
      const began = performance.now()
      let outcome = 'failed'
      try {
        const raw = await attempt(call)
        outcome = `${Math.floor(raw.status / 100)}xx`
        return answerOf(name, call, raw)
      } catch (error) {
        if (error instanceof AppError) throw error
        if (error instanceof PeerFault) {
          outcome = error.kind === 'answered' ? '5xx' : error.kind
          throw fromFault(name, error)
        }
        if (CircuitBreaker.isOurError(error as Error)) {
          outcome = 'open'
          throw new AppError('UNAVAILABLE', `${name} is not available now`, {
            retryAfter: Math.ceil(resetMs / 1_000),
            faultOf: name,
            cause: error,
          })
        }
        throw error
      } finally {
        durations?.observe({ peer: name, outcome }, (performance.now() - began) / 1_000)
      }
    },
    async stop() {
      breaker.shutdown()
      await pool.close()
    },
  }
}

function queryOf(query: PeerCall<unknown>['query']): string {
  if (!query) return ''
  const search = new URLSearchParams()
  for (const [key, value] of Object.entries(query)) {
    if (value === undefined) continue
    for (const one of Array.isArray(value) ? value : [value]) search.append(key, String(one))
  }
  const text = search.toString()
  return text === '' ? '' : `?${text}`
}

async function readText(body: Dispatcher.ResponseData['body']): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body) {
    size += (chunk as Buffer).length
    if (size > largestAnswer) throw new Error('the answer is larger than agreed')
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function codeOf(error: unknown): string {
  return Error.isError(error) && 'code' in error ? String(error.code) : ''
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}

const durationsOf = new WeakMap<Registry, ReturnType<typeof makeDurations>>()
const opensOf = new WeakMap<Registry, ReturnType<typeof makeOpen>>()
const makeDurations = (registry: Registry) =>
  histogram(registry, 'fieldline_peer_request_duration_seconds', 'Time of a call to another service', ['peer', 'outcome'])
const makeOpen = (registry: Registry) =>
  gauge(registry, 'fieldline_peer_breaker_open', '1 while the breaker to a service is open', ['peer'])

function peerDurations(registry: Registry): ReturnType<typeof makeDurations> {
  const made = durationsOf.get(registry) ?? makeDurations(registry)
  durationsOf.set(registry, made)
  return made
}
function peerOpen(registry: Registry): ReturnType<typeof makeOpen> {
  const made = opensOf.get(registry) ?? makeOpen(registry)
  opensOf.set(registry, made)
  return made
}
