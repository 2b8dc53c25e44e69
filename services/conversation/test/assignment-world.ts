// A conversation service's core around assignment: stores, commands, queue, desk and sweeper of one replica or several, with a clock that tests move.
import type { ConversationId } from '@fieldline/contracts/ids'
import type { Person, Role } from '@fieldline/contracts/people'
import { newId } from '@fieldline/service/ids'
import { silentLogger } from '@fieldline/service/logger'
import { type AssignmentRoom, type AssignmentSettings, createAssignmentRoom } from '../src/assignment/room.ts'
import { type Commands, createCommands } from '../src/conversations/commands.ts'
import type { ConversationStore } from '../src/conversations/conversation.store.ts'
import type { Conversation } from '../src/conversations/conversation.ts'
import { createCurrent } from '../src/conversations/current.ts'
import { create } from '../src/conversations/lifecycle.ts'
import { createSend } from '../src/messages/send.ts'
import type { Stores } from './assignment-databases.ts'

export const noon = Date.UTC(2026, 10, 23, 12)

export interface Replica extends AssignmentRoom {
  readonly commands: Commands
  /** Ids of the events about availability. */
  readonly published: string[]
  /** A new conversation of that farmer, as `POST /conversations` makes one. */
  create(farmerId: string): Promise<ConversationId>
  /** A message of that person; the conversation it landed in. */
  say(id: ConversationId, by: Person): Promise<ConversationId>
}

export function person(id: string, role: Role = 'User', iat = 100): Person {
  return { id, role, firstName: id, lastName: '', phone: null, iat, exp: null }
}

export function createWorld(stores: Stores, given: Partial<AssignmentSettings> = {}) {
  const { conversations } = stores
  let time = noon
  const clock = { now: () => new Date(time++) }
  const settings: AssignmentSettings = {
    capacity: 5,
    coolingMs: 60_000,
    agentGraceMs: 120_000,
    emptyReleaseMs: 600_000,
    resolvedClosesAfterMs: 0,
    sweepEveryMs: 5_000,
    orphanAfterMs: 15_000,
    ...given,
  }
  /** What realtime would say; null: it doesn't answer. */
  let realtime: Map<string, { online: boolean; version: number }> | null = new Map()

  function replica(store: ConversationStore = conversations): Replica {
    const published: string[] = []
    const commands: Commands = createCommands({
      store,
      clock,
      log: silentLogger,
      relay: () => ({ offer: () => undefined, logged: () => undefined, isDone: () => false, left: () => undefined }),
      freed: (agentId, token) => void room.assignments.release(agentId, token),
    })
    const room: AssignmentRoom = createAssignmentRoom({
      settings,
      peopleStore: stores.people,
      places: stores.places,
      conversations: store,
      commands: () => commands,
      bus: { publish: async ({ id }) => void published.push(id) },
      presence: {
        async ask(ids) {
          if (!realtime) throw new Error('realtime is away')
          const told = realtime
          return ids.map((personId) => ({ personId, lastSeenAt: null, ...(told.get(personId) ?? { online: false, version: 0 }) }))
        },
      },
      namespace: '',
      clock,
      log: silentLogger,
    })

    const send = createSend({
      store,
      commands,
      current: createCurrent({ store, commands, clock }),
      assignment: room.assignments,
      reserveMedia: () => Promise.reject(new Error('no media here')),
    })

    return {
      ...room,
      commands,
      published,
      async say(conversationId, by): Promise<ConversationId> {
        const { message } = await send({ conversationId, messageType: 'text', content: 'hello' }, by)
        return message.conversationId
      },
      async create(farmerId: string): Promise<ConversationId> {
        const id = newId() as ConversationId
        const { exp: _exp, iat: _iat, ...farmer } = person(farmerId)
        await commands.insert(create({ id, farmer, previousConversationId: null }, clock.now().toISOString()))
        await room.assignments.drained()
        return id
      },
    }
  }

  const replicas = new Map<string, number>()
  return {
    clock,
    settings,
    replica,
    pass: (ms: number) => {
      time += ms
    },
    load: (id: ConversationId): Promise<Conversation | null> => conversations.load(id),
    free: () => stores.places.free(settings.capacity),
    held: async (agentId: string) => (await stores.places.find([agentId]))[0]?.active ?? [],
    async presence(at: Replica, agentId: string, online: boolean, told = true): Promise<void> {
      const version = (replicas.get(agentId) ?? 0) + 1
      replicas.set(agentId, version)
      realtime?.set(agentId, { online, version })
      const { exp: _exp, iat, ...summary } = person(agentId, 'Support')
      if (told) await at.people.presence({ person: summary, iat, online, version, seenAt: clock.now() })
    },
    realtimeAway() {
      realtime = null
    },
  }
}
