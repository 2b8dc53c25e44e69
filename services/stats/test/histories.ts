// Random but possible histories of a desk, and the disorder a broker may bring into them. For tests.
import type { ConversationEvent, MediaUploaded } from '@fieldline/contracts/events'
import { mediaTypes } from '@fieldline/contracts/media'
import fc from 'fast-check'
import { anil, asha, meena, type Story, story, upload, type Who } from './story.ts'

export interface Desk {
  /** Events of each conversation, in their order. */
  log: ConversationEvent[][]
  uploads: MediaUploaded[]
}

const agents: readonly Who[] = [asha, meena, { id: '__proto__', role: 'Support', firstName: 'Odd', lastName: 'Id' }]
// What is impossible where a story stands is left out, so the frequent ones stand several times.
const steps = [
  ...(['farmer', 'farmer', 'farmer', 'agent', 'agent', 'agent', 'assign', 'assign', 'resolve', 'resolve', 'reopen', 'reopen'] as const),
  ...(['admin', 'release', 'empty', 'requeue', 'close', 'read'] as const),
] as const
const step = fc.record({
  /** Mostly seconds, sometimes hours. */
  after: fc.oneof({ weight: 5, arbitrary: fc.integer({ min: 0, max: 900_000 }) }, fc.integer({ min: 0, max: 90_000_000 })),
  what: fc.constantFrom(...steps),
  who: fc.integer({ min: 0, max: agents.length - 1 }),
  flag: fc.boolean(),
})
const life = fc.record({
  start: fc.integer({ min: 0, max: 5 * 86_400_000 }),
  steps: fc.array(step, { maxLength: 40, size: 'max' }),
})

/** Histories that begin in the five days after `begin` (ms). */
export function desks(begin: number, conversations: { least?: number; most: number }): fc.Arbitrary<Desk> {
  const media = fc.record({
    at: fc.integer({ min: 0, max: 5 * 86_400_000 }),
    type: fc.constantFrom(...mediaTypes),
    who: fc.constantFrom('asha', 'rajesh'),
  })
  return fc
    .record({
      lives: fc.array(life, { minLength: conversations.least ?? 1, maxLength: conversations.most }),
      media: fc.array(media, { maxLength: 4 }),
    })
    .map(({ lives, media: files }) => ({
      log: lives.map(({ start, steps: taken }, index) => live(story(index + 1), begin + start, taken).events),
      uploads: files.map(({ at, type, who }, index) => upload(900_000 + index, type, who, new Date(begin + at))),
    }))
}

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

/** Takes each step that is possible where the story stands. */
function live(tale: Story, start: number, taken: readonly Step[]): Story {
  let now = start
  tale.created(new Date(now))
  for (const { after, what, who, flag } of taken) {
    now += after
    const at = new Date(now)
    const agent = agents[who] ?? asha
    const { status, assigned } = tale
    const open = status === 'open'
    if (what === 'farmer' && (status === 'waiting' || open)) tale.says({ ...farmer }, at)
    if (what === 'agent' && assigned && status !== 'waiting' && status !== 'closed') tale.says(assigned, at)
    if (what === 'admin' && status !== 'closed') tale.says(anil, at)
    if (what === 'assign' && (status === 'waiting' || (open && assigned?.id !== agent.id))) tale.assign(agent, at)
    if (what === 'release' && open) tale.release(at)
    if (what === 'empty' && (open || status === 'waiting')) tale.empty(at)
    if (what === 'resolve' && open) tale.resolve(at)
    if (what === 'reopen' && status === 'resolved') tale.reopen(at, false, flag)
    if (what === 'requeue' && status === 'resolved') tale.reopen(at, true, flag)
    if (what === 'close' && status !== 'closed') tale.close(at)
    if (what === 'read') tale.reads(farmer, at)
  }
  return tale
}

const farmer: Who = { id: 'rajesh', role: 'User', firstName: 'Rajesh', lastName: 'Kumar' }

/** In any order, some of it twice: what outages and redeliveries may make of the order. */
export function disorder<T>(events: readonly T[], random: () => number): T[] {
  const all = events.flatMap((event) => (random() < 0.2 ? [event, event] : [event]))
  for (let index = all.length - 1; index > 0; index -= 1) {
    const other = Math.floor(random() * (index + 1))
    const kept = all[index] as T
    all[index] = all[other] as T
    all[other] = kept
  }
  return all
}

/** A repeatable sequence of numbers in [0, 1) (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
