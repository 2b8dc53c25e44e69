// Takes events into the store: each conversation's in order, once, whatever the order and number they come in.
import type { Entry, NamedAgent } from './entries.ts'
import type { FactsStore, Generation } from './facts.store.ts'
import { type Fact, type Head, tally } from './tally.ts'

/** What is to be taken in; the order doesn't matter. */
export interface Intake {
  entries: readonly Entry[]
  uploads: readonly Fact[]
}

/**
 * Resolves when all of it is durable in the generation in use: counted, or kept until its turn.
 * A rebuild may make another generation the one in use meanwhile; then it goes into that one too.
 * @throws AppError UNAVAILABLE; OutOfOrder for a conversation that doesn't begin with its creation
 */
export async function ingest(store: FactsStore, intake: Intake): Promise<void> {
  for (;;) {
    const number = await store.current()
    try {
      await ingestInto(await store.generation(number), intake)
    } catch (error) {
      if ((await store.current()) === number) throw error
      continue
    }
    if ((await store.current()) === number) return
  }
}

/** The same, into one generation. */
export async function ingestInto(generation: Generation, { entries, uploads }: Intake): Promise<void> {
  let facts = uploads
  let open = Map.groupBy(entries, ({ conversationId }) => conversationId)
  while (open.size > 0 || facts.length > 0) {
    const seen = [...open.keys()]
    const turn = takeTurn(open, await generation.heads(seen))
    const overtaken = new Set(await generation.write({ ...turn, facts: [...facts, ...turn.facts] }))
    facts = []
    open = new Map([...open].filter(([id]) => overtaken.has(id)))
    for (const [id, kept] of await inTurn(generation, seen)) open.set(id, [...(open.get(id) ?? []), ...kept])
  }
}

/**
 * Early entries whose turn has come. Heads are read after the entries, and both after the write: of two replicas, one that moved a head and one
 * that put an entry aside, the later one finds what the other did.
 */
async function inTurn(generation: Generation, conversationIds: readonly string[]): Promise<Map<string, Entry[]>> {
  const waiting = await generation.early(conversationIds)
  if (waiting.size === 0) return waiting
  const heads = await generation.heads([...waiting.keys()])
  const done: { conversationId: string; upTo: number }[] = []
  for (const [conversationId, kept] of waiting) {
    const upTo = heads.get(conversationId)?.eventNo ?? 0
    if (kept.some(({ eventNo }) => eventNo <= upTo)) done.push({ conversationId, upTo })
    const rest = kept.filter(({ eventNo }) => eventNo > upTo)
    if (rest[0]?.eventNo === upTo + 1) waiting.set(conversationId, rest)
    else waiting.delete(conversationId)
  }
  if (done.length > 0) await generation.release(done)
  return waiting
}

interface Turn {
  facts: Fact[]
  moves: { from: number; head: Head }[]
  early: Entry[]
  agents: NamedAgent[]
}

/** Moves each head over the entries that follow it. Pure. */
export function takeTurn(open: ReadonlyMap<string, readonly Entry[]>, heads: ReadonlyMap<string, Head>): Turn {
  const turn: Turn = { facts: [], moves: [], early: [], agents: [] }
  const newest = new Map<string, NamedAgent>()
  for (const [conversationId, entries] of open) {
    const before = heads.get(conversationId) ?? null
    let head = before
    for (const entry of entries.toSorted((a, b) => a.eventNo - b.eventNo)) {
      const next = (head?.eventNo ?? 0) + 1
      if (entry.eventNo < next) continue
      if (entry.eventNo > next) {
        turn.early.push(entry)
        continue
      }
      const step = tally(head, entry)
      head = step.head
      turn.facts.push(...step.facts)
      for (const agent of entry.agents) if (agent.at >= (newest.get(agent.id)?.at ?? 0)) newest.set(agent.id, agent)
    }
    if (head !== null && head !== before) turn.moves.push({ from: before?.eventNo ?? 0, head })
  }
  turn.agents.push(...newest.values())
  return turn
}
