// A lane: the work of one conversation, one item at a time, in order. What is done at once costs no promise; what waits is bounded by its owner.

export class Lane<Item> {
  readonly #work: (item: Item) => void | Promise<void>
  #queue: Item[] = []
  #busy = false

  /** @param work never rejects: a lane has nobody to tell */
  constructor(work: (item: Item) => void | Promise<void>) {
    this.#work = work
  }

  get idle(): boolean {
    return !this.#busy && this.#queue.length === 0
  }
  get waiting(): number {
    return this.#queue.length
  }

  push(item: Item): void {
    if (this.#busy) {
      this.#queue.push(item)
      return
    }
    this.#busy = true
    const pending = this.#work(item)
    if (pending) void this.#drain(pending)
    else this.#next()
  }

  /** Takes out what waits and fits. */
  take(fits: (item: Item) => boolean): Item[] {
    const taken = this.#queue.filter(fits)
    if (taken.length > 0) this.#queue = this.#queue.filter((item) => !fits(item))
    return taken
  }

  /** Goes on synchronously until something has to be waited for. */
  #next(): void {
    for (let item = this.#queue.shift(); item !== undefined; item = this.#queue.shift()) {
      const pending = this.#work(item)
      if (pending) {
        void this.#drain(pending)
        return
      }
    }
    this.#busy = false
  }

  async #drain(pending: Promise<void>): Promise<void> {
    await pending
    this.#next()
  }
}
