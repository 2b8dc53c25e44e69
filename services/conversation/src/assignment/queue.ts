// The queue of waiting conversations: hands them out, oldest first, as long as an agent is free (architecture, "The queue").
import type { Clock } from '@fieldline/service/clock'
import type { Logger } from '@fieldline/service/logger'
import { type AgentPlaces, type Choice, choose, cooling, type GivenBack } from './assignment.ts'
import { onePass } from './passes.ts'
import type { PlacesStore } from './places.ts'

/** A conversation in the queue. */
export interface Waiting {
  readonly conversationId: string
  readonly waitingSince: Date
  /** Who gave it up lately. */
  readonly givenBack: readonly GivenBack[]
}

/**
 * Unless it is `assigned`, nothing of ours is in. `conflict`: somebody else wrote first. `not-waiting`: there is nothing to assign any more.
 * `refused`: it can't be written now (its outbox is full, its lane too, the store away before the write).
 */
export type AssignOutcome = 'assigned' | 'conflict' | 'not-waiting' | 'refused'

/** What the queue needs of conversations. */
export interface WaitingConversations {
  /** Those in the queue after `after`, oldest first, then by id. */
  waiting(after: Waiting | null, limit: number): Promise<Waiting[]>
  /** ONE conditional write. A throw means that the outcome is unknown. */
  assign(conversationId: string, place: { agentId: string; token: string; at: Date }): Promise<AssignOutcome>
}

export interface Queue {
  /** Something changed: a pass begins now, or after the one that runs. Never waited for. */
  request(): void
  /** Resolves when a pass begun after this call has ended, after `patienceMs` at the latest. Never rejects. */
  drained(): Promise<void>
  /** Ends when the pass that runs has; none begins after it. */
  stop(): Promise<void>
}

export interface QueueOptions {
  readonly places: Pick<PlacesStore, 'free' | 'reserve' | 'cancel'>
  readonly conversations: WaitingConversations
  readonly clock: Clock
  readonly newToken: () => string
  readonly log: Pick<Logger, 'info' | 'warn'>
  /** Places an agent. */
  readonly capacity: number
  /** How long who gave a conversation back isn't given it again. */
  readonly coolingMs: number
  readonly patienceMs?: number
}

/** Entries read at once: as many as there are places, and a few that nobody may take. */
const spare = 10
const most = 100
/** Tries at one entry before a pass goes on to the next: others are at it too. */
const triesAnEntry = 5

export function createQueue({ places, conversations, clock, newToken, log, capacity, coolingMs, patienceMs = 1_000 }: QueueOptions): Queue {
  const passes = onePass(
    async () => {
      while (!passes.stopped && (await handOut()) > 0);
    },
    (err) => log.warn({ err }, 'a pass over the queue failed; the sweeper begins another'),
  )

  /** Once through the queue. Returns how many were assigned. */
  async function handOut(): Promise<number> {
    let free: AgentPlaces[] = await places.free(capacity)
    let assigned = 0
    let after: Waiting | null = null
    while (free.length > 0) {
      const limit = Math.min(placesOf(free) + spare, most)
      const entries: Waiting[] = await conversations.waiting(after, limit)
      for (const entry of entries) {
        for (let tries = 0; tries < triesAnEntry && !passes.stopped; tries++) {
          const choice = choose(free, cooling(entry.givenBack, coolingMs, clock.now()), capacity)
          if (!choice) break
          const outcome = await hand(entry, choice)
          if (outcome === 'assigned') assigned++
          // What we know of places is only sure after a write of our own; anything else is read again.
          free = outcome === 'assigned' ? withOneMore(free, choice.agentId, entry.conversationId) : await places.free(capacity)
          if (outcome !== 'conflict' && outcome !== 'no-place') break
        }
        if (passes.stopped || !choose(free, new Set(), capacity)) return assigned
      }
      after = entries.at(-1) ?? null
      if (entries.length < limit) return assigned
    }
    return assigned
  }

  /** One attempt with one token. */
  async function hand(
    { conversationId, waitingSince }: Waiting,
    { agentId, why }: Choice,
  ): Promise<AssignOutcome | 'no-place' | 'unknown'> {
    const token = newToken()
    const at = clock.now()
    if (!(await places.reserve(agentId, { conversationId, token, since: at }, 'automatic', capacity))) return 'no-place'
    try {
      const outcome = await conversations.assign(conversationId, { agentId, token, at })
      if (outcome === 'assigned') log.info({ conversationId, agentId, why, waitedMs: at.getTime() - waitingSince.getTime() }, 'assigned')
      else await places.cancel(agentId, token)
      return outcome
    } catch (err) {
      // The write may be in: the place is kept, and the sweeper takes it back if it isn't.
      log.warn({ err, conversationId, agentId }, 'assigning ended without an answer')
      return 'unknown'
    }
  }

  function withOneMore(free: readonly AgentPlaces[], agentId: string, conversationId: string): AgentPlaces[] {
    const place = { conversationId, token: '', since: clock.now() }
    return free.map((agent) => (agent.id === agentId ? { ...agent, active: [...agent.active, place], idleSince: place.since } : agent))
  }

  function placesOf(free: readonly AgentPlaces[]): number {
    return free.reduce((places, { active }) => places + Math.max(capacity - active.length, 0), 0)
  }

  return {
    request() {
      void passes.run()
    },
    async drained() {
      let timer: NodeJS.Timeout | undefined
      const patience = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, patienceMs)
      })
      await Promise.race([passes.run(), patience])
      clearTimeout(timer)
    },
    stop: () => passes.stop(),
  }
}
