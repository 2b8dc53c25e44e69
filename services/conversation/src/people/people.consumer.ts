// Door of the queue `conversation.people`: who came, who went, who is available (spec 8).
import type { Consumer, EventBus } from '@fieldline/bus/bus'
import { UserEvent } from '@fieldline/contracts/events'
import type { People } from './people.ts'

/**
 * Takes `user.online`, `user.offline` and `user.availability-changed` until stopped. Older versions are dropped; repetitions do no harm.
 * `queue` is the namespaced name; `onChange` is told that somebody may be able to take a conversation now, and isn't waited for.
 */
export function consumePeople(
  { bus, people, onChange }: { bus: Pick<EventBus, 'consume'>; people: Pick<People, 'presence'>; onChange: () => void },
  queue: string,
): Promise<Consumer> {
  return bus.consume<UserEvent>(
    queue,
    async ({ body: event }) => {
      await take(event)
      if (event.type !== 'user.offline') onChange()
    },
    { prefetch: 20, maxAttempts: 5, handlerTimeoutMs: 30_000, parse: (body) => UserEvent.parse(body) },
  )

  async function take({ type, data }: UserEvent): Promise<void> {
    if (type === 'user.online')
      await people.presence({ person: data.person, iat: data.iat, online: true, version: data.version, seenAt: new Date(data.at) })
    if (type === 'user.offline')
      await people.presence({ person: data.person, iat: 0, online: false, version: data.version, seenAt: new Date(data.lastSeenAt) })
    // Availability is our own: the places hold it already, another replica's change only says that there may be something to hand out.
  }
}
