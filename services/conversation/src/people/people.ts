// The people projection as the rest of the service uses it: who is meant by a token, how people are shown, who is there.
import type { Person, PersonSummary } from '@fieldline/contracts/people'
import { LRUCache } from 'lru-cache'
import { batched } from './batch.ts'
import type { PeopleStore, StoredPerson } from './people.store.ts'
import { effectiveRole, isAgent, type KnownPerson, type PresenceChange, summaryOf, withPresence, withToken } from './person.ts'

/** Where it is told who is an agent and who of them is online. Both calls are idempotent; older `iat`s and versions change nothing. */
export interface AgentRegister {
  enrol(person: { id: string; agent: boolean; iat: number }): Promise<void>
  presence(change: { id: string; online: boolean; version: number; seenAt: Date }): Promise<void>
}

export interface People {
  /**
   * Takes what a verified token says of its person, and returns that person with the role that still counts (a newer token may have lowered it).
   * A token that is known already costs no write, and for a farmer no read either.
   */
  recognize(person: Person): Promise<Person>
  /** The role that counts for a token of that person with that `iat`, without learning from it. */
  effectiveRole(token: Pick<Person, 'id' | 'role' | 'iat'>): Promise<Person['role']>
  /** Takes a change between online and offline. False if a newer one is known. */
  presence(change: PresenceChange): Promise<boolean>
  find(ids: readonly string[]): Promise<Map<string, KnownPerson>>
  /** How people are shown, newest names. Who was never seen is left out. */
  summaries(ids: readonly string[]): Promise<Map<string, PersonSummary>>
  /** Which of these are online. */
  online(ids: readonly string[]): Promise<Set<string>>
  /** Everyone who is an agent by the newest token, by id. */
  agents(): Promise<KnownPerson[]>
}

/** How often a write that lost against another is tried again; a person's writes are few. */
const tries = 20

export function createPeople({
  store,
  register,
  cachedTokens = 50_000,
}: {
  store: PeopleStore
  register: AgentRegister
  cachedTokens?: number
}): People {
  const look = batched((ids) => store.find(ids))
  // The newest `iat` this process knows to be stored, by person. Absence says nothing.
  const told = new LRUCache<string, number>({ max: cachedTokens })

  async function move(
    id: string,
    forward: (known: KnownPerson | null) => KnownPerson,
  ): Promise<{ before: StoredPerson | null; after: KnownPerson }> {
    for (let attempt = 0; attempt < tries; attempt++) {
      const before = (await store.find([id]))[0] ?? null
      const after = forward(before)
      // Told before it is written, so that a crash in between leaves nobody an agent who no longer is one.
      if (before && isAgent(before) && !isAgent(after)) await register.enrol({ id, agent: false, iat: after.iat })
      if (after === before || (await store.save(withoutRevision(after), before?.revision ?? 0))) return { before, after }
    }
    throw new Error('A person changed too often to be written')
  }

  /** With what is known of their presence: somebody may have become an agent while online. */
  async function enrol({ id, iat, online, presenceVersion, lastSeenAt }: KnownPerson): Promise<void> {
    await register.enrol({ id, agent: true, iat })
    if (lastSeenAt) await register.presence({ id, online, version: presenceVersion, seenAt: lastSeenAt })
  }

  async function one(id: string): Promise<StoredPerson | null> {
    return (await look([id])).get(id) ?? null
  }

  async function some(ids: readonly string[]): Promise<StoredPerson[]> {
    const found = await look(ids)
    return [...new Set(ids)].flatMap((id) => found.get(id) ?? [])
  }

  return {
    async recognize(person) {
      const newest = told.get(person.id)
      if (newest !== undefined && newest >= person.iat) {
        if (person.role === 'User') return person
        // Another replica may have seen a newer token: a lowered role counts at once, so the powerful are looked up.
        return { ...person, role: effectiveRole(person, await one(person.id)) }
      }
      const { after } = await move(person.id, (known) => withToken(known, summaryOf(person), person.iat))
      if (isAgent(after)) await enrol(after)
      told.set(person.id, after.iat)
      return { ...person, role: effectiveRole(person, after) }
    },

    async effectiveRole(token) {
      return token.role === 'User' ? 'User' : effectiveRole(token, await one(token.id))
    },

    async presence(change) {
      const { before, after } = await move(change.person.id, (known) => withPresence(known, change))
      // Told again even when nothing moved: a crash may have come between the two writes, and the event be a redelivery.
      if (isAgent(after)) await enrol(after)
      return (before?.presenceVersion ?? 0) < change.version
    },

    async find(ids) {
      const found = await some(ids)
      return new Map(found.map((person) => [person.id, person]))
    },

    async summaries(ids) {
      const found = await some(ids)
      return new Map(found.map((person) => [person.id, summaryOf(person)]))
    },

    async online(ids) {
      const found = await some(ids)
      return new Set(found.filter(({ online }) => online).map(({ id }) => id))
    },

    agents: () => store.agents(),
  }
}

function withoutRevision(person: KnownPerson & { revision?: number }): KnownPerson {
  const { revision: _revision, ...known } = person
  return known
}
