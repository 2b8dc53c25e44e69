// Collects what arrives and lets a test wait for it, with a deadline instead of a sleep.
const deadlineMs = 15_000

export class Inbox<T> {
  readonly items: T[] = []
  #waiting: (() => void)[] = []

  readonly push = (item: T): void => {
    this.items.push(item)
    for (const wake of this.#waiting.splice(0)) wake()
  }

  /** The first `count` items, when there are that many. */
  async first(count: number): Promise<T[]> {
    await this.until((items) => items.length >= count, `${count} items`)
    return this.items.slice(0, count)
  }

  /** Resolves when the condition holds; looked at after each arrival. */
  async until(holds: (items: readonly T[]) => boolean, what = 'the expected items'): Promise<void> {
    const end = Date.now() + deadlineMs
    while (!holds(this.items)) {
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`waited for ${what}, got ${this.items.length}`)), Math.max(0, end - Date.now()))
        this.#waiting.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
  }
}

/** A promise and the means to settle it: a handler that waits until the test lets it go on. */
export function gate(): { readonly passed: Promise<void>; open(): void } {
  let open: () => void = () => undefined
  const passed = new Promise<void>((resolve) => {
    open = resolve
  })
  return { passed, open: () => open() }
}
