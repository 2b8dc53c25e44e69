// Notices who is gone: instances whose counter stands still, people whose grace has run out, records too old to matter.
// Every wait is measured by this process's own monotonic clock from when it first saw a state; clocks of machines are never compared.
import { randomBytes } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Clock } from '@fieldline/service/clock'
import type { Logger } from '@fieldline/service/logger'
import type { EndedDevice, Idle, Instance, PresenceStore, Unannounced } from './presence.store.ts'
import { endInstance, forget, goOffline } from './presence.ts'
import type { Roster } from './roster.ts'

export interface ReaperDeps {
  readonly store: PresenceStore
  readonly roster: () => Roster
  readonly log: Logger
  readonly clock: Clock
  /** First part of this replica's incarnations. */
  readonly name: string
  readonly leaseMs: number
  readonly graceMs: number
  readonly recordsMs: number
  /** Tells what was announced while this replica could not hear it. @throws AppError UNAVAILABLE */
  readonly catchUp: () => Promise<void>
  /** Milliseconds of a monotonic clock. */
  readonly monotonic?: () => number
  /** People in one page of a walk or a write. */
  readonly atOnce?: number
}

/** Since when each of these states has been seen: an entry for every state there is, twice that during a walk. What is not seen any more is forgotten. */
class Watch<State> {
  readonly #keyOf: (state: State) => string
  #since = new Map<string, number>()

  constructor(keyOf: (state: State) => string) {
    this.#keyOf = keyOf
  }

  /** Those that have stood for `ms`, of all there are. A walk that fails has seen nothing. */
  async standing(walk: Iterable<readonly State[]> | AsyncIterable<readonly State[]>, now: () => number, ms: number): Promise<State[]> {
    const since = new Map<string, number>()
    const standing: State[] = []
    for await (const page of walk) {
      const at = now()
      for (const state of page) {
        const key = this.#keyOf(state)
        const first = this.#since.get(key) ?? at
        since.set(key, first)
        if (at - first >= ms) standing.push(state)
      }
    }
    this.#since = since
    return standing
  }
}

export class Reaper {
  readonly #deps: ReaperDeps
  readonly #atOnce: number
  readonly #counters = new Watch<Instance>(({ id, counter }) => `${id} ${counter}`)
  readonly #graces = new Watch<Idle>(({ personId, epoch }) => `${epoch} ${personId}`)
  readonly #ages = new Watch<EndedDevice>(({ id }) => id)
  readonly #unannounced = new Watch<Unannounced>(({ personId, version }) => `${version} ${personId}`)
  #beatAt = 0
  #agesLookedAt = Number.NEGATIVE_INFINITY
  #incarnation: string
  #registered = false
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> = Promise.resolve()
  #stopped = false

  constructor(deps: ReaperDeps) {
    this.#deps = deps
    this.#atOnce = deps.atOnce ?? 1_000
    this.#incarnation = incarnationOf(deps.name)
  }

  get name(): string {
    return 'presence'
  }
  /** Before this, a device written here would have no instance that could be found dead. */
  get registered(): boolean {
    return this.#registered
  }
  get incarnation(): string {
    return this.#incarnation
  }
  get everyMs(): number {
    const { leaseMs, graceMs } = this.#deps
    return Math.max(25, Math.min(leaseMs / 3, graceMs / 4, 5_000))
  }

  async start(): Promise<void> {
    await this.tick()
    this.#arm()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    await this.#running
    // Ended sockets were written by the roster; a stop is no crash, so nobody waits for a lease.
    try {
      await this.#deps.roster().stop()
      if (this.#registered) await this.#bury(this.#incarnation, null)
    } catch (error) {
      this.#deps.log.warn({ err: error }, 'presence could not be ended in order; the lease will end it')
    }
  }

  #arm(): void {
    if (this.#stopped) return
    this.#timer = setTimeout(() => {
      this.#running = this.tick()
      void this.#running.then(() => this.#arm())
    }, this.everyMs).unref()
  }

  /** One round; a store that is away is left for the next. */
  async tick(): Promise<void> {
    try {
      await this.#live()
      await this.#endDead()
      await this.#endGraces()
      await this.#announceLeft()
      await this.#deps.catchUp()
      await this.#forgetOld()
    } catch (error) {
      this.#deps.log.warn({ err: error }, 'a round of presence failed')
    }
  }

  async #live(): Promise<void> {
    const { store, roster, name } = this.#deps
    this.#beatAt = this.#now()
    if (this.#registered && (await store.beat(this.#incarnation))) return
    const back = this.#registered
    if (back) this.#incarnation = incarnationOf(name)
    await store.register(this.#incarnation)
    this.#registered = true
    if (back) roster().touchAll()
  }

  /** Page after page, others in between. A long round costs this instance neither its lease nor the time it has to stop. */
  async *#paced<Page>(pages: Iterable<Page> | AsyncIterable<Page>): AsyncGenerator<Page> {
    for await (const page of pages) {
      if (this.#stopped) return
      await this.#keepAlive()
      yield page
      await nextTurn()
    }
  }

  /** What can be written in the time between two rounds; the rest waits for the next one, and nothing else for the rest. */
  *#pagesOf<Item>(items: readonly Item[]): Generator<Item[]> {
    const begun = this.#now()
    for (let at = 0; at < items.length && (at === 0 || this.#now() - begun < this.everyMs); at += this.#atOnce)
      yield items.slice(at, at + this.#atOnce)
  }

  async #keepAlive(): Promise<void> {
    if (!this.#stopped && this.#now() - this.#beatAt >= this.everyMs) await this.#live()
  }

  async #endDead(): Promise<void> {
    const { store, name, leaseMs } = this.#deps
    const others = (await store.instances()).filter(({ id }) => id !== this.#incarnation)
    // A predecessor of the same name, or any in a store that only one process opens, is dead without a lease.
    const certain = others.filter(({ id }) => store.exclusive || id.startsWith(`${name}.`))
    const late = await this.#counters.standing([others], () => this.#now(), leaseMs)
    for (const { id, counter } of new Set([...certain, ...late])) await this.#bury(id, counter)
  }

  /** Declared dead first, so that it cannot go on as this incarnation; its devices then; its name last, so that a crash between is finished by the next. */
  async #bury(id: string, counter: number | null): Promise<void> {
    const { store, log } = this.#deps
    const some = () => store.ofInstance(id, this.#atOnce)
    const at = counter ?? (await store.instances()).find((one) => one.id === id)?.counter
    if (at === undefined || !(await store.declareDead(id, at))) return
    let ended = 0
    for (let found = await some(); found.length > 0; found = await some()) {
      await this.#keepAlive()
      const now = this.#deps.clock.now().toISOString()
      await this.#deps.roster().change(
        found.map(({ presence }) => presence.personId),
        (before) => before && endInstance(before, id, now),
      )
      ended += found.length
    }
    await store.remove(id)
    log.info({ instance: id, people: ended }, 'the devices of an instance have ended')
  }

  async #endGraces(): Promise<void> {
    const { store, roster, graceMs } = this.#deps
    const over = await this.#graces.standing(this.#paced(store.idle(this.#atOnce)), () => this.#now(), graceMs)
    for await (const page of this.#paced(this.#pagesOf(over))) {
      const epochs = new Map(page.map(({ personId, epoch }) => [personId, epoch]))
      const gone = await roster().change([...epochs.keys()], (before, personId) => before && goOffline(before, epochs.get(personId) ?? -1))
      roster().announce(gone)
    }
  }

  /** What its writer did not get to announce: it died, or the broker was away. One page a round: nobody waits here for what the broker takes. */
  async #announceLeft(): Promise<void> {
    const { store, roster } = this.#deps
    const due = await this.#unannounced.standing(this.#paced(store.unannounced(this.#atOnce)), () => this.#now(), this.everyMs)
    const left = await store.load(due.slice(0, this.#atOnce).map(({ personId }) => personId))
    roster().announce(left.map(({ presence }) => presence))
  }

  async #forgetOld(): Promise<void> {
    const { store, roster, recordsMs } = this.#deps
    // A record lives for minutes: a walk over all of them in each round would be work for nothing.
    if (this.#now() - this.#agesLookedAt < recordsMs / 20) return
    const old = await this.#ages.standing(this.#paced(store.records(this.#atOnce)), () => this.#now(), recordsMs)
    this.#agesLookedAt = this.#now()
    const ids = new Set(old.map(({ id }) => id))
    const owners = [...new Set(old.map(({ personId }) => personId))]
    for await (const page of this.#paced(this.#pagesOf(owners))) await roster().change(page, (before) => before && forget(before, ids))
  }

  #now(): number {
    return (this.#deps.monotonic ?? (() => performance.now()))()
  }
}

function incarnationOf(name: string): string {
  return `${name}.${randomBytes(6).toString('hex')}`
}
