// Many deadlines, one timer: things by the second they are due in.

export class Deadlines<Thing> {
  readonly #bySecond = new Map<number, Set<Thing>>()
  readonly #seconds = new Map<Thing, number>()
  /** Nothing before this second is left. */
  #from = Number.POSITIVE_INFINITY

  /** `at` in milliseconds since 1970; what is past is due at once. */
  add(thing: Thing, at: number): void {
    const second = Math.ceil(at / 1_000)
    const due = this.#bySecond.get(second)
    if (due) due.add(thing)
    else this.#bySecond.set(second, new Set([thing]))
    this.#seconds.set(thing, second)
    this.#from = Math.min(this.#from, second)
  }

  remove(thing: Thing): void {
    const second = this.#seconds.get(thing)
    if (second === undefined) return
    this.#seconds.delete(thing)
    const due = this.#bySecond.get(second)
    due?.delete(thing)
    if (due?.size === 0) this.#bySecond.delete(second)
  }

  /** Takes out what is due by `now`. */
  due(now: number): Thing[] {
    const last = Math.floor(now / 1_000)
    if (this.#from > last) return []
    const taken: Thing[] = []
    for (const [second, things] of this.#bySecond) {
      if (second > last) continue
      taken.push(...things)
      this.#bySecond.delete(second)
      for (const thing of things) this.#seconds.delete(thing)
    }
    this.#from = this.#bySecond.size === 0 ? Number.POSITIVE_INFINITY : last + 1
    return taken
  }
}
