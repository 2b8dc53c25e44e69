// The seed's client joins once and never again: a new socket of its person takes over what an ended device had joined (spec 5).
import type { ConversationId } from '@fieldline/contracts/ids'
import type { Logger } from '@fieldline/service/logger'
import type { RealtimeMetrics } from './metrics.ts'
import { type Claim, type Device, earliest, looksLike, matches, type Standpoint } from './presence/presence.ts'
import type { Rooms } from './rooms.ts'
import type { Session } from './session.ts'

export interface TakeoverDeps {
  readonly take: (session: Session, claim: Claim) => Promise<{ record: Device | null; others: readonly Device[]; managed: boolean }>
  readonly rooms: Rooms
  readonly log: Logger
  readonly metrics: RealtimeMetrics
  /** How long a new socket has to join of itself; also the pause between later looks. */
  readonly afterMs: number
  /** How long it is worth waiting for a device that looks alive but may be this one: heartbeat and lease. */
  readonly patienceMs: number
  /** Asks a device of this replica whether it still lives. */
  readonly probe: (deviceId: string, answered: () => void) => void
  /** What a device of this replica has confirmed, newer than its record; undefined for others. */
  readonly confirmed: (deviceId: string, conversationId: ConversationId) => number | undefined
}

/** How many times longer a client that joins by itself is waited for: its join may be on its way through a bad network. */
const managedPatience = 5

export class Takeover {
  readonly #deps: TakeoverDeps
  readonly #running = new Map<Session, Promise<void>>()
  /** What was found in place of a record: a client that joins by itself, or where a device of the same marks stands that is not known to have ended. */
  readonly #found = new WeakMap<Session, { managed: boolean; since: Standpoint | undefined }>()
  /** Devices that have answered since a session connected: another tab, say. What they joined is theirs, also when they end later. */
  readonly #beside = new WeakMap<Session, Set<string>>()

  constructor(deps: TakeoverDeps) {
    this.#deps = deps
  }

  /** A socket connected: looked at again when it had time to join of itself. */
  expect(session: Session): void {
    this.#later(session)
  }

  /**
   * Before something of its own is sent into a conversation it has not joined: what it missed there comes first.
   * False: its client joins by itself and says what it has, so it is not joined by sending; what it buffered is only quicker than its join.
   */
  async before(session: Session, conversationId: ConversationId): Promise<boolean> {
    if (session.manages(conversationId)) return false
    await this.#running.get(session)
    if (session.takenOver || session.joined.has(conversationId)) return true
    await this.#look(session, conversationId)
    if (session.takenOver || session.joined.has(conversationId)) return true
    // A client is often back before its old connection is known to be gone: what that one has confirmed is where this one goes on.
    const found = this.#found.get(session)
    this.#found.delete(session)
    if (found?.managed) return false
    if (found?.since !== undefined) await this.#deps.rooms.follow(session, conversationId, found.since)
    return true
  }

  /** A sender that was expected to join by itself and did not. */
  after(session: Session, conversationId: ConversationId, afterSeq: number): void {
    setTimeout(() => {
      if (session.closed || session.joined.has(conversationId) || session.manages(conversationId)) return
      void this.#look(session).then(() => this.#deps.rooms.follow(session, conversationId, { seq: afterSeq }))
    }, this.#deps.afterMs * managedPatience).unref()
  }

  #later(session: Session): void {
    setTimeout(() => {
      if (session.closed || session.settled) return
      void this.#look(session).then((again) => {
        if (again && performance.now() - session.connectedAt < this.#deps.patienceMs) this.#later(session)
      })
    }, this.#deps.afterMs).unref()
  }

  #look(session: Session, conversationId?: ConversationId): Promise<boolean> {
    const before = this.#running.get(session) ?? Promise.resolve()
    const look = before.then(() => this.#takeOver(session, conversationId))
    const settled = look.then(() => undefined)
    this.#running.set(session, settled)
    void settled.then(() => {
      if (this.#running.get(session) === settled) this.#running.delete(session)
    })
    return look
  }

  /** True when another look may find more. */
  async #takeOver(session: Session, conversationId: ConversationId | undefined): Promise<boolean> {
    if (session.closed || session.takenOver || (conversationId === undefined && session.settled)) return false
    const { take, rooms, log, metrics, probe } = this.#deps
    this.#found.delete(session)
    const managedToo = performance.now() - session.connectedAt >= this.#deps.afterMs * managedPatience
    const beside = this.#beside.get(session) ?? new Set()
    this.#beside.set(session, beside)
    const { tokenMark, userAgent, clientId, shown } = session
    const claim = { tokenMark, userAgent, clientId, shown, conversationId, managedToo, beside }
    try {
      const { record, others, managed } = await take(session, claim)
      if (!record) {
        const maybe = others.filter((device) => matches(device, claim))
        const twins = maybe.filter((device) => shown || looksLike(device, claim))
        for (const { id } of twins) probe(id, () => beside.add(id))
        const stands: Standpoint[] = twins.flatMap(({ id, rooms: joined }) =>
          joined.flatMap((room) => {
            if (room.conversationId !== conversationId) return []
            const seq = this.#deps.confirmed(id, conversationId)
            return [seq === undefined ? room : { seq }]
          }),
        )
        if (conversationId !== undefined)
          this.#found.set(session, { managed, since: stands.length > 0 ? stands.reduce(earliest) : undefined })
        return maybe.length > 0 || managed
      }
      session.takenOver = true
      session.settled = true
      metrics.takeovers.inc()
      log.debug({ rooms: record.rooms.length }, 'a record was taken over')
      const followed = record.rooms.map((room) => rooms.follow(session, room.conversationId, room))
      session.inheriting = null
      await Promise.all(followed)
      return false
    } catch (error) {
      log.warn({ err: error }, 'records could not be read')
      return true
    }
  }
}
