// Resident memory once it has come to rest: what was garbage is collected when V8 thinks it time, on both sides alike; nobody is made to.
import { residentBytes } from './proc.ts'

const everyMs = 250
const restSamples = 16
const restSpread = 1.005
const deadlineMs = 20_000

/** Bytes, the median of the last 4 s: they moved by no more than half a percent, or 20 s are over. */
export async function settledBytes(pid: number): Promise<number> {
  const samples: number[] = []
  const deadline = performance.now() + deadlineMs
  for (;;) {
    samples.push(residentBytes(pid))
    const last = samples.slice(-restSamples)
    const atRest = last.length === restSamples && Math.max(...last) / Math.min(...last) <= restSpread
    if (atRest || performance.now() > deadline) return last.toSorted((a, b) => a - b)[last.length >> 1] ?? 0
    await new Promise((resolve) => setTimeout(resolve, everyMs))
  }
}
