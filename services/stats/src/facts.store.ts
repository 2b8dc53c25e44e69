// The port of stats' database. A rebuild fills another generation of everything and then makes it the current one.
import type { Level, Span } from './blocks.ts'
import type { Entry, NamedAgent } from './entries.ts'
import type { CountName, Counts, KeptSums } from './sums.ts'
import type { Fact, Head } from './tally.ts'

/** What one batch of events comes to. */
export interface Write {
  /** Written once; the same key again changes nothing. */
  facts: readonly Fact[]
  /** A head moves only from the `eventNo` it was computed from (0: there was none). */
  moves: readonly { from: number; head: Head }[]
  /** Entries that came before their turn. */
  early: readonly Entry[]
  /** The newest naming of each wins. */
  agents: readonly NamedAgent[]
}

export interface BlockSums {
  start: number
  scope: string
  sums: KeptSums
}

/** The state of things now; waiting ones belong to nobody. */
export interface Now {
  waiting: number
  /** Open conversations by agent. */
  open: { agentId: string | null; count: number }[]
  queue: { length: number; oldestSince: number | null }
}

export type Sample = Pick<Fact, 'kind' | 'agentId' | 'first'> & { ms: number }
export interface Missing {
  conversationId: string
  /** Its head's, 0 where there is none. */
  after: number
  /** The lowest that waits, and since when (ms). */
  earliest: number
  since: number
}

/** Every method: @throws AppError UNAVAILABLE when another try may do. Numbers of blocks and scopes are bounded by the asked range. */
export interface Generation {
  readonly number: number
  heads(conversationIds: readonly string[]): Promise<Map<string, Head>>
  /** Early entries of these conversations, by eventNo. */
  early(conversationIds: readonly string[]): Promise<Map<string, Entry[]>>
  /**
   * Facts first, then the quarter hours they lie in become dirty, then heads move: a crash in between, and the same batch again, end in the same.
   * @returns conversations whose head another replica moved, and not to the same place: their entries must be looked at again
   */
  write(batch: Write): Promise<string[]>
  /** Lets go of early entries up to these. */
  release(done: readonly { conversationId: string; upTo: number }[]): Promise<void>
  /** Gaps that have been waiting since before `before` (ms), oldest first. */
  gaps(before: number, limit: number): Promise<Missing[]>
  /** Lets a conversation's early entries wait as if they had come at `since` (ms): the gaps behind theirs are looked at first. */
  postpone(conversationId: string, since: number): Promise<void>
  waitingEntries(): Promise<number>

  /** Starts of quarter hours whose kept sums are not up to date, upwards. */
  dirty(): Promise<number[]>
  /** Adds these dirty quarters up anew, and the hours and days they lie in. Safe beside writers and other replicas. */
  rollUp(quarters: readonly number[]): Promise<void>
  /** Kept counts of one scope, durations left out. */
  counts(level: Level, starts: readonly number[], scope: string): Promise<{ start: number; counts: Counts }[]>
  /** Kept sums of one scope, or of all. */
  sums(level: Level, starts: readonly number[], scope: string | null): Promise<BlockSums[]>
  /** Day counts of one scope since ever, but for these days. */
  lifetime(
    scope: string,
    exceptDays: readonly number[],
  ): Promise<Pick<Counts, Extract<CountName, 'resolved' | 'reopened' | 'closed' | 'closedResolved'>>>
  eachFact(span: Span, visit: (fact: Fact) => void): Promise<void>
  /** Facts with a duration, of one agent or of all. */
  samples(span: Span, agentId: string | null): Promise<Sample[]>
  /** An agent's uploads. */
  uploads(span: Span, agentId: string): Promise<Fact[]>
  now(): Promise<Now>
  agents(ids: readonly string[]): Promise<NamedAgent[]>

  /** Conversations and facts of a conversation, for comparing with the truth. */
  factsOf(conversationId: string): Promise<Fact[]>
  headCount(): Promise<number>
  /** Starts of the days that sums are kept of, upwards. */
  keptDays(): Promise<number[]>
  /** Takes over the facts of uploads, which have no log of their own to be replayed from. Returns how many there are. */
  copyUploads(from: number): Promise<number>
}

export interface FactsStore {
  /** The number of the generation in use. */
  current(): Promise<number>
  /** Opens a generation, made if need be. */
  generation(number: number): Promise<Generation>
  generations(): Promise<number[]>
  /** Makes `to` the one in use if `from` still is. @returns false otherwise */
  swap(from: number, to: number): Promise<boolean>
  drop(number: number): Promise<void>
}
