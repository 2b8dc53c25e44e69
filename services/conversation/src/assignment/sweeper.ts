// Repairs what a crash, a lost event or time itself left: orphaned places, agents gone, empty and long resolved conversations, missed causes.
import type { Clock } from '@fieldline/service/clock'
import type { Logger } from '@fieldline/service/logger'
import type { Absence } from './absence.ts'
import type { Agents } from './agents.ts'
import { isGone, type Place } from './assignment.ts'
import { onePass } from './passes.ts'
import type { PlacesStore, StoredAgent } from './places.ts'
import type { Queue } from './queue.ts'

/** Who holds a conversation, by the token its assignment was written with. */
export interface Holder {
  readonly agentId: string
  readonly token: string
}

/** `limit` of what is due, past those in `left`: what could not be done goes there, and hides nothing behind it. */
export interface Batch {
  readonly limit: number
  readonly left: Set<string>
}

/** What the sweeper needs of conversations. Each change looks at the conversation again in its own write, so replicas may do it at once. */
export interface SweptConversations {
  /** Tokens by which open conversations are this agent's, of at most `limit` of them. */
  tokensOf(agentId: string, limit: number): Promise<Set<string>>
  /** Moves the version, so that a write decided before this fails; then who holds it. Null: nobody, or there is no such conversation. */
  fence(id: string): Promise<Holder | null>
  /** Puts it back in the queue if it is still `holder`'s and awaits an answer; `always`: whatever it awaits. */
  giveBack(id: string, holder: Holder, always: boolean): Promise<boolean>
  /** Takes empty ones, assigned (or waiting) since before `before`, out of agents' places and out of the queue. True if more may be due. */
  releaseEmpty(before: Date, batch: Batch): Promise<boolean>
  /** Closes those resolved before `before`. True if more may be due. */
  closeResolved(before: Date, batch: Batch): Promise<boolean>
}

export interface SweeperOptions {
  readonly places: Pick<PlacesStore, 'holding' | 'release'>
  readonly conversations: SweptConversations
  readonly absence: Absence
  readonly agents: Pick<Agents, 'announce'>
  readonly queue: Pick<Queue, 'request'>
  readonly clock: Clock
  readonly log: Pick<Logger, 'info' | 'warn'>
  /** Between two sweeps. */
  readonly everyMs: number
  /** A place without its assignment is an orphan after this: longer than any write takes. */
  readonly orphanAfterMs: number
  readonly agentGraceMs: number
  readonly emptyReleaseMs: number
  /** 0: resolved conversations stay resolved. */
  readonly resolvedClosesAfterMs: number
}

export interface Sweeper {
  start(): void
  /** One sweep begun after this call. */
  sweep(): Promise<void>
  stop(): Promise<void>
}

const batch = 200
/** Where so many can't be done, the trouble is not theirs: the next sweep tries again. */
const mostLeft = 1_000

export function createSweeper(options: SweeperOptions): Sweeper {
  const { places, conversations, absence, agents, queue, clock, log } = options
  const ago = (ms: number) => new Date(clock.now().getTime() - ms)
  let timer: NodeJS.Timeout | undefined

  const passes = onePass(
    async () => {
      await each('announcing', () => agents.announce())
      await each('orphaned places', takeBackOrphans)
      await each('agents gone', relieveGone)
      await each('empty conversations', () => toTheEnd((next) => conversations.releaseEmpty(ago(options.emptyReleaseMs), next)))
      if (options.resolvedClosesAfterMs > 0)
        await each('resolved conversations', () =>
          toTheEnd((next) => conversations.closeResolved(ago(options.resolvedClosesAfterMs), next)),
        )
      queue.request()
    },
    (err) => log.warn({ err }, 'a sweep failed'),
  )

  /** One repair that fails doesn't keep the others from theirs. */
  async function each(repair: string, work: () => Promise<void>, about: { agentId?: string; conversationId?: string } = {}): Promise<void> {
    if (passes.stopped) return
    try {
      await work()
    } catch (err) {
      log.warn({ err, repair, ...about }, 'a repair failed; the next sweep tries again')
    }
  }

  async function toTheEnd(work: (next: Batch) => Promise<boolean>): Promise<void> {
    const left = new Set<string>()
    while (!passes.stopped && left.size < mostLeft && (await work({ limit: batch, left })));
  }

  async function takeBackOrphans(): Promise<void> {
    const before = ago(options.orphanAfterMs)
    for (const agent of await places.holding(before)) {
      const tokens = await conversations.tokensOf(agent.id, batch)
      for (const place of agent.active) {
        if (place.since >= before || tokens.has(place.token)) continue
        const orphan = { agentId: agent.id, conversationId: place.conversationId, token: place.token }
        await each('an orphaned place', () => takeBack(orphan), orphan)
      }
    }
  }

  /** Fence first: whoever reserved the place may be about to write its assignment, and that write must fail before the place is another's. */
  async function takeBack({ agentId, conversationId, token }: Holder & Pick<Place, 'conversationId'>): Promise<void> {
    if (holds(await conversations.fence(conversationId), { agentId, token })) return
    if (await places.release(agentId, token, clock.now())) log.warn({ conversationId, agentId }, 'took back an orphaned place')
  }

  async function relieveGone(): Promise<void> {
    const now = clock.now()
    const gone = (await places.holding(now)).filter((agent) => isGone(agent, null, options.agentGraceMs, now))
    // Who is no agent any more is gone whatever realtime says, or doesn't.
    for (const agent of gone) if (!agent.agent) await relieve(agent, now)
    const away = await absence.confirmed(gone.filter(({ agent }) => agent).map(({ id }) => id))
    for (const agent of gone) if (away.has(agent.id)) await relieve(agent, now)
  }

  async function relieve(agent: StoredAgent, now: Date): Promise<void> {
    const agentId = agent.id
    for (const { conversationId, token, since } of agent.active)
      if (isGone(agent, since, options.agentGraceMs, now))
        await each('an agent gone', () => giveBack({ agentId, token }, conversationId, !agent.agent), { agentId, conversationId })
  }

  async function giveBack(holder: Holder, conversationId: string, always: boolean): Promise<void> {
    if (await conversations.giveBack(conversationId, holder, always))
      log.info({ conversationId, agentId: holder.agentId }, 'gave back what awaits an answer: its agent is gone')
  }

  /** Replicas that started together don't sweep together. */
  function schedule(): void {
    timer = setTimeout(
      () => {
        void passes.run().then(() => {
          if (!passes.stopped) schedule()
        })
      },
      options.everyMs * (0.75 + Math.random() / 2),
    )
    timer.unref()
  }

  return {
    start: schedule,
    sweep: () => passes.run(),
    async stop() {
      clearTimeout(timer)
      await passes.stop()
    },
  }
}

function holds(holder: Holder | null | undefined, { agentId, token }: Holder): boolean {
  return holder?.agentId === agentId && holder.token === token
}
