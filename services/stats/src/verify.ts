// Compares what is kept with a recount of the truth: heads and facts with conversation's log, kept sums with the facts. The service may go on meanwhile.
import { isDeepStrictEqual } from 'node:util'
import { AppError } from '@fieldline/contracts/errors'
import { anyBetween, blockStart, type Level, levels, levelsDown } from './blocks.ts'
import { entryOf } from './entries.ts'
import type { BlockSums, FactsStore, Generation } from './facts.store.ts'
import type { Feed } from './feed.ts'
import { packSketch } from './sketch.ts'
import { addFact, durationNames, type Sums } from './sums.ts'
import { type Fact, type Head, tally } from './tally.ts'

export interface Verified {
  conversations: number
  events: number
  days: number
  /** Conversations whose newest events have not been consumed yet. */
  behind: number
  differences: number
}

/** Calls `onDifference` with one sentence for each. @throws AppError UNAVAILABLE */
export async function verify(store: FactsStore, feed: Feed, onDifference: (text: string) => void): Promise<Verified> {
  const generation = await store.generation(await store.current())
  const result: Verified = { conversations: 0, events: 0, days: 0, behind: 0, differences: 0 }
  const differ = (text: string) => {
    result.differences += 1
    onDifference(text)
  }
  const known = await generation.headCount()
  const days = new Set(await generation.keptDays())
  let met = 0
  for await (const page of feed.walk()) {
    const heads = await generation.heads(page.map(({ conversationId }) => conversationId))
    met += heads.size
    for (const { conversationId } of page) {
      const kept = heads.get(conversationId) ?? null
      result.conversations += 1
      try {
        const truth = await recount(feed, conversationId, kept?.eventNo ?? 0)
        result.events += truth.events
        if (truth.events > (kept?.eventNo ?? 0)) result.behind += 1
        for (const { at } of truth.facts) days.add(blockStart(at, 2))
        if (!isDeepStrictEqual(kept, truth.head))
          differ(`${conversationId}: the head is ${JSON.stringify(kept)}, not ${JSON.stringify(truth.head)}`)
        // What the service has counted since the head was read is not compared.
        const facts = (await generation.factsOf(conversationId)).filter(({ eventNo }) => eventNo <= (kept?.eventNo ?? 0))
        compareFacts(conversationId, facts, truth.facts, differ)
      } catch (error) {
        if (error instanceof AppError && error.code === 'UNAVAILABLE') throw error
        differ(`${conversationId}: its log cannot be counted: ${Error.isError(error) ? error.message : String(error)}`)
      }
    }
  }
  if (known > met) differ(`${known} conversations are kept, the log has ${met} of them`)
  for (const day of [...days].sort((a, b) => a - b)) {
    result.days += 1
    for (const text of await wrongBlocks(generation, day)) differ(text)
  }
  return result
}

/** The head and facts of a conversation at `eventNo`, by its log; `events` is how many the log has. */
async function recount(feed: Feed, conversationId: string, eventNo: number): Promise<{ head: Head | null; facts: Fact[]; events: number }> {
  let head: Head | null = null
  let events = 0
  const facts: Fact[] = []
  for await (const page of feed.events(conversationId, 0)) {
    events += page.length
    for (const event of page) {
      if (event.eventno > eventNo) continue
      const step = tally(head, entryOf(event))
      head = step.head
      facts.push(...step.facts)
    }
  }
  return { head, facts, events }
}

function compareFacts(id: string, kept: readonly Fact[], truth: readonly Fact[], differ: (text: string) => void): void {
  const keyOf = ({ eventNo, kind }: Fact) => `${eventNo} ${kind}`
  const rest = new Map(kept.map((fact) => [keyOf(fact), fact]))
  for (const fact of truth) {
    const found = rest.get(keyOf(fact))
    rest.delete(keyOf(fact))
    if (!found) differ(`${id}: event ${fact.eventNo} has no fact "${fact.kind}"`)
    else if (!isDeepStrictEqual(found, fact))
      differ(`${id}: event ${fact.eventNo} is kept as ${JSON.stringify(found)}, not ${JSON.stringify(fact)}`)
  }
  for (const key of rest.keys()) differ(`${id}: the fact "${key}" is nowhere in the log`)
}

const tries = 3

/** Blocks of a day whose kept sums are not those of their facts, as sentences. Facts that come between two looks make a block differ once, not always. */
async function wrongBlocks(generation: Generation, day: number): Promise<string[]> {
  let wrong = await differing(generation, day)
  for (let again = 1; wrong.length > 0 && again < tries; again += 1) {
    const still = new Set(await differing(generation, day))
    wrong = wrong.filter((text) => still.has(text))
  }
  return wrong
}

/** A block with a dirty quarter is added up from facts by every question, so there is nothing kept to compare. */
async function differing(generation: Generation, day: number): Promise<string[]> {
  const dirty = await generation.dirty()
  const span = { from: day, to: day + levels[2] }
  const truth = new Map<string, Map<string, Sums>>()
  await generation.eachFact(span, (fact) => {
    for (const level of levelsDown) addFact(entryIn(truth, `${level} ${blockStart(fact.at, level)}`), fact)
  })
  const wrong: string[] = []
  for (const level of levelsDown) {
    const starts = Array.from({ length: levels[2] / levels[level] }, (_, index) => day + index * levels[level])
    const kept = Map.groupBy(await generation.sums(level, starts, null), ({ start }) => start)
    for (const start of starts) {
      if (anyBetween(dirty, start, start + levels[level])) continue
      if (!sumsAgree(kept.get(start) ?? [], truth.get(`${level} ${start}`) ?? new Map()))
        wrong.push(`the sums of the ${names[level]} from ${new Date(start).toISOString()} are not those of its facts`)
    }
  }
  return wrong
}

const names: Record<Level, string> = { 0: 'quarter', 1: 'hour', 2: 'day' }

function entryIn(blocks: Map<string, Map<string, Sums>>, key: string): Map<string, Sums> {
  const known = blocks.get(key) ?? new Map<string, Sums>()
  blocks.set(key, known)
  return known
}

function sumsAgree(kept: readonly BlockSums[], truth: ReadonlyMap<string, Sums>): boolean {
  if (kept.length !== truth.size) return false
  return kept.every(({ scope, sums }) => {
    const expected = truth.get(scope)
    return isDeepStrictEqual(
      [sums.counts, durationNames.map((name) => sums.sketch(name))],
      expected && [expected.counts, durationNames.map((name) => packSketch(expected.durations[name]))],
    )
  })
}
