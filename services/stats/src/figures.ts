// From kept sums to the answer of `GET /support/stats`: which blocks to read, what to add up, how to show it (spec 7).
import { mediaTypes } from '@fieldline/contracts/media'
import { roles } from '@fieldline/contracts/people'
import type { Durations, StatsView } from '@fieldline/contracts/stats'
import { blockRuns, blockStart, cut, type Level, levels, levelsDown, type Span } from './blocks.ts'
import type { NamedAgent } from './entries.ts'
import type { Generation, Now, Sample } from './facts.store.ts'
import type { Question } from './question.ts'
import { emptySketch, exactQuantiles, type Sketch, sketchQuantiles } from './sketch.ts'
import {
  addCounts,
  addFact,
  addKept,
  addSums,
  type Counts,
  type DurationName,
  desk,
  durationNames,
  emptyCounts,
  emptySums,
  type Sums,
  samplesOf,
} from './sums.ts'

/** Up to so many samples in the range, median and p90 are exact; above, within `relativeError` of a value that is there. */
export const mostExactSamples = 5_000

/** @param self names the asking agent, who may have no event yet */
export async function figures(facts: Generation, question: Question, self: NamedAgent | null, now: Date): Promise<StatsView> {
  const { from, to, tz, scope } = question
  const dirty = await facts.dirty()
  const quarters = await addUpDirty(facts, dirty)
  const [perDay, sums, present, lifetime] = await Promise.all([
    countDays(facts, question, dirty, quarters),
    sumRange(facts, question, dirty, quarters),
    facts.now(),
    countEver(facts, scope ?? desk, dirty, quarters),
  ])
  const totals = emptyCounts()
  for (const { counts } of perDay) addCounts(totals, counts)
  const quantiles = await quantilesOf(facts, question, sums)
  const own = sums.get(scope ?? desk) ?? emptySums()
  const show = (name: DurationName, of: string, sketch: Sketch) => durations(sketch, quantiles(of, name, sketch))
  const shown = (name: DurationName) => show(name, scope ?? desk, own.durations[name])

  const people = await agentsToShow(facts, question, sums, present, self)
  const open = (agentId: string) => present.open.find((one) => one.agentId === agentId)?.count ?? 0
  const conversations = {
    waiting: present.waiting,
    open: scope === null ? present.open.reduce((total, { count }) => total + count, 0) : open(scope),
    resolved: lifetime.resolved - lifetime.reopened - lifetime.closedResolved,
    closed: lifetime.closed,
  }
  const { oldestSince, length } = present.queue
  const byMedia = (counts: Counts) =>
    Object.fromEntries(mediaTypes.map((type) => [type, counts[type]])) as Record<(typeof mediaTypes)[number], number>
  return {
    range: { from: new Date(from).toISOString(), to: new Date(to).toISOString(), tz },
    conversations: { total: conversations.waiting + conversations.open + conversations.resolved + conversations.closed, ...conversations },
    queue: { length, oldestWaitSeconds: oldestSince === null ? null : seconds(Math.max(0, now.getTime() - oldestSince)) },
    perDay: perDay.map(({ date, counts }) => ({ date, ...steps(counts), messages: byRole(counts), media: byMedia(counts) })),
    totals: { ...steps(totals), messages: byRole(totals) },
    waitingTime: shown('wait'),
    firstResponseTime: shown('first'),
    resolutionTime: shown('resolution'),
    agents: people.map((agent) => {
      const { counts, durations: times } = sums.get(agent.id) ?? emptySums()
      return {
        agent: { _id: agent.id, first_name: agent.firstName, last_name: agent.lastName, role: agent.role },
        active: open(agent.id),
        resolved: counts.resolved,
        messages: counts.sent,
        firstResponseTime: show('first', agent.id, times.first),
        replyTime: show('reply', agent.id, times.reply),
      }
    }),
  }
}

/** Sums by dirty quarter and scope. */
type Quarters = ReadonlyMap<number, Map<string, Sums>>

/** Adds up what is dirty from its facts: every question needs all of it, for what is resolved and closed by now. */
async function addUpDirty(facts: Generation, dirty: readonly number[]): Promise<Quarters> {
  const quarters = new Map(dirty.map((start) => [start, new Map<string, Sums>()]))
  for (const span of blockRuns(dirty, 0)) {
    await facts.eachFact(span, (fact) => addFact(quarters.get(blockStart(fact.at, 0)) ?? new Map(), fact))
  }
  return quarters
}

async function addUp(facts: Generation, span: Span): Promise<Map<string, Sums>> {
  const scopes = new Map<string, Sums>()
  await facts.eachFact(span, (fact) => addFact(scopes, fact))
  return scopes
}

/** Counts of each day for one scope. */
async function countDays(facts: Generation, { days, scope, from, to }: Question, dirty: readonly number[], quarters: Quarters) {
  const counted = days.map((day) => ({ date: day.date, counts: emptyCounts() }))
  const dayOf = { 0: new Map<number, number>(), 1: new Map<number, number>(), 2: new Map<number, number>() }
  const add = (day: number | undefined, counts: Counts | undefined) => {
    const into = counted[day ?? -1]
    if (into && counts) addCounts(into.counts, counts)
  }
  for (const [index, day] of days.entries()) {
    const { blocks, edges } = cut(day, dirty)
    for (const level of levelsDown) {
      for (const start of blocks[level]) {
        if (level === 0 && quarters.has(start)) add(index, quarters.get(start)?.get(scope ?? desk)?.counts)
        else dayOf[level].set(start, index)
      }
    }
    for (const edge of edges) add(index, (await addUp(facts, edge)).get(scope ?? desk)?.counts)
  }
  await Promise.all(
    levelsDown.map(async (level) => {
      const starts = [...dayOf[level].keys()]
      if (starts.length === 0) return
      for (const { start, counts } of await facts.counts(level, starts, scope ?? desk)) add(dayOf[level].get(start), counts)
    }),
  )
  if (scope !== null) {
    for (const upload of await facts.uploads({ from, to }, scope)) {
      const day = counted[days.findLastIndex((one) => one.from <= upload.at)]
      if (day) day.counts[upload.detail as 'image' | 'audio' | 'video'] += 1
    }
  }
  return counted
}

/** Sums over the whole range: of one agent, or of the desk and every agent. */
async function sumRange(facts: Generation, { from, to, scope }: Question, dirty: readonly number[], quarters: Quarters) {
  const total = new Map<string, Sums>()
  const into = (of: string): Sums => {
    const known = total.get(of) ?? emptySums()
    total.set(of, known)
    return known
  }
  const { blocks, edges } = cut({ from, to }, dirty)
  const kept: Record<Level, number[]> = { ...blocks, 0: blocks[0].filter((start) => !quarters.has(start)) }
  const raw = blocks[0].flatMap((start) => quarters.get(start) ?? [])
  for (const edge of edges) raw.push(await addUp(facts, edge))
  await Promise.all(
    levelsDown.map(async (level) => {
      if (kept[level].length === 0) return
      for (const { scope: of, sums } of await facts.sums(level, kept[level], scope)) {
        // Beside the desk's, only these two of an agent are shown.
        addKept(into(of), sums, of === desk || scope !== null ? durationNames : ['first', 'reply'])
      }
    }),
  )
  for (const scopes of raw) for (const [of, sums] of scopes) if (scope === null || of === scope) addSums(into(of), sums)
  return total
}

/** Steps counted since ever: what is resolved and closed now follows from them, at the cost of a row a day. */
async function countEver(facts: Generation, scope: string, dirty: readonly number[], quarters: Quarters) {
  const dirtyDays = [...new Set(dirty.map((start) => blockStart(start, 2)))]
  const ever = { ...emptyCounts(), ...(await facts.lifetime(scope, dirtyDays)) }
  const kept: Record<Level, number[]> = { 0: [], 1: [], 2: [] }
  for (const day of dirtyDays) {
    const { blocks } = cut({ from: day, to: day + levels[2] }, dirty)
    kept[1].push(...blocks[1])
    for (const start of blocks[0]) {
      const fresh = quarters.get(start)
      if (!fresh) kept[0].push(start)
      else addCounts(ever, fresh.get(scope)?.counts ?? emptyCounts())
    }
  }
  for (const level of [0, 1] as const) {
    if (kept[level].length === 0) continue
    for (const { counts } of await facts.counts(level, kept[level], scope)) addCounts(ever, counts)
  }
  return ever
}

type Quantiles = (scope: string, name: DurationName, sketch: Sketch) => (number | null)[]
const asked = [0.5, 0.9] as const

/** Exact from the stored samples while they are few, from the sketches when they are many. */
async function quantilesOf(facts: Generation, { from, to, scope }: Question, sums: ReadonlyMap<string, Sums>): Promise<Quantiles> {
  const { wait, reply, resolution } = sums.get(scope ?? desk)?.durations ?? {
    wait: emptySketch(),
    reply: emptySketch(),
    resolution: emptySketch(),
  }
  if (wait.count + reply.count + resolution.count > mostExactSamples) return (_scope, _name, sketch) => sketchQuantiles(sketch, asked)
  const values = new Map<string, number[]>()
  const note = (of: string, name: DurationName, sample: Sample) => {
    const key = `${name} ${of}`
    const known = values.get(key)
    if (known) known.push(sample.ms)
    else values.set(key, [sample.ms])
  }
  for (const sample of await facts.samples({ from, to }, scope)) {
    for (const name of samplesOf(sample)) {
      note(desk, name, sample)
      if (sample.agentId !== null) note(sample.agentId, name, sample)
    }
  }
  for (const list of values.values()) list.sort((a, b) => a - b)
  return (of, name) => exactQuantiles(values.get(`${name} ${of}`) ?? [], asked)
}

/** Agents with anything in the range or open now, by name; for one agent's figures that agent alone. */
async function agentsToShow(
  facts: Generation,
  { scope }: Question,
  sums: ReadonlyMap<string, Sums>,
  present: Now,
  self: NamedAgent | null,
): Promise<NamedAgent[]> {
  const ids = scope === null ? [...new Set([...sums.keys(), ...present.open.map(({ agentId }) => agentId ?? desk)])] : [scope]
  const known = await facts.agents(ids.filter((id) => id !== desk))
  const shown = self && !known.some(({ id }) => id === self.id) ? [...known, self] : known
  const nameOf = ({ firstName, lastName, id }: NamedAgent) => `${firstName} ${lastName} ${id}`
  return shown.sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))
}

function durations(sketch: Sketch, [median = null, p90 = null]: (number | null)[]): Durations {
  const average = sketch.count === 0 ? null : sketch.total / sketch.count
  return { count: sketch.count, average: secondsOrNull(average), median: secondsOrNull(median), p90: secondsOrNull(p90) }
}

function steps({ created, resolved, reopened, closed }: Counts) {
  return { created, resolved, reopened, closed }
}

function byRole(counts: Counts) {
  return Object.fromEntries(roles.map((role) => [role, counts[role]])) as Record<(typeof roles)[number], number>
}

/** To the millisecond. */
function seconds(ms: number): number {
  return Math.round(ms) / 1_000
}

function secondsOrNull(ms: number | null): number | null {
  return ms === null ? null : seconds(ms)
}
