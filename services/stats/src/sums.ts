// Facts added up for one scope: the desk, or one agent. Which fact counts where stands here and nowhere else. Pure.
import { addDuration, emptySketch, mergePacked, mergeSketch, type PackedSketch, type Sketch } from './sketch.ts'
import type { Fact } from './tally.ts'

/** The desk as a whole; every other scope is an agent's id, which is never empty. */
export const desk = ''

export const countNames = [
  'created',
  'resolved',
  'reopened',
  'closed',
  /** Of those closed: the ones that were resolved before. */
  'closedResolved',
  'User',
  'Support',
  'Admin',
  /** Messages this agent sent itself. */
  'sent',
  'image',
  'audio',
  'video',
] as const
export type CountName = (typeof countNames)[number]
export type Counts = Record<CountName, number>

export const durationNames = ['wait', 'first', 'reply', 'resolution'] as const
export type DurationName = (typeof durationNames)[number]

export interface Sums {
  counts: Counts
  durations: Record<DurationName, Sketch>
}

/** Sums as a store keeps them; a sketch is read when it is needed. */
export interface KeptSums {
  counts: Counts
  sketch(name: DurationName): PackedSketch
}

export function emptyCounts(): Counts {
  return Object.fromEntries(countNames.map((name) => [name, 0])) as Counts
}

export function emptySums(): Sums {
  return {
    counts: emptyCounts(),
    durations: { wait: emptySketch(), first: emptySketch(), reply: emptySketch(), resolution: emptySketch() },
  }
}

export function addCounts(into: Counts, other: Readonly<Counts>): void {
  for (const name of countNames) into[name] += other[name]
}

export function addSums(into: Sums, other: Sums): void {
  addCounts(into.counts, other.counts)
  for (const name of durationNames) mergeSketch(into.durations[name], other.durations[name])
}

/** Adds what a store kept; of the durations only these. */
export function addKept(into: Sums, kept: KeptSums, names: readonly DurationName[] = durationNames): void {
  addCounts(into.counts, kept.counts)
  for (const name of names) mergePacked(into.durations[name], kept.sketch(name))
}

/** The durations a fact is a sample of. */
export function samplesOf(fact: Pick<Fact, 'kind' | 'ms' | 'first'>): DurationName[] {
  if (fact.ms === null) return []
  if (fact.kind === 'wait') return ['wait']
  if (fact.kind === 'resolved') return ['resolution']
  if (fact.kind === 'message') return fact.first ? ['first', 'reply'] : ['reply']
  return []
}

/** Adds a fact to every scope it counts for. Uploads by agents are counted apart: whether an uploader is an agent isn't known here. */
export function addFact(scopes: Map<string, Sums>, fact: Fact): void {
  const all = sumsOf(scopes, desk)
  const credited = fact.agentId === null || fact.kind === 'media' ? null : sumsOf(scopes, fact.agentId)
  for (const name of samplesOf(fact)) {
    addDuration(all.durations[name], fact.ms ?? 0)
    if (credited) addDuration(credited.durations[name], fact.ms ?? 0)
  }
  switch (fact.kind) {
    case 'received':
      if (credited) credited.counts.created += 1
      break
    case 'message': {
      const role = fact.detail as 'User' | 'Support' | 'Admin'
      all.counts[role] += 1
      if (fact.holderId !== null) sumsOf(scopes, fact.holderId).counts[role] += 1
      if (credited) credited.counts.sent += 1
      break
    }
    case 'media':
      all.counts[fact.detail as 'image' | 'audio' | 'video'] += 1
      break
    case 'created':
    case 'resolved':
    case 'reopened':
    case 'closed':
      for (const { counts } of credited ? [all, credited] : [all]) {
        counts[fact.kind] += 1
        if (fact.kind === 'closed' && fact.detail === 'resolved') counts.closedResolved += 1
      }
      break
    case 'wait':
      break
  }
}

function sumsOf(scopes: Map<string, Sums>, scope: string): Sums {
  const known = scopes.get(scope) ?? emptySums()
  scopes.set(scope, known)
  return known
}
