// The wiring of people and assignment inside the conversation service: what is made from what.
import type { EventBus } from '@fieldline/bus/bus'
import type { Clock } from '@fieldline/service/clock'
import { newId } from '@fieldline/service/ids'
import type { Logger } from '@fieldline/service/logger'
import type { Commands } from '../conversations/commands.ts'
import type { ConversationStore } from '../conversations/conversation.store.ts'
import type { PeopleStore } from '../people/people.store.ts'
import { type AgentRegister, createPeople, type People } from '../people/people.ts'
import { createAbsence } from './absence.ts'
import { type Agents, createAgents } from './agents.ts'
import { type Assignments, createAssignments } from './assignments.ts'
import { sweptConversations, waitingConversations } from './held.ts'
import type { PlacesStore } from './places.ts'
import type { PresenceClient } from './presence.client.ts'
import { createQueue, type Queue } from './queue.ts'
import { createSweeper, type Sweeper } from './sweeper.ts'

/** Times in milliseconds. */
export interface AssignmentSettings {
  /** `AGENT_CAPACITY`: places an agent. */
  readonly capacity: number
  /** How long who gave a conversation back isn't given it again. */
  readonly coolingMs: number
  readonly agentGraceMs: number
  readonly emptyReleaseMs: number
  /** 0: never. */
  readonly resolvedClosesAfterMs: number
  readonly sweepEveryMs: number
  /** Longer than any write takes. */
  readonly orphanAfterMs: number
}

export interface AssignmentRoomOptions {
  readonly settings: AssignmentSettings
  readonly peopleStore: PeopleStore
  readonly places: PlacesStore
  readonly conversations: ConversationStore
  /** Called when the first command is given: commands and assignment know each other. */
  readonly commands: () => Pick<Commands, 'execute'>
  readonly bus: Pick<EventBus, 'publish'>
  readonly presence: PresenceClient
  readonly namespace: string
  readonly clock: Clock
  readonly log: Logger
}

export interface AssignmentRoom {
  readonly people: People
  readonly agents: Agents
  readonly queue: Queue
  readonly assignments: Assignments
  readonly sweeper: Sweeper
  /** Sweeps from now on, and begins with what was missed while nobody was there. */
  start(): Promise<void>
  /** Resolves when nothing of it runs any more. */
  stop(): Promise<void>
}

export function createAssignmentRoom(options: AssignmentRoomOptions): AssignmentRoom {
  const { settings, places, conversations: store, presence, bus, namespace, clock, log } = options
  const { capacity, coolingMs, agentGraceMs, sweepEveryMs } = settings
  const commands: Pick<Commands, 'execute'> = { execute: (id, command) => options.commands().execute(id, command) }
  const register: AgentRegister = {
    enrol: (person) => places.enrol(person, clock.now()),
    presence: async (change) => void (await places.presence(change, clock.now())),
  }
  const people = createPeople({ store: options.peopleStore, register })
  const held = { store, commands, people, log }
  const queue = createQueue({ places, conversations: waitingConversations(held), clock, newToken: newId, log, capacity, coolingMs })
  const agents = createAgents({ people, places, bus, namespace, clock, log, capacity, onFree: () => queue.request() })
  const absence = createAbsence({ people, presence, clock })
  const assignments = createAssignments({ commands, places, people, absence, queue, clock, log, newToken: newId, capacity, agentGraceMs })
  const sweeper = createSweeper({
    ...settings,
    everyMs: sweepEveryMs,
    places,
    conversations: sweptConversations(held),
    absence,
    agents,
    queue,
    clock,
    log,
  })

  return {
    people,
    agents,
    queue,
    assignments,
    sweeper,
    async start() {
      queue.request()
      sweeper.start()
    },
    async stop() {
      await sweeper.stop()
      await assignments.idle()
      await queue.stop()
      await agents.stop()
    },
  }
}
