// Who is away for sure: asked of realtime before an agent is taken for gone, as our own record is only as good as the events that reached us.
import type { Clock } from '@fieldline/service/clock'
import type { People } from '../people/people.ts'
import type { PresenceClient } from './presence.client.ts'

export interface Absence {
  /** Those of `ids` whom realtime too takes for offline. What it knows better is taken over. @throws AppError UNAVAILABLE */
  confirmed(ids: readonly string[]): Promise<Set<string>>
}

export interface AbsenceOptions {
  readonly people: Pick<People, 'find' | 'presence'>
  readonly presence: PresenceClient
  readonly clock: Clock
}

export function createAbsence({ people, presence, clock }: AbsenceOptions): Absence {
  return {
    async confirmed(ids) {
      if (ids.length === 0) return new Set()
      const known = await people.find(ids)
      const away = new Set<string>()
      for (const { personId, online, version, lastSeenAt } of await presence.ask(ids)) {
        if (!online) {
          away.add(personId)
          continue
        }
        const person = known.get(personId)
        const seenAt = lastSeenAt === null ? clock.now() : new Date(lastSeenAt)
        if (person && version > 0) await people.presence({ person, iat: 0, online, version, seenAt })
      }
      return away
    },
  }
}
