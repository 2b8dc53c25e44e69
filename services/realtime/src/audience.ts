// Who is connected to this replica: sessions by person, agents, admins; and saying one thing to many of them, encoded once.
import type { ServerEvent, ServerPayload } from '@fieldline/contracts/socket'
import type { ChatServer, Session } from './session.ts'

const nobody: ReadonlySet<Session> = new Set()

export class Audience {
  readonly #io: ChatServer
  readonly #people = new Map<string, Set<Session>>()
  readonly agents = new Set<Session>()
  readonly admins = new Set<Session>()

  constructor(io: ChatServer) {
    this.#io = io
  }

  add(session: Session): void {
    const { id } = session.person
    const theirs = this.#people.get(id)
    if (theirs) theirs.add(session)
    else this.#people.set(id, new Set([session]))
    this.placeByRole(session)
  }
  remove(session: Session): void {
    const { id } = session.person
    const theirs = this.#people.get(id)
    theirs?.delete(session)
    if (theirs?.size === 0) this.#people.delete(id)
    this.agents.delete(session)
    this.admins.delete(session)
  }
  /** After a role has changed. */
  placeByRole(session: Session): void {
    this.agents.delete(session)
    this.admins.delete(session)
    if (session.person.role === 'Support') this.agents.add(session)
    if (session.person.role === 'Admin') this.admins.add(session)
  }

  of(personId: string): ReadonlySet<Session> {
    return this.#people.get(personId) ?? nobody
  }
  get people(): number {
    return this.#people.size
  }
  *sessions(): Iterable<Session> {
    for (const theirs of this.#people.values()) yield* theirs
  }

  /** The same to all of these; returns how many they were. */
  say<Event extends ServerEvent>(to: ReadonlySet<Session>, event: Event, payload: ServerPayload<Event>): number {
    if (to.size === 0) return 0
    if (to.size === 1) for (const session of to) session.emit(event, payload)
    else
      this.broadcast(
        [...to].map(({ id }) => id),
        event,
        payload,
      )
    return to.size
  }

  /** The same to everyone in these rooms (a conversation's id, a socket's id) but those in `except`. */
  broadcast<Event extends ServerEvent>(rooms: string | string[], event: Event, payload: ServerPayload<Event>, except: string[] = []): void {
    const to = except.length > 0 ? this.#io.to(rooms).except(except) : this.#io.to(rooms)
    ;(to as unknown as { emit(event: string, payload: unknown): void }).emit(event, payload)
  }
}
