// The rules of assignment: who gets a conversation and why, who is gone, who has just given one back.
import { describe, expect, test } from '@jest/globals'
import { type AgentPlaces, choose, cooling, isGone, refusal } from '../src/assignment/assignment.ts'

const noon = new Date('2026-11-23T12:00:00.000Z')
const minutes = (n: number) => new Date(noon.getTime() + n * 60_000)
const nobody = new Set<string>()

function agent(id: string, { holds = 0, ...more }: Partial<AgentPlaces> & { holds?: number } = {}): AgentPlaces {
  const active = Array.from({ length: holds }, (_, n) => ({ conversationId: `c${n}`, token: `${id} ${n}`, since: noon }))
  return { id, agent: true, online: true, offlineSince: null, available: true, version: 0, active, idleSince: noon, ...more }
}

describe('choosing', () => {
  test('the fewest active conversations win, however long others have been idle', () => {
    const choice = choose([agent('asha', { holds: 2, idleSince: minutes(-60) }), agent('meena', { holds: 1 })], nobody, 5)
    expect(choice).toEqual({ agentId: 'meena', why: '1 of 5 active, the fewest' })
  })
  test('among equals the one idle longest', () => {
    const choice = choose([agent('asha'), agent('meena', { idleSince: minutes(-1) }), agent('ravi', { idleSince: minutes(1) })], nobody, 5)
    expect(choice).toEqual({ agentId: 'meena', why: '0 of 5 active as others, idle longest' })
  })
  test('every replica decides a full tie alike', () => {
    const [a, b] = [agent('asha'), agent('meena')]
    expect(choose([b, a], nobody, 5)?.agentId).toBe('asha')
    expect(choose([a, b], nobody, 5)?.agentId).toBe('asha')
  })
  test.each([
    ['is offline', { online: false }],
    ['is not available', { available: false }],
    ['is at capacity', { holds: 5 }],
    ['is above capacity, having been forced', { holds: 6 }],
    ['is no agent any more', { agent: false }],
  ])('nobody who %s', (_, given) => {
    expect(choose([agent('asha', given)], nobody, 5)).toBeNull()
    expect(choose([agent('asha', given), agent('meena', { holds: 4 })], nobody, 5)?.agentId).toBe('meena')
  })
  test('who just gave it back is passed over, even if nobody else is there', () => {
    expect(choose([agent('asha'), agent('meena', { holds: 4 })], new Set(['asha']), 5)?.agentId).toBe('meena')
    expect(choose([agent('asha')], new Set(['asha']), 5)).toBeNull()
  })
  test('no agent, no choice', () => expect(choose([], nobody, 5)).toBeNull())
})

describe('giving back', () => {
  const givenBack = [
    { personId: 'asha', at: minutes(-10) },
    { personId: 'meena', at: minutes(-1) },
  ]
  test('counts for a while', () => expect(cooling(givenBack, 5 * 60_000, noon)).toEqual(new Set(['meena'])))
  test('does not count at all where the while is nothing', () => expect(cooling(givenBack, 0, noon)).toEqual(nobody))
})

describe('refusing', () => {
  test.each([
    ['automatic', { online: false }, 'offline'],
    ['automatic', { available: false }, 'unavailable'],
    ['automatic', { holds: 5 }, 'at-capacity'],
    ['automatic', {}, null],
    ['known', { online: false, available: false }, null],
    ['known', { holds: 5 }, 'at-capacity'],
    ['known', { agent: false }, 'not-an-agent'],
    ['force', { holds: 7 }, null],
    ['force', { agent: false }, 'not-an-agent'],
  ] as const)('%s of %o: %s', (mode, given, expected) => expect(refusal(agent('asha', given), mode, 5)).toBe(expected))
  test('somebody unknown is not an agent', () => expect(refusal(null, 'force', 5)).toBe('not-an-agent'))
})

describe('being gone', () => {
  const grace = 2 * 60_000
  const away = agent('asha', { online: false, offlineSince: minutes(-3) })
  test('offline longer than the grace', () => expect(isGone(away, minutes(-30), grace, noon)).toBe(true))
  test('not yet within the grace', () => expect(isGone(away, minutes(-30), grace, minutes(-2))).toBe(false))
  test('not while online', () => expect(isGone(agent('asha'), minutes(-30), grace, noon)).toBe(false))
  test('the grace runs anew from an assignment to somebody offline', () => {
    expect(isGone(away, minutes(-1), grace, noon)).toBe(false)
    expect(isGone(away, minutes(-1), grace, minutes(2))).toBe(true)
  })
  test('who never was seen online has not gone', () => expect(isGone(agent('asha', { online: false }), null, grace, noon)).toBe(false))
  test('who is no agent any more, at once', () => {
    expect(isGone(agent('asha', { agent: false }), noon, grace, noon)).toBe(true)
    expect(isGone(null, noon, grace, noon)).toBe(true)
  })
})
