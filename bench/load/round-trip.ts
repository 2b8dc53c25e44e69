// One question after another over one socket: how long an acknowledgement takes.
import { createHistogram } from 'node:perf_hooks'
import { browserHeaders } from '../lib/browser.ts'
import { answer } from '../lib/roles.ts'
import { ThinClient } from '../lib/thin-client.ts'

export interface RoundTrips {
  /** Microseconds. */
  p50: number
  p99: number
}

const clients: ThinClient[] = []

answer({
  /** @returns the socket's number */
  async connect({ url, token }: { url: string; token: string }): Promise<number> {
    return clients.push(await ThinClient.connect({ url, token, headers: browserHeaders })) - 1
  },
  async ask({ number, count, event, payload }: { number: number; count: number; event: string; payload: unknown }): Promise<RoundTrips> {
    const client = clients[number]
    if (!client) throw new Error('not connected')
    const histogram = createHistogram()
    for (let turn = 0; turn < count; turn += 1) {
      const began = performance.now()
      const { ok } = (await client.ask(event, payload)) as { ok: boolean }
      if (!ok) throw new Error(`${event} failed`)
      histogram.record(Math.max(1, Math.round((performance.now() - began) * 1_000)))
    }
    return { p50: histogram.percentile(50), p99: histogram.percentile(99) }
  },
})
