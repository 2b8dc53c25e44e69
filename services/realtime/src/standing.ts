// What user events tell this replica: who is online now, for views and for those who share a conversation; and roles that a newer token lowered.
import type { UserEvent } from '@fieldline/contracts/events'
import type { Person, Role } from '@fieldline/contracts/people'
import { LRUCache } from 'lru-cache'
import type { Audience } from './audience.ts'
import type { RealtimeMetrics } from './metrics.ts'
import type { Presence } from './presence/presence.ts'
import type { Rooms } from './rooms.ts'
import type { Session } from './session.ts'

export interface StandingDeps {
  readonly audience: Audience
  readonly rooms: () => Rooms
  readonly metrics: () => RealtimeMetrics
  /** These people's presence as it is recorded; unknown ones are left out. @throws AppError UNAVAILABLE */
  readonly load: (personIds: readonly string[]) => Promise<Presence[]>
}

const atOnce = 500
const rememberedPeople = 50_000
const rank: Record<Role, number> = { User: 0, Support: 1, Admin: 2 }

export class Standing {
  readonly #deps: StandingDeps
  readonly #online = new LRUCache<string, { version: number; online: boolean }>({ max: rememberedPeople })
  readonly #told = new LRUCache<string, { version: number; online: boolean }>({ max: rememberedPeople })
  #missed = false

  constructor(deps: StandingDeps) {
    this.#deps = deps
  }

  /** Undefined: nothing is known here yet. */
  isOnline(personId: string): boolean | undefined {
    if (this.#deps.audience.of(personId).size > 0) return true
    return this.#online.get(personId)?.online
  }

  learn({ personId, version, online, person, iat }: Pick<Presence, 'personId' | 'version' | 'online' | 'person' | 'iat'>): void {
    const known = this.#online.get(personId)
    if (!known || known.version <= version) this.#online.set(personId, { version, online })
    this.#lower(personId, person.role, iat)
  }

  /** Tells whoever has joined a conversation with that person, and admins. Older versions are dropped. */
  take(event: UserEvent): void {
    if (event.type === 'user.availability-changed') return
    const { person, version } = event.data
    const online = event.type === 'user.online'
    if (event.type === 'user.online') this.#lower(person.id, person.role, event.data.iat)
    const known = this.#online.get(person.id)
    if (!known || known.version <= version) this.#online.set(person.id, { version, online })
    this.#tell(person.id, version, event.type === 'user.online' ? null : event.data.lastSeenAt, online)
  }

  /** The broker was away: who came and who left meanwhile was announced to others. */
  missed(): void {
    this.#missed = true
  }

  /** After that: tells what the record says by now of whoever somebody here is told about. @throws AppError UNAVAILABLE, and is to be called again */
  async catchUp(): Promise<void> {
    if (!this.#missed) return
    this.#missed = false
    const people = [...new Set([...this.#deps.rooms().people(), ...(this.#deps.audience.admins.size > 0 ? this.#told.keys() : [])])]
    try {
      for (let at = 0; at < people.length; at += atOnce)
        for (const presence of await this.#deps.load(people.slice(at, at + atOnce))) {
          this.learn(presence)
          this.#tell(presence.personId, presence.version, presence.lastSeenAt, presence.online)
        }
    } catch (error) {
      this.#missed = true
      throw error
    }
  }

  #tell(personId: string, version: number, lastSeenAt: string | null, online: boolean): void {
    // What this replica wrote itself it knows before it is announced, so what was told stands apart from what is known.
    const told = this.#told.get(personId)
    if (told && told.version >= version) return
    this.#told.set(personId, { version, online })
    if (told?.online === online) return
    const to = new Set<Session>()
    for (const room of this.#deps.rooms().of(personId))
      for (const session of room.members) if (session.person.id !== personId) to.add(session)
    for (const session of this.#deps.audience.admins) if (session.person.id !== personId) to.add(session)
    if (online) this.#deps.audience.say(to, 'user:online', { userId: personId, isOnline: true, lastSeenAt: null })
    else this.#deps.audience.say(to, 'user:offline', { userId: personId, isOnline: false, lastSeenAt })
    this.#deps.metrics().emits.inc({ event: online ? 'user:online' : 'user:offline' }, to.size)
  }

  /** A role that a newer token lowered counts at once for older tokens too. */
  #lower(personId: string, role: Role, iat: number): void {
    for (const session of this.#deps.audience.of(personId)) if (iat > session.person.iat) this.#lowerOne(session, role)
  }

  /** This very token was found lowered. */
  lower({ id, iat }: Pick<Person, 'id' | 'iat'>, role: Role): void {
    for (const session of this.#deps.audience.of(id)) if (iat === session.person.iat) this.#lowerOne(session, role)
  }

  #lowerOne(session: Session, role: Role): void {
    if (rank[role] >= rank[session.person.role]) return
    session.person = { ...session.person, role }
    this.#deps.audience.placeByRole(session)
    for (const id of [...session.joined]) this.#deps.rooms().get(id)?.recheck()
  }
}
