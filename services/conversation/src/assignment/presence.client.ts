// Asks realtime who is there, before somebody is taken for gone (contracts internal, `POST /internal/presence`).
import { Presence } from '@fieldline/contracts/internal'
import type { Peer } from '@fieldline/service/peer'

export interface PresenceClient {
  /** Realtime's own record of these people. @throws AppError UNAVAILABLE */
  ask(personIds: readonly string[]): Promise<Presence['people']>
}

/** As many as one call may name. */
const most = 1_000

export function presenceClient(realtime: Pick<Peer, 'call'>): PresenceClient {
  return {
    async ask(personIds) {
      const people: Presence['people'] = []
      for (let from = 0; from < personIds.length; from += most) {
        const answer = await realtime.call({
          method: 'POST',
          path: '/internal/presence',
          body: { personIds: personIds.slice(from, from + most) },
          schema: Presence,
          idempotent: true,
        })
        people.push(...answer.body.people)
      }
      return people
    },
  }
}
