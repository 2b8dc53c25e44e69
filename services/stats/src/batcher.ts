// Gathers what arrives within a moment, and while a batch is being written, into the next one. A batch that fails is tried item by item, so that one bad event fails alone.
import { AppError } from '@fieldline/contracts/errors'

export interface Batcher<Item> {
  /** Resolves when the item is handled. @throws what its handling threw; never because of a neighbour, and not while the store is away */
  add(item: Item): Promise<void>
  /** Handles what waits. False where the store is away: those items are left unsettled, so that their events stay with the broker. */
  stop(): Promise<boolean>
}

export interface BatcherOptions<Item> {
  handle(items: readonly Item[]): Promise<void>
  most: number
  /** How long the first item waits for others: events of one conversation that share a batch move its head once. */
  gatherMs: number
  /** First pause after an UNAVAILABLE; doubles up to 32 times that. */
  pauseMs: number
  onAway(error: AppError): void
}

interface Waiting<Item> {
  item: Item
  resolve(): void
  reject(error: unknown): void
}

export function createBatcher<Item>({ handle, most, gatherMs, pauseMs, onAway }: BatcherOptions<Item>): Batcher<Item> {
  const ending = new AbortController()
  const queue: Waiting<Item>[] = []
  let running: Promise<void> | undefined
  let full: (() => void) | undefined
  let clean = true

  async function drain(): Promise<void> {
    while (queue.length > 0) {
      if (queue.length < most) await company()
      await settle(queue.splice(0, most))
    }
    running = undefined
  }

  /** Resolves when others have had their time to come, when there are enough, or at the end. */
  async function company(): Promise<void> {
    const enough = new AbortController()
    full = () => enough.abort()
    await pause(gatherMs, AbortSignal.any([ending.signal, enough.signal]))
    full = undefined
  }

  async function settle(batch: Waiting<Item>[]): Promise<void> {
    try {
      await patiently(batch.map(({ item }) => item))
      for (const { resolve } of batch) resolve()
    } catch (error) {
      if (isAway(error)) clean = false
      else if (batch.length === 1) for (const { reject } of batch) reject(error)
      else for (const one of batch) await settle([one])
    }
  }

  async function patiently(items: readonly Item[]): Promise<void> {
    for (let tries = 0; ; tries += 1) {
      try {
        return await handle(items)
      } catch (error) {
        if (!isAway(error) || ending.signal.aborted) throw error
        onAway(error)
        await pause(pauseMs * 2 ** Math.min(tries, 5), ending.signal)
      }
    }
  }

  return {
    add: (item) =>
      new Promise((resolve, reject) => {
        queue.push({ item, resolve, reject })
        if (queue.length >= most) full?.()
        running ??= drain()
      }),
    async stop() {
      ending.abort()
      await running
      return clean
    },
  }
}

function isAway(error: unknown): error is AppError {
  return error instanceof AppError && error.code === 'UNAVAILABLE'
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms)
    function done(): void {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    signal.addEventListener('abort', done)
  })
}
