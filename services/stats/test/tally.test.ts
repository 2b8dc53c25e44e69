// What an event means for the figures, sentence by sentence (spec 7).
import { describe, expect, test } from '@jest/globals'
import { entryOf } from '../src/entries.ts'
import { type Fact, type Head, mediaFact, OutOfOrder, tally } from '../src/tally.ts'
import { anil, asha, meena, rajesh, type Story, story, upload } from './story.ts'

const at = (time: string) => new Date(`2026-11-02T${time}Z`)
const minutes = (count: number) => count * 60_000

function told(tale: Story): { facts: Fact[]; head: Head | null } {
  let head: Head | null = null
  const facts: Fact[] = []
  for (const event of tale.events) {
    const step = tally(head, entryOf(event))
    head = step.head
    facts.push(...step.facts)
  }
  return { facts, head }
}
const factsOf = (tale: Story, kind: Fact['kind']) => told(tale).facts.filter((fact) => fact.kind === kind)
const replies = (tale: Story) => factsOf(tale, 'message').flatMap(({ agentId, ms, first }) => (ms === null ? [] : [{ agentId, ms, first }]))
const begun = () => story(1).created(at('09:00'))

describe('the response clock', () => {
  test("starts at the farmer's first unanswered message, though nobody is assigned yet", () => {
    const tale = begun().says(rajesh, at('09:01')).says(rajesh, at('09:04')).assign(asha, at('09:10')).says(asha, at('09:11'))
    expect(replies(tale)).toEqual([{ agentId: 'asha', ms: minutes(10), first: true }])
  })
  test('is credited to who answers, whoever had the conversation before', () => {
    const tale = begun()
      .assign(asha, at('09:01'))
      .says(rajesh, at('09:02'))
      .assign(meena, at('09:05'), 'reassigned')
      .says(meena, at('09:06'))
    expect(replies(tale)).toEqual([{ agentId: 'meena', ms: minutes(4), first: true }])
  })
  test('is stopped by an admin too', () => {
    const tale = begun().assign(asha, at('09:01')).says(rajesh, at('09:02')).says(anil, at('09:03')).says(asha, at('09:04'))
    expect(replies(tale)).toEqual([{ agentId: 'anil', ms: minutes(1), first: true }])
  })
  test('does not run before the farmer has written: a greeting is no response', () => {
    const tale = begun().assign(asha, at('09:01')).says(asha, at('09:02')).says(rajesh, at('09:05')).says(asha, at('09:07'))
    expect(replies(tale)).toEqual([{ agentId: 'asha', ms: minutes(2), first: true }])
  })
  test('runs anew for every turn, and only the first is the first response', () => {
    const tale = begun()
      .assign(asha, at('09:01'))
      .says(rajesh, at('09:02'))
      .says(asha, at('09:03'))
      .says(rajesh, at('10:00'))
      .says(asha, at('10:05'))
    expect(replies(tale).map(({ ms, first }) => [ms, first])).toEqual([
      [minutes(1), true],
      [minutes(5), false],
    ])
  })
  test.each([true, false])('restarts on reopening, whether the message or the status comes first (%s)', (messageFirst) => {
    const tale = begun().assign(asha, at('09:01')).says(rajesh, at('09:02')).says(asha, at('09:03')).resolve(at('09:04'))
    tale.reopen(at('11:00'), false, messageFirst).says(asha, at('11:20'))
    expect(replies(tale).at(-1)).toEqual({ agentId: 'asha', ms: minutes(20), first: true })
  })
  test('is dropped with what was resolved unanswered', () => {
    const tale = begun().assign(asha, at('09:01')).says(rajesh, at('09:02')).resolve(at('09:04')).says(asha, at('09:05'))
    expect(replies(tale)).toEqual([])
  })
  test('never runs backwards when clocks differ', () => {
    const tale = begun().assign(asha, at('09:01')).says(rajesh, at('09:02:01')).says(asha, at('09:02'))
    expect(replies(tale)).toEqual([{ agentId: 'asha', ms: 0, first: true }])
  })
})

describe('waiting', () => {
  const waits = (tale: Story) => factsOf(tale, 'wait').map(({ agentId, ms }) => [agentId, ms])
  test('ends with the assignment, and begins again when the conversation is given back', () => {
    const tale = begun().assign(asha, at('09:03')).says(rajesh, at('09:04')).release(at('09:10')).assign(meena, at('09:30'), 'claimed')
    expect(waits(tale)).toEqual([
      ['asha', minutes(3)],
      ['meena', minutes(20)],
    ])
  })
  test('is nothing for a reassignment from agent to agent, nor for a wait that ended by closing', () => {
    expect(waits(begun().assign(asha, at('09:03')).assign(meena, at('09:09'), 'reassigned'))).toEqual([['asha', minutes(3)]])
    expect(waits(begun().close(at('09:30')))).toEqual([])
  })
  test('does not run for an empty conversation until its first message', () => {
    const tale = begun().assign(asha, at('09:03')).empty(at('09:20'))
    expect(told(tale).head).toMatchObject({ status: 'waiting', waitingSince: null })
    expect(waits(tale.says(rajesh, at('10:00')).assign(asha, at('10:07')))).toEqual([
      ['asha', minutes(3)],
      ['asha', minutes(7)],
    ])
  })
})

describe('resolved, reopened, closed', () => {
  const counted = (tale: Story, kind: 'resolved' | 'reopened' | 'closed') =>
    factsOf(tale, kind).map(({ agentId, ms, detail }) => [agentId, ms, detail])
  const resolved = () => begun().assign(asha, at('09:10')).resolve(at('09:40'))
  test('a resolution belongs to who held the conversation; its time runs from the creation', () => {
    expect(counted(resolved(), 'resolved')).toEqual([['asha', minutes(40), null]])
  })
  test('a reopening belongs to whose resolution it undoes; the next resolution time runs from it', () => {
    const tale = resolved().reopen(at('10:00'), true).assign(meena, at('10:05')).resolve(at('10:30'))
    expect(counted(tale, 'reopened')).toEqual([['asha', null, null]])
    expect(counted(tale, 'resolved').at(-1)).toEqual(['meena', minutes(30), null])
  })
  test('closing belongs to who resolved it, or held it, or nobody', () => {
    expect(counted(resolved().close(at('12:00')), 'closed')).toEqual([['asha', null, 'resolved']])
    expect(counted(begun().assign(meena, at('09:10')).close(at('12:00')), 'closed')).toEqual([['meena', null, 'open']])
    expect(counted(begun().close(at('12:00')), 'closed')).toEqual([[null, null, 'waiting']])
  })
})

test("a conversation counts once as created for its first agent, at the conversation's creation", () => {
  const tale = begun().assign(asha, at('09:03')).release(at('09:10')).assign(meena, at('09:30'))
  expect(factsOf(tale, 'received')).toMatchObject([{ agentId: 'asha', at: at('09:00').getTime() }])
})

test("messages belong to the conversation's holder, also after it was resolved", () => {
  const tale = begun()
    .says(rajesh, at('09:01'))
    .assign(asha, at('09:03'))
    .says(rajesh, at('09:04'))
    .resolve(at('09:05'))
    .says(asha, at('09:06'))
  expect(factsOf(tale, 'message').map(({ holderId }) => holderId)).toEqual([null, 'asha', 'asha'])
})

test('a read changes nothing but the number', () => {
  const { head } = told(begun().says(rajesh, at('09:01')))
  const after = told(begun().says(rajesh, at('09:01')).reads(asha, at('09:02')))
  expect(after.head).toEqual({ ...head, eventNo: 3 })
})

test('an entry that is not the next one is refused', () => {
  const [first, second] = begun().says(rajesh, at('09:01')).events.map(entryOf)
  if (!first || !second) throw new Error('no events')
  expect(() => tally(null, second)).toThrow(OutOfOrder)
  expect(() => tally(tally(null, first).head, first)).toThrow(OutOfOrder)
  expect(() => tally(null, { ...second, eventNo: 1 })).toThrow(OutOfOrder)
})

test('an upload is a fact of its uploader', () => {
  const { data } = upload(7, 'audio', 'asha', at('09:00'))
  expect(mediaFact({ mediaId: data.media.id, type: 'audio', ownerId: 'asha', at: 5 })).toMatchObject({
    kind: 'media',
    agentId: 'asha',
    detail: 'audio',
    at: 5,
    eventNo: 0,
  })
})
