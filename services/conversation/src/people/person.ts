// What is known of a person and how that moves forward (spec 1). Pure: no I/O, no clock of its own.
import type { PersonSummary, Role } from '@fieldline/contracts/people'

/** A person as tokens and presence events told. Names and role move by a token's `iat` (seconds), presence by its own `version`. */
export interface KnownPerson extends PersonSummary {
  /** `iat` of the newest token that told names and role; 0 while no token has. */
  readonly iat: number
  readonly online: boolean
  /** Version of the newest presence known; 0 while none is. */
  readonly presenceVersion: number
  readonly lastSeenAt: Date | null
}

/** A change between online and offline, counted by realtime. */
export interface PresenceChange {
  readonly person: PersonSummary
  /** `iat` of the token that the names come from; 0 where the event doesn't tell. */
  readonly iat: number
  readonly online: boolean
  readonly version: number
  /** When the person was last there: now, while online. */
  readonly seenAt: Date
}

const power: Record<Role, number> = { User: 0, Support: 1, Admin: 2 }

/** Names, phone and role of a newer token; what an older one says is past. */
export function withToken(known: KnownPerson | null, person: PersonSummary, iat: number): KnownPerson {
  const named = summaryOf(person)
  if (!known) return { ...named, iat, online: false, presenceVersion: 0, lastSeenAt: null }
  if (iat <= known.iat) return known
  return { ...known, ...named, iat }
}

/** Presence moves by its version only, whatever clocks say; the names that come with it by their `iat`. */
export function withPresence(known: KnownPerson | null, change: PresenceChange): KnownPerson {
  const named = withToken(known, change.person, change.iat)
  if (change.version <= named.presenceVersion) return named
  return { ...named, online: change.online, presenceVersion: change.version, lastSeenAt: change.seenAt }
}

/**
 * The role a token still gives: its own, unless a newer token has lowered it. A raised role counts only with the newer token itself.
 * `known` is null for someone never seen.
 */
export function effectiveRole(token: { role: Role; iat: number }, known: Pick<KnownPerson, 'role' | 'iat'> | null): Role {
  if (!known || known.iat <= token.iat) return token.role
  return power[known.role] < power[token.role] ? known.role : token.role
}

/** Agents are those whom conversations are assigned to. Admins aren't. */
export function isAgent(person: Pick<PersonSummary, 'role'>): boolean {
  return person.role === 'Support'
}

/** Only what a summary holds: a token's claims and a document's fields stay behind. */
export function summaryOf({ id, role, firstName, lastName, phone }: PersonSummary): PersonSummary {
  return { id, role, firstName, lastName, phone }
}
