// Waiting on what happens, always with a deadline, never by sleeping a guessed time.
import type { EventEmitter } from 'node:events'

const longestPauseMs = 50
/** What comes at all comes long before, also on a machine that gives a tenth of what it should. */
const patienceMs = 20_000

/** The first value of `fn` that is neither false, null nor undefined; a throw counts as not yet. @throws Error naming the last failure after `timeoutMs` */
export async function eventually<T>(
  fn: () => T | Promise<T>,
  { timeoutMs = patienceMs, what = 'the condition' } = {},
): Promise<NonNullable<Exclude<T, false>>> {
  const deadline = performance.now() + timeoutMs
  let failure: unknown
  for (let pause = 1; ; pause = Math.min(pause * 2, longestPauseMs)) {
    try {
      const value = await fn()
      if (value !== false && value !== null && value !== undefined) return value as NonNullable<Exclude<T, false>>
      failure = undefined
    } catch (error) {
      failure = error
    }
    if (performance.now() >= deadline)
      throw new Error(`${what} did not come within ${timeoutMs} ms`, failure === undefined ? {} : { cause: failure })
    await new Promise((resolve) => setTimeout(resolve, pause))
  }
}

/** What an emitter (also a Socket.IO client) emits next under `name`. @throws Error after `timeoutMs` */
export function once<A extends unknown[] = unknown[]>(
  emitter: Pick<EventEmitter, 'on' | 'off'> | SocketLike,
  name: string,
  timeoutMs = patienceMs,
): Promise<A> {
  const source = emitter as SocketLike
  return new Promise((resolve, reject) => {
    const heard = (...args: unknown[]) => {
      clearTimeout(timer)
      source.off(name, heard)
      resolve(args as A)
    }
    const timer = setTimeout(() => {
      source.off(name, heard)
      reject(new Error(`no ${name} within ${timeoutMs} ms`))
    }, timeoutMs)
    source.on(name, heard)
  })
}

interface SocketLike {
  on(name: string, listener: (...args: unknown[]) => void): unknown
  off(name: string, listener: (...args: unknown[]) => void): unknown
}

/** Everything an emitter says under these names, in order, until `stop`. */
export function record(emitter: unknown, ...names: string[]): { heard: { name: string; args: unknown[] }[]; stop(): void } {
  const source = emitter as SocketLike
  const heard: { name: string; args: unknown[] }[] = []
  const listeners = names.map((name) => ({ name, listener: (...args: unknown[]) => void heard.push({ name, args }) }))
  for (const { name, listener } of listeners) source.on(name, listener)
  return {
    heard,
    stop: () => {
      for (const { name, listener } of listeners) source.off(name, listener)
    },
  }
}
