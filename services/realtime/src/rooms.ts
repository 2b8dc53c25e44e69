// The rooms of this replica by conversation, who joins and leaves them, and whose conversations they are.

import { AppError } from '@fieldline/contracts/errors'
import type { ConversationId } from '@fieldline/contracts/ids'
import type { Joined } from '@fieldline/contracts/socket'
import type { Standpoint } from './presence/presence.ts'
import type { Parties } from './rights.ts'
import { type Join, Room, type RoomDeps } from './room.ts'
import type { Session } from './session.ts'

/** A join whose socket left before it was in: answered as such, and nobody is told of an error. */
export class TakenBack extends AppError {
  constructor(message: string) {
    super('UNAVAILABLE', message)
  }
}

export class Rooms {
  readonly #rooms = new Map<ConversationId, Room>()
  /** Rooms by participant, for presence. */
  readonly #byPerson = new Map<string, Set<Room>>()
  readonly #deps: RoomDeps
  readonly #mostRooms: number
  readonly #wished: (session: Session) => void

  /** @param wished a session wishes to join something: to be recorded, as it may end before it has */
  constructor(deps: Omit<RoomDeps, 'partiesChanged' | 'empty'>, mostRooms: number, wished: (session: Session) => void) {
    this.#mostRooms = mostRooms
    this.#wished = wished
    this.#deps = {
      ...deps,
      partiesChanged: (room, before) => this.#index(room, before),
      empty: (room) => {
        if (this.#rooms.get(room.id) !== room) return
        this.#rooms.delete(room.id)
        for (const personId of personIds(room.parties)) this.#unindex(room, personId)
      },
    }
  }

  get(id: ConversationId): Room | undefined {
    return this.#rooms.get(id)
  }
  get size(): number {
    return this.#rooms.size
  }
  all(): Iterable<Room> {
    return this.#rooms.values()
  }
  /** Rooms of conversations this person takes part in. */
  of(personId: string): Iterable<Room> {
    return this.#byPerson.get(personId) ?? []
  }

  /** Who takes part in a conversation that somebody here has joined. */
  people(): Iterable<string> {
    return this.#byPerson.keys()
  }

  /** The client's own join. @throws AppError as conversation refuses it; RATE_LIMITED with too many rooms; UNAVAILABLE when it is tried on */
  join(session: Session, id: ConversationId, afterSeq: number | undefined): Promise<Joined> {
    if (!this.hasRoomFor(session, id)) throw new AppError('RATE_LIMITED', `A connection may join ${this.#mostRooms} conversations`)
    return new Promise((resolve, reject) => {
      let answered = false
      const answer = (outcome: Joined | AppError) => {
        answered = true
        if (outcome instanceof AppError) reject(outcome)
        else resolve(outcome)
      }
      // An error is made only where somebody hears it: each costs a stack trace.
      const settled = () => answered || reject(new TakenBack('The connection left, or ended, before it had joined'))
      session.want(id)
      if (afterSeq !== undefined) session.manage(id)
      this.#wish(session, id, { seq: afterSeq ?? null }, { answer, settled, tried: null })
    })
  }

  /**
   * Joins without the client asking, unless it has left meanwhile: what it missed from there on comes as `message:new`. Resolves when that was tried once: where it has to be tried on,
   * whoever waits for it would wait for as long as the conversation cannot be read.
   */
  follow(session: Session, id: ConversationId, from: Standpoint): Promise<void> {
    if (session.closed || session.joined.has(id) || !session.wants(id) || !this.hasRoomFor(session, id)) return Promise.resolve()
    return new Promise((resolve) => this.#wish(session, id, from, { answer: null, settled: null, tried: resolve }))
  }

  /** Joins under way count: many at once would pass the limit together. */
  hasRoomFor(session: Session, id: ConversationId): boolean {
    if (session.joined.has(id) || session.isEntering(id)) return true
    const wished = [...session.entering].filter((one) => !session.joined.has(one))
    return session.joined.size + wished.length < this.#mostRooms
  }

  #wish(session: Session, id: ConversationId, from: Standpoint, asked: Pick<Join, 'answer' | 'settled' | 'tried'>) {
    let room = this.#rooms.get(id)
    if (!room) {
      room = new Room(id, this.#deps)
      this.#rooms.set(id, room)
    }
    const wished = room
    const settled = () => {
      if (!wished.awaits(session)) session.wishEnded(id)
      asked.settled?.()
    }
    const since = from.seq ?? undefined
    const wishedAt = from.wishedAt ?? Date.now()
    const byTime = from.wishedAt !== undefined
    session.wish(id, startOf(from, wished.cursor?.seq, wishedAt))
    const confirmed = session.cursors.get(id) ?? 0
    wished.join({ session, since, afterSeq: since, ...asked, settled, failures: 0, confirmed, wishedAt, byTime })
    if (session.isEntering(id) && !session.joined.has(id)) this.#wished(session)
  }

  /** Undefined where no join of this socket is under way. */
  entering(session: Session, id: ConversationId): Promise<void> | undefined {
    return this.#rooms.get(id)?.entering(session)
  }

  leave(session: Session, id: ConversationId): void {
    session.unwant(id)
    this.#rooms.get(id)?.leave(session)
  }
  /** All of this socket's, and what it still wished for. */
  leaveAll(session: Session): void {
    session.unwant()
    for (const id of new Set([...session.joined, ...session.entering])) this.leave(session, id)
  }

  /** A farmer's conversation passed to this agent, and with it the right to the same farmer's earlier ones. */
  regrant(farmerId: string, agentId: string | null): void {
    for (const room of [...this.of(farmerId)]) room.regrant(agentId)
  }

  #index(room: Room, before: Parties | null): void {
    for (const personId of personIds(before)) this.#unindex(room, personId)
    for (const personId of personIds(room.parties)) {
      const rooms = this.#byPerson.get(personId)
      if (rooms) rooms.add(room)
      else this.#byPerson.set(personId, new Set([room]))
    }
  }
  #unindex(room: Room, personId: string): void {
    const rooms = this.#byPerson.get(personId)
    rooms?.delete(room)
    if (rooms?.size === 0) this.#byPerson.delete(personId)
  }
}

/** Where a wish begins. One that says nothing begins now: behind what the room has told, or, where nobody is in it yet, by the time. */
function startOf(from: Standpoint, told: number | undefined, wishedAt: number): Standpoint {
  if (from.seq !== null || from.wishedAt !== undefined) return from
  return told === undefined ? { seq: null, wishedAt } : { seq: told }
}

function personIds(parties: Parties | null): string[] {
  if (!parties) return []
  return parties.assignedId === null ? [parties.farmerId] : [parties.farmerId, parties.assignedId]
}
