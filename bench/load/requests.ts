// Load of REST: requests in turn, a fixed number under way, each answer's status looked at. Its own process.
import { createHistogram } from 'node:perf_hooks'
import { Pool } from 'undici'
import { answer } from '../lib/roles.ts'

export interface Asked {
  readonly method: 'GET' | 'POST' | 'PATCH'
  readonly path: string
  readonly token: string
  readonly body?: string
}
export interface Requests {
  readonly url: string
  /** Taken in turn, from the first again after the last. */
  readonly asked: readonly Asked[]
  readonly count: number
  /** No request begins after so long, however many are left. */
  readonly mostMs?: number
  readonly window: number
  /** What each answer must be: its status, and a piece of its text. */
  readonly status: number
  readonly holds?: string
}
export interface Answered {
  sent: number
  perSecond: number
  /** From the request to the last byte of its answer, µs. */
  p50: number
  p99: number
}

const patienceMs = 120_000
const pools = new Map<string, Pool>()

answer({
  async closed({ url, asked, count, window, status, holds, mostMs = Number.POSITIVE_INFINITY }: Requests): Promise<Answered> {
    const pool = pools.get(url) ?? new Pool(url, { connections: 64, headersTimeout: patienceMs, bodyTimeout: patienceMs })
    pools.set(url, pool)
    const took = createHistogram()
    const began = performance.now()
    let next = 0
    const one = async (): Promise<void> => {
      while (next < count && performance.now() - began < mostMs) {
        const { method, path, token, body } = asked[next++ % asked.length] as Asked
        const sent = performance.now()
        const headers = { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) }
        const { statusCode, body: answered } = await pool.request({ method, path, headers, body: body ?? null })
        const text = await answered.text()
        if (statusCode !== status || (holds !== undefined && !text.includes(holds)))
          throw new Error(`${method} ${path}: ${statusCode} ${text.slice(0, 500)}`)
        took.record(Math.max(1, Math.round((performance.now() - sent) * 1_000)))
      }
    }
    await Promise.all(Array.from({ length: window }, one))
    const seconds = (performance.now() - began) / 1_000
    return { sent: next, perSecond: next / seconds, p50: took.percentile(50), p99: took.percentile(99) }
  },
})
