// Agents as desks see them, and an agent's own choice to be given conversations or not.
import { createHash } from 'node:crypto'
import { type EventBus, namespacedName } from '@fieldline/bus/bus'
import { AppError } from '@fieldline/contracts/errors'
import type { UserAvailabilityChanged } from '@fieldline/contracts/events'
import type { AgentView, PersonSummary } from '@fieldline/contracts/people'
import { eventsExchange, headers } from '@fieldline/contracts/topology'
import type { Clock } from '@fieldline/service/clock'
import type { Logger } from '@fieldline/service/logger'
import type { People } from '../people/people.ts'
import type { KnownPerson } from '../people/person.ts'
import { onePass } from './passes.ts'
import type { PlacesStore, StoredAgent } from './places.ts'

export interface Agents {
  /** Everyone who is an agent, by id. */
  list(): Promise<AgentView[]>
  /** Choice of an agent; `user.availability-changed` follows, once, also after a crash. @throws AppError FORBIDDEN who is no agent */
  setAvailable(agentId: string, available: boolean): Promise<AgentView>
  /** Publishes what isn't yet. Resolves when tried; what fails is tried again with the next call. */
  announce(): Promise<void>
  stop(): Promise<void>
}

export interface AgentsOptions {
  readonly people: Pick<People, 'agents' | 'find'>
  readonly places: Pick<PlacesStore, 'find' | 'choose' | 'announced' | 'unannounced'>
  readonly bus: Pick<EventBus, 'publish'>
  readonly namespace: string
  readonly clock: Clock
  readonly log: Pick<Logger, 'warn'>
  readonly capacity: number
  /** Somebody may be able to take a conversation now. */
  readonly onFree: () => void
}

const batch = 100

export function createAgents({ people, places, bus, namespace, clock, log, capacity, onFree }: AgentsOptions): Agents {
  const announcing = onePass(
    async () => {
      const agents = await places.unannounced(batch)
      const known = await people.find(agents.map(({ id }) => id))
      for (const agent of agents) {
        const person = known.get(agent.id)
        if (!person || !agent.chosenAt) continue
        await bus.publish(availabilityEvent(agent, person, agent.chosenAt, namespace))
        await places.announced(agent.id, agent.version)
      }
    },
    (err) => log.warn({ err }, 'an availability could not be announced yet'),
  )

  return {
    async list() {
      const agents = await people.agents()
      const found = new Map((await places.find(agents.map(({ id }) => id))).map((agent) => [agent.id, agent]))
      return agents.map((person) => agentView(person, found.get(person.id), capacity))
    },

    async setAvailable(agentId, available) {
      const agent = await places.choose(agentId, available, clock.now())
      const person = (await people.find([agentId])).get(agentId)
      if (!agent || !person) throw new AppError('FORBIDDEN', 'Only agents can choose to be available')
      void announcing.run()
      if (available) onFree()
      return agentView(person, agent, capacity)
    },

    announce: () => announcing.run(),
    stop: () => announcing.stop(),
  }
}

function agentView(person: KnownPerson, agent: StoredAgent | undefined, capacity: number): AgentView {
  return {
    _id: person.id,
    first_name: person.firstName,
    last_name: person.lastName,
    role: person.role,
    isOnline: agent?.online ?? false,
    available: agent?.available ?? true,
    active: agent?.active.length ?? 0,
    capacity,
    lastSeenAt: person.lastSeenAt?.toISOString() ?? null,
  }
}

/** The same id and content at each repetition. */
function availabilityEvent({ id, available, version }: StoredAgent, person: PersonSummary, chosenAt: Date, namespace: string) {
  const at = chosenAt.toISOString()
  const body: UserAvailabilityChanged = {
    specversion: '1.0',
    id: createHash('sha256').update(`user.availability-changed ${version} ${id}`).digest('hex'),
    source: 'conversation',
    time: at,
    datacontenttype: 'application/json',
    type: 'user.availability-changed',
    data: {
      person: { id, role: person.role, firstName: person.firstName, lastName: person.lastName, phone: person.phone },
      version,
      at,
      available,
    },
  }
  return {
    exchange: namespacedName(eventsExchange, namespace),
    routingKey: body.type,
    id: body.id,
    body,
    headers: { [headers.people]: JSON.stringify([id]) },
  }
}
