// Statistics as they cross a wire: the question and the figures of `GET /support/stats` (spec 7). Durations in seconds.
import { z } from 'zod'
import { PersonId } from './ids.ts'
import { mediaTypes } from './media.ts'
import { PersonView, roles } from './people.ts'

/** `from`, `to`: a date (`2026-11-01`, a day in `tz`) or an ISO 8601 instant; `tz` an IANA zone. Checked against each other where they are used. */
export const StatsQuery = z.object({
  from: z.string().max(40).optional(),
  to: z.string().max(40).optional(),
  tz: z.string().max(64).default('UTC'),
  agentId: PersonId.optional(),
})
export type StatsQuery = z.infer<typeof StatsQuery>

const count = z.number().int().nonnegative()
export const Durations = z.object({ count, average: z.number().nullable(), median: z.number().nullable(), p90: z.number().nullable() })
export type Durations = z.infer<typeof Durations>
const byRole = z.object(Object.fromEntries(roles.map((role) => [role, count])) as Record<(typeof roles)[number], typeof count>)
const byMedia = z.object(Object.fromEntries(mediaTypes.map((type) => [type, count])) as Record<(typeof mediaTypes)[number], typeof count>)

export const StatsView = z.object({
  range: z.object({ from: z.iso.datetime(), to: z.iso.datetime(), tz: z.string() }),
  conversations: z.object({ total: count, waiting: count, open: count, resolved: count, closed: count }),
  queue: z.object({ length: count, oldestWaitSeconds: z.number().nullable() }),
  perDay: z.array(
    z.object({ date: z.iso.date(), created: count, resolved: count, reopened: count, closed: count, messages: byRole, media: byMedia }),
  ),
  totals: z.object({ created: count, resolved: count, reopened: count, closed: count, messages: byRole }),
  waitingTime: Durations,
  firstResponseTime: Durations,
  resolutionTime: Durations,
  agents: z.array(
    z.object({ agent: PersonView, active: count, resolved: count, messages: count, firstResponseTime: Durations, replyTime: Durations }),
  ),
})
export type StatsView = z.infer<typeof StatsView>
