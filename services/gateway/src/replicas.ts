// Realtime's replicas: where they are, what they are called, who takes new handshakes, and which one a session belongs to.
import type { LookupAddress } from 'node:dns'
import { lookup as systemLookup } from 'node:dns/promises'
import type { InternalTokens } from '@fieldline/service/internal'
import type { Part } from '@fieldline/service/lifecycle'
import type { Logger } from '@fieldline/service/logger'
import { z } from 'zod'
import type { GatewayMetrics } from './metrics.ts'
import type { Upstream } from './upstream.ts'

/** `GET /internal/replica`: the name that stands before the dot of the session ids it gives; not ready: it takes no new handshakes. */
const ReplicaAnswer = z.object({ name: z.string().min(1).max(128), ready: z.boolean().default(true) })

export interface Replica {
  readonly url: string
  readonly upstream: Upstream
  name: string | undefined
  state: 'ready' | 'draining' | 'away'
  /** Listed, or in what its name resolved to last; if not it gets no new sessions. */
  wanted: boolean
  /** WebSockets held open to it from here. */
  tunnels: number
}

export interface Replicas extends Part {
  /** The replica that gave this session id; looked for anew, once, where the name is unknown. */
  ownerOf(sid: string): Promise<Replica | undefined>
  /** Who may take a new session, the least loaded first. */
  forHandshake(): Replica[]
  /** Any replica that answers and takes sessions. */
  readonly ready: boolean
}

export interface ReplicasOptions {
  urls: readonly string[]
  tokens: InternalTokens
  everyMs: number
  log: Logger
  metrics: GatewayMetrics
  upstream: (url: string) => Upstream
  /** Default: the system's. */
  lookup?: Lookup | undefined
}

/** Every address of a name. */
export type Lookup = (hostname: string, options: { all: true }) => Promise<LookupAddress[]>

const probeTimeoutMs = 1_500
/** An unknown name makes us look again, but not for each request of a flood. */
const lookAgainMs = 250

export function createReplicas(options: ReplicasOptions): Replicas {
  const { urls, tokens, everyMs, log, metrics, upstream } = options
  const lookup: Lookup = options.lookup ?? systemLookup
  const replicas = new Map<string, Replica>()
  let turn = 0
  let round: Promise<void> | undefined
  let lookedAt = 0
  let timer: NodeJS.Timeout | undefined
  let stopped = false

  async function targets(): Promise<string[]> {
    const found = await Promise.all(urls.map((one) => (one.startsWith('dns+') ? resolve(one) : [one])))
    return found.flat()
  }

  async function resolve(headless: string): Promise<string[]> {
    const { hostname, port, protocol } = new URL(headless)
    const scheme = protocol.slice('dns+'.length)
    try {
      const addresses = await lookup(hostname, { all: true })
      return addresses.map(({ address, family }) => `${scheme}//${family === 6 ? `[${address}]` : address}:${port}`)
    } catch (error) {
      log.warn({ reason: codeOf(error), hostname }, 'realtime could not be resolved')
      // What was known stays: a name server's trouble cuts nobody off.
      return [...replicas.values()].filter(({ wanted }) => wanted).map(({ url }) => url)
    }
  }

  async function look(): Promise<void> {
    lookedAt = performance.now()
    const found = new Set(await targets())
    if (stopped) return
    for (const url of found) {
      if (!replicas.has(url)) replicas.set(url, { url, upstream: upstream(url), name: undefined, state: 'away', wanted: true, tunnels: 0 })
    }
    for (const replica of replicas.values()) replica.wanted = found.has(replica.url)
    await Promise.all([...replicas.values()].map(probe))
    for (const [url, { wanted, state, tunnels, upstream }] of replicas) {
      // A name drops a replica when its stop begins: while it answers it may have sessions, and of polling ones nothing is held open here.
      if (wanted || state !== 'away' || tunnels > 0) continue
      replicas.delete(url)
      await upstream.stop?.()
    }
    const count = (state: Replica['state']) => [...replicas.values()].filter((replica) => replica.state === state).length
    metrics.replicas(count('ready'), count('draining'), count('away'))
  }

  async function probe(replica: Replica): Promise<void> {
    const before = replica.state
    let reason: string | undefined
    try {
      const { statusCode, body } = await replica.upstream.pool.request({
        method: 'GET',
        path: '/internal/replica',
        headers: { authorization: `Bearer ${tokens.issue()}` },
        headersTimeout: probeTimeoutMs,
        bodyTimeout: probeTimeoutMs,
      })
      const answer: unknown = statusCode === 200 ? await body.json() : await body.dump()
      if (statusCode !== 200) throw Object.assign(new Error('refused'), { code: `answered ${statusCode}` })
      const { name, ready } = ReplicaAnswer.parse(answer)
      replica.name = name
      replica.state = ready && replica.wanted ? 'ready' : 'draining'
    } catch (error) {
      replica.state = 'away'
      reason = codeOf(error)
    }
    if (before !== replica.state) log.info({ url: replica.url, replica: replica.name, state: replica.state, reason }, 'realtime replica')
  }

  /** One look at a time. */
  function lookNow(): Promise<void> {
    round ??= look()
      .catch((error: unknown) => log.error({ err: error }, 'looking for replicas failed'))
      .finally(() => {
        round = undefined
      })
    return round
  }

  function next(): void {
    if (stopped) return
    timer = setTimeout(() => void lookNow().then(next), everyMs)
    timer.unref()
  }

  const named = (name: string) => [...replicas.values()].find((replica) => replica.name === name)

  return {
    name: 'realtime replicas',
    async start() {
      await lookNow()
      next()
    },
    async stop() {
      stopped = true
      clearTimeout(timer)
      await round
      await Promise.all([...replicas.values()].map((replica) => replica.upstream.stop?.()))
    },
    async ownerOf(sid) {
      const name = sid.slice(0, Math.max(0, sid.lastIndexOf('.')))
      if (name === '') return undefined
      const owner = named(name)
      if (owner) return owner
      if (round || performance.now() - lookedAt > lookAgainMs) await lookNow()
      return named(name)
    },
    forHandshake() {
      const ready = [...replicas.values()].filter(
        ({ state, wanted, upstream: { breaker } }) => state === 'ready' && wanted && breaker.state !== 'open',
      )
      turn += 1
      const inTurn = ready.map((_, index) => ready[(index + turn) % ready.length]).filter((one) => one !== undefined)
      return inTurn.sort((a, b) => a.tunnels - b.tunnels)
    },
    get ready() {
      return [...replicas.values()].some(({ state }) => state === 'ready')
    },
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : error instanceof Error ? error.name : 'failed'
}
