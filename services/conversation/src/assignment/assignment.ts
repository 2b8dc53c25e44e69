// Who gets a conversation, and why (spec 3, "Assignment"). Pure: no I/O, no clock of its own.

/** One place of an agent, taken by one write attempt that carries `token`. */
export interface Place {
  readonly conversationId: string
  readonly token: string
  readonly since: Date
}

/** An agent as assignment sees one. */
export interface AgentPlaces {
  readonly id: string
  /** False for who was an agent and, by a newer token, no longer is. */
  readonly agent: boolean
  readonly online: boolean
  /** Since when the agent is offline, by our own clock; null while online, or if never seen online or offline. */
  readonly offlineSince: Date | null
  /** The agent's own choice, apart from being connected. */
  readonly available: boolean
  /** Counts changes of `available`; 0: never changed. */
  readonly version: number
  readonly active: readonly Place[]
  /** The last time the agent came free for work, got a conversation or ended one. */
  readonly idleSince: Date
}

/**
 * What it takes to get a place: `automatic` (the queue, reopening) an agent online, available and with room; `known` (claim, reassign) an agent
 * with room; `force` an agent.
 */
export type ReserveMode = 'automatic' | 'known' | 'force'

export type Refusal = 'not-an-agent' | 'offline' | 'unavailable' | 'at-capacity'

/** Why this agent gets no place; null where one is to be had. */
export function refusal(agent: AgentPlaces | null, mode: ReserveMode, capacity: number): Refusal | null {
  if (!agent?.agent) return 'not-an-agent'
  if (mode === 'automatic' && !agent.online) return 'offline'
  if (mode === 'automatic' && !agent.available) return 'unavailable'
  if (mode !== 'force' && agent.active.length >= capacity) return 'at-capacity'
  return null
}

/** Whom to give a conversation, and the sentence that is logged with it. */
export interface Choice {
  readonly agentId: string
  readonly why: string
}

/**
 * The agent with the fewest active conversations, then the one idle longest, then by id, so that every replica decides alike.
 * Null if nobody may take it: all away, at capacity, or among `except` (who just gave it back).
 */
export function choose(agents: readonly AgentPlaces[], except: ReadonlySet<string>, capacity: number): Choice | null {
  const candidates = agents.filter((agent) => refusal(agent, 'automatic', capacity) === null && !except.has(agent.id))
  const [first, second] = candidates.sort(byWork)
  if (!first) return null
  return { agentId: first.id, why: whyBefore(first, second, capacity) }
}

function byWork(a: AgentPlaces, b: AgentPlaces): number {
  return a.active.length - b.active.length || a.idleSince.getTime() - b.idleSince.getTime() || (a.id < b.id ? -1 : 1)
}

function whyBefore(first: AgentPlaces, second: AgentPlaces | undefined, capacity: number): string {
  const load = `${first.active.length} of ${capacity} active`
  if (!second) return `${load}, nobody else can take it`
  if (first.active.length < second.active.length) return `${load}, the fewest`
  if (first.idleSince < second.idleSince) return `${load} as others, idle longest`
  return `${load}, idle as long as others, first by id`
}

/** A conversation that somebody gave up: that person isn't given it again until `until`. */
export interface GivenBack {
  readonly personId: string
  readonly at: Date
}

/** Who gave this conversation back less than `coolingMs` ago. */
export function cooling(givenBack: readonly GivenBack[], coolingMs: number, now: Date): Set<string> {
  return new Set(givenBack.filter(({ at }) => now.getTime() - at.getTime() < coolingMs).map(({ personId }) => personId))
}

/**
 * Whether an agent is gone: offline for longer than `graceMs`, counted from the assignment where that came later (an admin may give a conversation to
 * one who is offline). Who is no longer an agent is gone at once.
 */
export function isGone(agent: AgentPlaces | null, assignedAt: Date | null, graceMs: number, now: Date): boolean {
  if (!agent?.agent) return true
  if (agent.online || !agent.offlineSince) return false
  const since = Math.max(agent.offlineSince.getTime(), assignedAt?.getTime() ?? 0)
  return now.getTime() - since > graceMs
}
