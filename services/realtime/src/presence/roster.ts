// Presence at work on one replica: writes what its sockets do in bulk, proves its life, and announces who came and who is gone.
import { createHash } from 'node:crypto'
import type { EventBus } from '@fieldline/bus/bus'
import { namespacedName } from '@fieldline/bus/bus'
import { AppError } from '@fieldline/contracts/errors'
import type { UserOffline, UserOnline } from '@fieldline/contracts/events'
import type { Presence as PresenceAnswer } from '@fieldline/contracts/internal'
import { eventsExchange } from '@fieldline/contracts/topology'
import type { Clock } from '@fieldline/service/clock'
import type { Logger } from '@fieldline/service/logger'
import type { Audience } from '../audience.ts'
import type { Session } from '../session.ts'
import type { PresenceStore } from './presence.store.ts'
import {
  announced,
  type Claim,
  type Device,
  isManaged,
  type LocalTruth,
  liveDevices,
  matches,
  type Presence,
  reconcile,
  takeRecord,
} from './presence.ts'

export interface RosterDeps {
  readonly store: PresenceStore
  readonly bus: EventBus
  readonly audience: Audience
  readonly log: Logger
  readonly clock: Clock
  readonly namespace: string
  readonly flushMs: number
  readonly cursorFlushMs: number
  /** The incarnation this replica is now. */
  readonly instance: () => string
  /** A document was read or written: what it says of roles may be newer than a socket's token. */
  readonly onKnown: (presence: Presence) => void
}

const mostConflicts = 10
const mostInOneWrite = 500
const mostEnded = 8
/** How long a stop waits for the broker to confirm; the rest is announced by whoever reaps. */
const lastAnnouncementsMs = 1_000

export class Roster {
  readonly #deps: RosterDeps
  /** Who is to be written, with the devices that ended since the last write. */
  #dirty = new Map<string, { session: Session; ended: Omit<Device, 'instance'>[] }>()
  /** Whose cursors only moved: written at a slower pace. */
  readonly #moved = new Map<string, Session>()
  #timer: NodeJS.Timeout | undefined
  #cursorTimer: NodeJS.Timeout | undefined
  #flushing: Promise<void> = Promise.resolve()
  readonly #announcing = new Map<string, number>()
  readonly #rounds = new Set<Promise<void>>()
  #stopped = false

  constructor(deps: RosterDeps) {
    this.#deps = deps
  }

  /** A socket is there, has joined or left a room, or shows another token. Never waits. */
  touch(session: Session): void {
    const known = this.#dirty.get(session.person.id)
    if (known) known.session = session
    else this.#dirty.set(session.person.id, { session, ended: [] })
    this.#arm()
  }

  /** A socket is gone; what it had joined stays for its device's next connection. */
  ended(session: Session): void {
    this.touch(session)
    const entry = this.#dirty.get(session.person.id)
    const device = deviceOf(session)
    if (entry && device.rooms.length > 0) entry.ended = [...entry.ended, device].slice(-mostEnded)
  }

  /** Cursors moved: recorded within a second. */
  moved(session: Session): void {
    this.#moved.set(session.id, session)
    this.#cursorTimer ??= setTimeout(() => {
      this.#cursorTimer = undefined
      for (const one of this.#moved.values()) if (!one.closed) this.touch(one)
      this.#moved.clear()
    }, this.#deps.cursorFlushMs).unref()
  }

  /** Everyone here anew: after this instance was declared dead. */
  touchAll(): void {
    for (const session of this.#deps.audience.sessions()) this.touch(session)
  }

  /** Resolves when everything told so far is written, or could not be. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#flushing = this.#flushing.then(() => this.#write())
    await this.#flushing
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#cursorTimer)
    await this.flush()
    let timer: NodeJS.Timeout | undefined
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, lastAnnouncementsMs)
    })
    await Promise.race([this.quiet(), patience])
    clearTimeout(timer)
  }

  #arm(): void {
    if (this.#stopped) return
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      void this.flush()
    }, this.#deps.flushMs).unref()
  }

  async #write(): Promise<void> {
    const all = [...this.#dirty]
    this.#dirty = new Map()
    for (let at = 0; at < all.length; at += mostInOneWrite) {
      const some = all.slice(at, at + mostInOneWrite)
      try {
        await this.#writeSome(new Map(some))
      } catch (error) {
        this.#deps.log.warn({ err: error, people: all.length - at }, 'presence could not be written; tried again')
        for (const [personId, { session, ended }] of all.slice(at)) {
          const newer = this.#dirty.get(personId)
          this.#dirty.set(personId, { session: newer?.session ?? session, ended: [...ended, ...(newer?.ended ?? [])].slice(-mostEnded) })
        }
        this.#retry()
        return
      }
    }
  }

  #retry(): void {
    if (this.#stopped) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      void this.flush()
    }, 1_000).unref()
  }

  async #writeSome(entries: ReadonlyMap<string, { session: Session; ended: Omit<Device, 'instance'>[] }>): Promise<void> {
    const changed = await this.change([...entries.keys()], (before, personId) => {
      const entry = entries.get(personId)
      return entry ? reconcile(before, this.#truthOf(entry.session, entry.ended), this.#deps.clock.now().toISOString()) : null
    })
    for (const presence of changed) this.#deps.onKnown(presence)
    this.announce(changed)
  }

  #truthOf(session: Session, ended: readonly Omit<Device, 'instance'>[]): LocalTruth {
    const { audience, instance } = this.#deps
    const sessions = [...audience.of(session.person.id)]
    const newest = sessions.reduce((best, one) => (one.person.iat > best.person.iat ? one : best), session)
    const { id, role, firstName, lastName, phone, iat } = newest.person
    return { instance: instance(), person: { id, role, firstName, lastName, phone }, iat, live: sessions.map(deviceOf), ended }
  }

  /** Loads, decides and writes until nobody else was quicker. Returns the documents as they are now. @throws AppError UNAVAILABLE, also when others were quicker each time: what is owed then is tried again by whoever asked */
  async change(personIds: readonly string[], decide: (before: Presence | null, personId: string) => Presence | null): Promise<Presence[]> {
    const done: Presence[] = []
    let left = personIds
    for (let tries = 0; left.length > 0 && tries < mostConflicts; tries += 1) {
      const loaded = new Map((await this.#deps.store.load(left)).map((stored) => [stored.presence.personId, stored]))
      const changes = left.flatMap((personId) => {
        const before = loaded.get(personId) ?? null
        const after = decide(before?.presence ?? null, personId)
        return after && after !== before?.presence ? [{ before, after }] : []
      })
      const lost = await this.#deps.store.save(changes)
      done.push(...changes.flatMap(({ after }) => (lost.has(after.personId) ? [] : [after])))
      left = [...lost]
    }
    if (left.length > 0) throw new AppError('UNAVAILABLE', `Presence of ${left.length} people could not be written: others were quicker`)
    return done
  }

  /** Tells the others what is not announced yet; what fails stays so, and whoever reaps tells it. Never waited for: a broker may take its time. */
  announce(presences: readonly Presence[]): void {
    const due = presences.filter(
      ({ personId, version, announcedVersion }) => version > announcedVersion && (this.#announcing.get(personId) ?? 0) < version,
    )
    if (due.length === 0) return
    for (const { personId, version } of due) this.#announcing.set(personId, version)
    const round = this.#announce(due).finally(() => {
      for (const { personId, version } of due) if (this.#announcing.get(personId) === version) this.#announcing.delete(personId)
      this.#rounds.delete(round)
    })
    this.#rounds.add(round)
  }

  /** Resolves when no announcement is under way. */
  async quiet(): Promise<void> {
    while (this.#rounds.size > 0) await Promise.all(this.#rounds)
  }

  async #announce(due: readonly Presence[]): Promise<void> {
    const told = new Map<string, number>()
    await Promise.all(
      due.map((presence) =>
        this.#publish(presence).then(
          () => told.set(presence.personId, presence.version),
          (error: unknown) => this.#deps.log.debug({ err: error }, 'presence not announced yet'),
        ),
      ),
    )
    try {
      await this.change([...told.keys()], (before, personId) => before && announced(before, told.get(personId) ?? 0))
    } catch (error) {
      // Announced again by whoever reaps; consumers drop what they know.
      this.#deps.log.debug({ err: error }, 'announcements not noted yet')
    }
  }

  async #publish(presence: Presence): Promise<void> {
    const { bus, clock, namespace } = this.#deps
    const at = clock.now().toISOString()
    const { person, version, iat, online, lastSeenAt } = presence
    const id = `${createHash('sha256').update(person.id).digest('base64url').slice(0, 22)}.${version}`
    const envelope = { specversion: '1.0', id, source: 'realtime', time: at, datacontenttype: 'application/json' } as const
    const event: UserOnline | UserOffline = online
      ? { ...envelope, type: 'user.online', data: { person, version, at, iat } }
      : { ...envelope, type: 'user.offline', data: { person, version, at, lastSeenAt: lastSeenAt ?? at } }
    await bus.publish({ exchange: namespacedName(eventsExchange, namespace), routingKey: event.type, id, body: event, carrier: {} })
  }

  /** Who of these is online, by the record. @throws AppError UNAVAILABLE */
  async query(personIds: readonly string[]): Promise<PresenceAnswer['people']> {
    const known = new Map((await this.#deps.store.load([...new Set(personIds)])).map(({ presence }) => [presence.personId, presence]))
    return personIds.map((personId) => {
      const presence = known.get(personId)
      return presence
        ? { personId, online: presence.online, version: presence.version, lastSeenAt: presence.lastSeenAt }
        : { personId, online: false, version: 0, lastSeenAt: null }
    })
  }

  /**
   * Takes one record over, for good: in the same write its rooms become the session's (`inheriting`). Null: none fits.
   * `others`: devices that may turn out to be this one, once they have ended; `managed`: the client of one that fits joins by itself. @throws AppError UNAVAILABLE
   */
  async take(session: Session, claim: Claim): Promise<{ record: Device | null; others: readonly Device[]; managed: boolean }> {
    const { clock } = this.#deps
    const personId = session.person.id
    // Ours that just ended is a record only once it is written.
    if (this.#dirty.has(personId)) await this.flush()
    let record: Device | null = null
    let others: readonly Device[] = []
    let managed = false
    await this.change([personId], (before) => {
      record = null
      if (!before || session.closed) return null
      // The write of an earlier look arrived, and its answer did not.
      if (session.inheriting && before.taken.includes(session.inheriting.id)) {
        record = session.inheriting
        return null
      }
      others = liveDevices(before).filter(({ id, rooms }) => id !== session.id && rooms.length > 0)
      managed = before.devices.some((device) => device.id !== session.id && matches(device, claim) && isManaged(device))
      const taken = takeRecord(before, claim)
      record = taken?.record ?? null
      session.inheriting = record
      return taken && reconcile(taken.after, this.#truthOf(session, []), clock.now().toISOString())
    })
    return { record, others, managed }
  }
}

function deviceOf(session: Session): Omit<Device, 'instance'> {
  const { id, tokenMark, userAgent, clientId, shown } = session
  return { id, tokenMark, userAgent, clientId, ...(shown && { shown }), rooms: session.rooms() }
}
