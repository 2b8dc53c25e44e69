// Notices who is gone: instances whose counter stands still, people whose grace has run out, records too old to matter.
// Every wait is measured by this process's own monotonic clock from when it first saw a state; clocks of machines are never compared.
import { randomBytes } from 'node:crypto'
import type { Clock } from '@fieldline/service/clock'
import type { Logger } from '@fieldline/service/logger'
import type { PresenceStore } from './presence.store.ts'
import { endInstance, forget, goOffline, records } from './presence.ts'
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
}

/** Since when each of these states has been seen. What is not seen any more is forgotten. */
class Watch {
  #since = new Map<string, number>()
  /** Those of `seen` that have stood for `ms`. */
  standing(seen: Iterable<string>, now: number, ms: number): Set<string> {
    const since = new Map<string, number>()
    for (const key of seen) since.set(key, this.#since.get(key) ?? now)
    this.#since = since
    return new Set([...since].flatMap(([key, at]) => (now - at >= ms ? [key] : [])))
  }
}

const atOnce = 1_000

export class Reaper {
  readonly #deps: ReaperDeps
  readonly #counters = new Watch()
  readonly #graces = new Watch()
  readonly #ages = new Watch()
  readonly #unannounced = new Watch()
  #incarnation: string
  #registered = false
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> = Promise.resolve()
  #stopped = false

  constructor(deps: ReaperDeps) {
    this.#deps = deps
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
    if (this.#registered && (await store.beat(this.#incarnation))) return
    const back = this.#registered
    if (back) this.#incarnation = incarnationOf(name)
    await store.register(this.#incarnation)
    this.#registered = true
    if (back) roster().touchAll()
  }

  async #endDead(): Promise<void> {
    const { store, name, leaseMs } = this.#deps
    const others = (await store.instances()).filter(({ id }) => id !== this.#incarnation)
    // A predecessor of the same name, or any in a store that only one process opens, is dead without a lease.
    const certain = others.filter(({ id }) => store.exclusive || id.startsWith(`${name}.`))
    const standing = this.#counters.standing(
      others.map(({ id, counter }) => `${id} ${counter}`),
      this.#now(),
      leaseMs,
    )
    const late = others.filter(({ id, counter }) => standing.has(`${id} ${counter}`))
    for (const { id, counter } of new Set([...certain, ...late])) await this.#bury(id, counter)
  }

  /** Declared dead first, so that it cannot go on as this incarnation; its devices then; its name last, so that a crash between is finished by the next. */
  async #bury(id: string, counter: number | null): Promise<void> {
    const { store, log } = this.#deps
    const at = counter ?? (await store.instances()).find((one) => one.id === id)?.counter
    if (at === undefined || !(await store.declareDead(id, at))) return
    let ended = 0
    for (let found = await store.ofInstance(id, atOnce); found.length > 0; found = await store.ofInstance(id, atOnce)) {
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
    const idle = await store.idle(atOnce)
    const standing = this.#graces.standing(
      idle.map(({ presence }) => `${presence.epoch} ${presence.personId}`),
      this.#now(),
      graceMs,
    )
    const over = new Map(
      idle.flatMap(({ presence }) => (standing.has(`${presence.epoch} ${presence.personId}`) ? [[presence.personId, presence.epoch]] : [])),
    )
    if (over.size === 0) return
    const gone = await roster().change([...over.keys()], (before, personId) => before && goOffline(before, over.get(personId) ?? -1))
    roster().announce(gone)
  }

  /** What its writer did not get to announce: it died, or the broker was away. */
  async #announceLeft(): Promise<void> {
    const { store, roster } = this.#deps
    const left = await store.unannounced(atOnce)
    const standing = this.#unannounced.standing(
      left.map(({ presence }) => `${presence.version} ${presence.personId}`),
      this.#now(),
      this.everyMs,
    )
    const due = left.filter(({ presence }) => standing.has(`${presence.version} ${presence.personId}`))
    roster().announce(due.map(({ presence }) => presence))
  }

  async #forgetOld(): Promise<void> {
    const { store, roster, recordsMs } = this.#deps
    const found = await store.withRecords(atOnce)
    const ids = found.flatMap(({ presence }) => records(presence).map(({ id }) => id))
    const old = this.#ages.standing(ids, this.#now(), recordsMs)
    if (old.size === 0) return
    const owners = found.filter(({ presence }) => records(presence).some(({ id }) => old.has(id)))
    await roster().change(
      owners.map(({ presence }) => presence.personId),
      (before) => before && forget(before, old),
    )
  }

  #now(): number {
    return (this.#deps.monotonic ?? (() => performance.now()))()
  }
}

function incarnationOf(name: string): string {
  return `${name}.${randomBytes(6).toString('hex')}`
}
