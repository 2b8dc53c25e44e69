// What is asked: range, time zone, days and whose figures (spec 7). Pure but for the time zone tables.
import { AppError } from '@fieldline/contracts/errors'
import type { Person } from '@fieldline/contracts/people'
import type { StatsQuery } from '@fieldline/contracts/stats'
import { invalid } from '@fieldline/service/parse'
import { DateTime, IANAZone } from 'luxon'

/** A day of the asked zone, cut to the asked range; [from, to) in ms since 1970. 23 or 25 hours long where the clocks change. */
export interface Day {
  date: string
  from: number
  to: number
}

export interface Question {
  from: number
  to: number
  tz: string
  days: Day[]
  /** Whose figures: an agent's id, or null for the whole desk. */
  scope: string | null
}

const defaultDays = 30
const date = /^\d{4}-\d{2}-\d{2}$/
const instant = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?(Z|[+-]\d{2}(:?\d{2})?)$/i

/**
 * Support asks about itself, Admin about all or one agent. A `to` that is a date means the whole of that day.
 * Without `from` or `to`: the 30 days up to and including today.
 * @throws AppError FORBIDDEN, VALIDATION_FAILED naming `from`, `to` or `tz`
 */
export function readQuestion(query: StatsQuery, person: Pick<Person, 'id' | 'role'>, now: Date, maxDays: number): Question {
  const scope = scopeOf(query.agentId, person)
  const { tz } = query
  // Offsets like +05:30 are known to the platform too, but they are no zones.
  if (!/^[A-Za-z]/.test(tz) || !IANAZone.isValidZone(tz))
    throw invalid([{ field: 'tz', message: 'must be an IANA time zone, as Asia/Kolkata' }])
  const today = DateTime.fromJSDate(now, { zone: tz }).startOf('day')
  const from = query.from === undefined ? undefined : readTime('from', query.from, tz)
  const to = query.to === undefined ? dayAfter(today) : readTime('to', query.to, tz, dayAfter)
  const start =
    from ??
    to
      .minus({ milliseconds: 1 })
      .startOf('day')
      .minus({ days: defaultDays - 1 })
  if (start >= to) throw invalid([{ field: query.from === undefined ? 'to' : 'from', message: 'from must be before to' }])
  if (to.diff(start, 'days').days > maxDays) throw invalid([{ field: 'from', message: `the range must be at most ${maxDays} days` }])
  return { from: start.toMillis(), to: to.toMillis(), tz, days: daysOf(start, to), scope }
}

function scopeOf(agentId: string | undefined, person: Pick<Person, 'id' | 'role'>): string | null {
  if (person.role === 'Admin') return agentId ?? null
  if (person.role !== 'Support') throw new AppError('FORBIDDEN', 'Statistics are for Support and Admin only')
  if (agentId !== undefined && agentId !== person.id) throw new AppError('FORBIDDEN', 'An agent sees its own statistics only')
  return person.id
}

function readTime(field: string, text: string, zone: string, whenDate: (day: DateTime) => DateTime = (day) => day): DateTime {
  // A `+` that wasn't encoded reaches us as a blank.
  const given = text.trim().replace(/ (?=\d{2}:?\d{2}$)/, '+')
  const isDate = date.test(given)
  const time = isDate || instant.test(given) ? DateTime.fromISO(given.toUpperCase().replace(',', '.'), { zone }) : undefined
  if (!time?.isValid || time.year < 1970 || time.year > 9000) {
    throw invalid([{ field, message: 'must be a date (2026-11-01) or an ISO 8601 instant with its offset (2026-11-01T00:00:00Z)' }])
  }
  return isDate ? whenDate(time.startOf('day')) : time
}

function dayAfter(day: DateTime): DateTime {
  return day.plus({ days: 1 }).startOf('day')
}

function daysOf(start: DateTime, to: DateTime): Day[] {
  const days: Day[] = []
  let from = start
  while (from < to) {
    const next = dayAfter(from.startOf('day'))
    const end = next < to ? next : to
    days.push({ date: from.toISODate() ?? '', from: from.toMillis(), to: end.toMillis() })
    from = end
  }
  return days
}
