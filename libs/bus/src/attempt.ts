// One handling of one event: parse, call the handler within its time, decide what follows. Both adapters stand on it.
import { type ConsumeOptions, type Delivery, Poison } from './bus.ts'
import type { LazyDelivery } from './delivery.ts'

export type Outcome = { kind: 'done' } | { kind: 'retry'; delayMs: number; error: Error } | { kind: 'dead'; error: Error }

export const defaultRetryDelaysMs: readonly number[] = [200, 1_000, 5_000]

/** Handles an event once. Never rejects: whatever goes wrong is an outcome. */
export async function attempt<Body>(
  delivery: LazyDelivery,
  handler: (delivery: Delivery<Body>) => Promise<void>,
  options: ConsumeOptions<Body>,
  retryDelaysMs: readonly number[],
): Promise<Outcome> {
  let parsed: Delivery<Body>
  try {
    // Without a `parse` the handler has declared Body to be unknown.
    parsed = delivery.withBody(options.parse === undefined ? (delivery.body as Body) : options.parse(delivery.body))
  } catch (cause) {
    return { kind: 'dead', error: new Poison(`unreadable: ${asError(cause).message}`, { cause }) }
  }
  try {
    await within(options.handlerTimeoutMs, handler(parsed))
    return { kind: 'done' }
  } catch (cause) {
    return afterFailure(asError(cause), delivery.attempts, options.maxAttempts, retryDelaysMs)
  }
}

/** What follows a failed handling. Pure. */
export function afterFailure(error: Error, attempts: number, maxAttempts: number, retryDelaysMs: readonly number[]): Outcome {
  if (error instanceof Poison || attempts >= maxAttempts) return { kind: 'dead', error }
  return { kind: 'retry', delayMs: retryDelaysMs[Math.min(attempts, retryDelaysMs.length) - 1] ?? 0, error }
}

export function asError(cause: unknown): Error {
  return cause instanceof Error ? cause : new Error(String(cause))
}

/** The promise, or an error after so long. What it stands for goes on. */
export async function within<T>(ms: number, promise: Promise<T>, what = 'the handler'): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took longer than ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
