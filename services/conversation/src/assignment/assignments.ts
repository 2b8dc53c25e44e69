// Gives conversations to agents and takes them back: places first, then the one write that carries their token.
import type { Reassign } from '@fieldline/contracts/conversations'
import { AppError } from '@fieldline/contracts/errors'
import type { ConversationId, PersonId } from '@fieldline/contracts/ids'
import type { Person, PersonSummary } from '@fieldline/contracts/people'
import type { Clock } from '@fieldline/service/clock'
import type { Logger } from '@fieldline/service/logger'
import { invalid } from '@fieldline/service/parse'
import { LRUCache } from 'lru-cache'
import type { Assignment } from '../assignment.port.ts'
import type { Commands } from '../conversations/commands.ts'
import { type Conversation, type Decision, nothing } from '../conversations/conversation.ts'
import { type Assign, assign, claim, release } from '../conversations/lifecycle.ts'
import type { People } from '../people/people.ts'
import type { Absence } from './absence.ts'
import { isGone, type ReserveMode, refusal } from './assignment.ts'
import { giveBack } from './giving-back.ts'
import type { PlacesStore } from './places.ts'
import type { Queue } from './queue.ts'

export interface Assignments extends Assignment {
  /** An agent takes a waiting conversation; one that is the agent's already is left so. @throws AppError as `SupportDesk.claim` */
  claim(id: ConversationId, by: Person): Promise<Conversation>
  /** An admin gives it to an agent, or back to the queue. @throws AppError as `SupportDesk.reassign` */
  reassign(asked: Reassign, by: Person): Promise<Conversation>
  /** Resolves when nothing that `farmerWrote`, `release` or `cancel` began runs any more. */
  idle(): Promise<void>
}

export interface AssignmentsOptions {
  readonly commands: Pick<Commands, 'execute'>
  readonly places: Pick<PlacesStore, 'find' | 'reserve' | 'release' | 'cancel'>
  readonly people: Pick<People, 'summaries'>
  readonly absence: Absence
  readonly queue: Pick<Queue, 'request' | 'drained'>
  readonly clock: Clock
  readonly log: Pick<Logger, 'info' | 'warn'>
  readonly newToken: () => string
  readonly capacity: number
  readonly agentGraceMs: number
}

/** For how long an agent who was there is taken to be there still, on the way of each message. The sweeper knows better soon enough. */
const presentMs = 1_000

export function createAssignments(options: AssignmentsOptions): Assignments {
  const { commands, places, people, absence, queue, clock, log, newToken, capacity, agentGraceMs } = options
  /** When each was seen there last. */
  const present = new LRUCache<string, number>({ max: 10_000 })
  const running = new Set<Promise<void>>()

  /** The token of a new place. @throws AppError AT_CAPACITY, VALIDATION_FAILED (no such agent) */
  async function take(agentId: PersonId, conversationId: ConversationId, mode: ReserveMode): Promise<string> {
    const token = newToken()
    if (await places.reserve(agentId, { conversationId, token, since: clock.now() }, mode, capacity)) return token
    const why = refusal((await places.find([agentId]))[0] ?? null, mode, capacity)
    if (why === 'not-an-agent') throw invalid([{ field: 'supportId', message: 'is not a known agent' }])
    throw new AppError('AT_CAPACITY', 'The agent has as many open conversations as allowed')
  }

  async function giveUp(agentId: PersonId, given: Promise<boolean>): Promise<void> {
    try {
      if (await given) queue.request()
    } catch (err) {
      log.warn({ err, agentId }, 'a place could not be given back; the sweeper takes it')
    }
  }

  const cancel = (agentId: PersonId, token: string) => giveUp(agentId, places.cancel(agentId, token))

  /** Decides, and only then takes the place: whoever may not get the conversation takes nothing. */
  async function withPlace(
    conversation: Conversation,
    agent: PersonSummary,
    mode: ReserveMode,
    decide: (placeToken: string) => Decision,
  ): Promise<Decision> {
    const undecided = decide('')
    if (undecided.facts.length === 0) return undecided
    return decide(await take(agent.id, conversation.id, mode))
  }

  /** What a write that didn't get in had reserved. */
  const abandoned = async ({ after, facts }: Decision): Promise<void> => {
    const { assigned } = after
    if (assigned?.placeToken && facts.some(({ type }) => type === 'conversation.assigned'))
      await cancel(assigned.person.id, assigned.placeToken)
  }

  async function known(agentId: PersonId): Promise<PersonSummary> {
    const agent = (await people.summaries([agentId])).get(agentId)
    if (!agent) throw invalid([{ field: 'supportId', message: 'is not a known agent' }])
    return agent
  }

  async function relieve({ id, assigned, status }: Conversation): Promise<void> {
    if (status !== 'open' || !assigned?.placeToken) return
    const holder = { agentId: assigned.person.id, token: assigned.placeToken }
    const now = clock.now()
    if (now.getTime() - (present.get(holder.agentId) ?? Number.NEGATIVE_INFINITY) < presentMs) return
    const agent = (await places.find([holder.agentId]))[0] ?? null
    if (!isGone(agent, new Date(assigned.at), agentGraceMs, now)) {
      if (agent?.online) present.set(holder.agentId, now.getTime())
      return
    }
    if (agent?.agent && !(await absence.confirmed([agent.id])).has(agent.id)) return
    const { entries } = await commands.execute(id, { decide: (it, at) => giveBack(it, holder, !agent?.agent, at) })
    if (entries.length === 0) return
    log.info({ conversationId: id, agentId: holder.agentId }, 'back to the queue: the farmer wrote and the agent is gone')
    queue.request()
  }

  /** What nobody need wait for; `idle` does. */
  function own(work: Promise<void>): Promise<void> {
    running.add(work)
    return work.finally(() => running.delete(work))
  }

  return {
    drained: () => queue.drained(),
    kick: () => queue.request(),

    async reserve(agentId, conversationId) {
      const token = newToken()
      const reserved = await places.reserve(agentId, { conversationId, token, since: clock.now() }, 'automatic', capacity)
      return reserved ? token : null
    },

    release: (agentId, token) => own(giveUp(agentId, places.release(agentId, token, clock.now()))),
    cancel: (agentId, token) => own(cancel(agentId, token)),

    farmerWrote(conversation) {
      const relieved = relieve(conversation).catch((err: unknown) =>
        log.warn({ err, conversationId: conversation.id }, 'an agent who is gone could not be relieved; the sweeper does it'),
      )
      void own(relieved)
    },

    async claim(id, by) {
      const agent = await known(by.id)
      const { conversation } = await commands.execute(id, {
        decide(it, now) {
          if (it.status === 'open' && it.assigned?.person.id === by.id) return nothing(it)
          return withPlace(it, agent, 'known', (placeToken) => claim(it, { agent, placeToken }, now))
        },
        abandoned,
      })
      return conversation
    },

    async reassign({ conversationId, supportId, reason, force }, by) {
      const note = reason ?? null
      const { conversation } = await commands.execute(conversationId, {
        async decide(it, now) {
          if (supportId === null) return release(it, { reason: 'released-by-admin', note, by: by.id, queued: true }, now)
          const agent = await known(supportId)
          const to: Omit<Assign, 'placeToken'> = { agent, reason: 'reassigned', note, by: by.id }
          return withPlace(it, agent, force ? 'force' : 'known', (placeToken) => assign(it, { ...to, placeToken }, now))
        },
        abandoned,
      })
      if (supportId === null) queue.request()
      return conversation
    },

    async idle() {
      while (running.size > 0) await Promise.all(running)
    },
  }
}
