// The id of the request being answered, wherever the code that answers it is.
import { AsyncLocalStorage } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'

const requests = new AsyncLocalStorage<string>()
const sane = /^[\w.-]{1,128}$/

export function currentRequestId(): string | undefined {
  return requests.getStore()
}

/** Runs `fn` as part of the request `id`. */
export function withRequestId<T>(id: string, fn: () => T): T {
  return requests.run(id, fn)
}

/** The id a caller gave, where it is harmless in logs and headers; else a new one. */
export function requestIdFrom(given: string | undefined): string {
  return given !== undefined && sane.test(given) ? given : randomUUID()
}
