// What may be asked, and which days it means.

import { AppError } from '@fieldline/contracts/errors'
import { StatsQuery } from '@fieldline/contracts/stats'
import { describe, expect, test } from '@jest/globals'
import { readQuestion } from '../src/question.ts'

const now = new Date('2026-11-23T22:30:00Z')
const anAdmin = { id: 'anil', role: 'Admin' as const }
const ask = (query: Partial<StatsQuery>, person: Parameters<typeof readQuestion>[1] = anAdmin) =>
  readQuestion(StatsQuery.parse(query), person, now, 366)
const hours = ({ from, to }: { from: number; to: number }) => (to - from) / 3_600_000

test('without a range: the 30 days up to and including today, in the asked zone', () => {
  const utc = ask({})
  expect([utc.days.length, utc.days[0]?.date, utc.days.at(-1)?.date]).toEqual([30, '2026-10-25', '2026-11-23'])
  const kolkata = ask({ tz: 'Asia/Kolkata' })
  expect([kolkata.days.length, kolkata.days.at(-1)]).toEqual([
    30,
    { date: '2026-11-24', from: Date.parse('2026-11-23T18:30:00Z'), to: Date.parse('2026-11-24T18:30:00Z') },
  ])
})

test('a date as `to` means the whole of that day, an instant itself', () => {
  expect(ask({ from: '2026-11-01', to: '2026-11-01' }).days).toHaveLength(1)
  expect(ask({ from: '2026-11-01', to: '2026-11-02T12:00:00+02:00' }).to).toBe(Date.parse('2026-11-02T10:00:00Z'))
  expect(ask({ from: '2026-11-01T00:00:00 05:30', to: '2026-11-02' }).from).toBe(Date.parse('2026-10-31T18:30:00Z'))
})

test.each([
  ['Europe/Berlin', '2026-10-25', 25],
  ['Europe/Berlin', '2026-03-29', 23],
  ['America/New_York', '2026-11-01', 25],
  ['Australia/Lord_Howe', '2026-10-04', 23.5],
  ['Africa/Cairo', '2026-04-24', 23],
  ['Asia/Kathmandu', '2026-06-01', 24],
])('a day in %s on %s has %d hours', (tz, date, length) => {
  const { days } = ask({ tz, from: date, to: date })
  expect(days.map((day) => [day.date, hours(day)])).toEqual([[date, length]])
})

test.each(['Europe/Berlin', 'America/Havana', 'Asia/Beirut', 'Africa/Cairo', 'Pacific/Apia', 'America/Sao_Paulo', 'Asia/Kathmandu'])(
  'days in %s follow one another without gap or overlap, each once',
  (tz) => {
    for (const year of [2011, 2018, 2026]) {
      const { days, from, to } = ask({ tz, from: `${year}-01-01`, to: `${year}-12-31` })
      expect(days[0]?.from).toBe(from)
      expect(days.at(-1)?.to).toBe(to)
      for (const [index, day] of days.entries()) if (index > 0) expect(day.from).toBe(days[index - 1]?.to)
      expect(new Set(days.map(({ date }) => date)).size).toBe(days.length)
    }
  },
)

test('the days of a range that begins and ends in the middle are cut to it', () => {
  const { days } = ask({ from: '2026-11-01T22:00:00Z', to: '2026-11-03T01:00:00Z' })
  expect(days.map((day) => [day.date, hours(day)])).toEqual([
    ['2026-11-01', 2],
    ['2026-11-02', 24],
    ['2026-11-03', 1],
  ])
})

describe('who may ask about whom', () => {
  const support = { id: 'asha', role: 'Support' as const }
  test('Admin: the desk, or any agent', () => {
    expect(ask({}).scope).toBeNull()
    expect(ask({ agentId: 'meena' }).scope).toBe('meena')
  })
  test('Support: itself only', () => {
    expect(ask({}, support).scope).toBe('asha')
    expect(ask({ agentId: 'asha' }, support).scope).toBe('asha')
    expect(() => ask({ agentId: 'meena' }, support)).toThrow(expect.objectContaining({ code: 'FORBIDDEN' }))
  })
  test('User: nobody', () => {
    expect(() => ask({}, { id: 'rajesh', role: 'User' })).toThrow(expect.objectContaining({ code: 'FORBIDDEN' }))
  })
})

test.each<[Partial<StatsQuery>, string]>([
  [{ from: 'yesterday' }, 'from'],
  [{ from: '2026-02-30' }, 'from'],
  [{ from: '2026-11-01T10:00:00' }, 'from'],
  [{ from: '20261101' }, 'from'],
  [{ from: '0001-01-01' }, 'from'],
  [{ to: '2026-13-01' }, 'to'],
  [{ from: '2026-11-05', to: '2026-11-01' }, 'from'],
  [{ from: '2027-01-01' }, 'from'],
  [{ from: '2025-11-01', to: '2026-11-30' }, 'from'],
  [{ tz: 'Mars/Olympus' }, 'tz'],
  [{ tz: '+05:30' }, 'tz'],
  [{ tz: '__proto__' }, 'tz'],
])('%j is refused with the field named', (query, field) => {
  try {
    ask(query)
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    expect([error.code, error.details?.[0]?.field]).toEqual(['VALIDATION_FAILED', field])
    return
  }
  throw new Error('it was accepted')
})
