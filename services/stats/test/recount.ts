// An independent recount of every figure, straight from the events and by other means than src: quadratic look-backs, Intl instead of luxon, no sums. For tests.
import type { ConversationEvent, MediaUploaded } from '@fieldline/contracts/events'
import type { StatsView } from '@fieldline/contracts/stats'

interface Told {
  at: number
  kind: 'created' | 'resolved' | 'reopened' | 'closed'
  agent: string | null
}
interface Timed {
  at: number
  kind: 'wait' | 'first' | 'reply' | 'resolution'
  agent: string | null
  ms: number
}
interface Said {
  at: number
  role: 'User' | 'Support' | 'Admin'
  sender: string
  holder: string | null
}
interface History {
  told: Told[]
  timed: Timed[]
  said: Said[]
  now: { status: string; agent: string | null; waitingSince: number | null }
}

const ms = (iso: string) => Date.parse(iso)

/** @param log the events of each conversation, in their order */
export function recount(
  log: readonly (readonly ConversationEvent[])[],
  uploads: readonly MediaUploaded[],
  { from, to, tz, scope }: { from: number; to: number; tz: string; scope: string | null },
  now: Date,
): StatsView {
  const histories = log.filter((events) => events.length > 0).map(readHistory)
  const inRange = <T extends { at: number }>(list: T[]) => list.filter(({ at }) => at >= from && at < to)
  const told = inRange(histories.flatMap((history) => history.told))
  const timed = inRange(histories.flatMap((history) => history.timed))
  const said = inRange(histories.flatMap((history) => history.said))
  const sent = inRange(uploads.map(({ data }) => ({ at: ms(data.at), type: data.media.type, owner: data.ownerId })))

  const dayFormat = new Intl.DateTimeFormat('en-CA', { timeZone: tz, year: 'numeric', month: '2-digit', day: '2-digit' })
  const dayOf = (at: number) => dayFormat.format(at)
  const dates = new Set<string>()
  for (let at = from; at < to; at += 900_000) dates.add(dayOf(at))
  dates.add(dayOf(to - 1))

  // A conversation is created for the desk when it is, and for an agent when it is too, but the agent is known only later.
  const steps = (kind: Told['kind'], day: string | null) =>
    told.filter(
      (one) => one.kind === kind && (day === null || dayOf(one.at) === day) && (scope === null ? counted(one) : one.agent === scope),
    ).length
  const counted = (one: Told) => one.kind !== 'created' || one.agent === null
  const messages = (day: string | null) => {
    const own = said.filter((one) => (day === null || dayOf(one.at) === day) && (scope === null || one.holder === scope))
    const by = (role: Said['role']) => own.filter((one) => one.role === role).length
    return { User: by('User'), Support: by('Support'), Admin: by('Admin') }
  }
  const media = (day: string) => {
    const by = (type: string) =>
      sent.filter((one) => dayOf(one.at) === day && one.type === type && (scope === null || one.owner === scope)).length
    return { image: by('image'), audio: by('audio'), video: by('video') }
  }
  const times = (kind: Timed['kind'], agent: string | null) =>
    summary(timed.filter((one) => one.kind === kind && (agent === null || one.agent === agent)).map((one) => one.ms))

  const open = histories.filter((one) => one.now.status === 'open' && (scope === null || one.now.agent === scope)).length
  const waiting = histories.filter((one) => one.now.status === 'waiting')
  const ended = (status: string) =>
    histories.filter((one) => one.now.status === status && (scope === null || one.now.agent === scope)).length
  const queue = waiting.flatMap((one) => (one.now.waitingSince === null ? [] : [one.now.waitingSince]))
  const names = agentNames(log)
  const active = (agent: string) => histories.filter((one) => one.now.status === 'open' && one.now.agent === agent).length
  const busy = new Set([
    ...told.map((one) => one.agent),
    ...timed.map((one) => one.agent),
    ...said.flatMap((one) => [one.holder, one.role === 'User' ? null : one.sender]),
    ...histories.map((one) => (one.now.status === 'open' ? one.now.agent : null)),
  ])
  const shown = [...busy].filter((agent) => agent !== null).filter((agent) => scope === null || agent === scope)
  const wanted = scope !== null && !shown.includes(scope) ? [...shown, scope] : shown
  return {
    range: { from: new Date(from).toISOString(), to: new Date(to).toISOString(), tz },
    conversations: {
      total: waiting.length + open + ended('resolved') + ended('closed'),
      waiting: waiting.length,
      open,
      resolved: ended('resolved'),
      closed: ended('closed'),
    },
    queue: {
      length: queue.length,
      oldestWaitSeconds: queue.length === 0 ? null : Math.round(Math.max(0, now.getTime() - Math.min(...queue))) / 1_000,
    },
    perDay: [...dates].sort().map((date) => ({
      date,
      created: steps('created', date),
      resolved: steps('resolved', date),
      reopened: steps('reopened', date),
      closed: steps('closed', date),
      messages: messages(date),
      media: media(date),
    })),
    totals: {
      created: steps('created', null),
      resolved: steps('resolved', null),
      reopened: steps('reopened', null),
      closed: steps('closed', null),
      messages: messages(null),
    },
    waitingTime: times('wait', scope),
    firstResponseTime: times('first', scope),
    resolutionTime: times('resolution', scope),
    agents: wanted
      .flatMap((id) => names.get(id) ?? [])
      .sort((a, b) => (`${a.first_name} ${a.last_name} ${a._id}` < `${b.first_name} ${b.last_name} ${b._id}` ? -1 : 1))
      .map((agent) => ({
        agent,
        active: active(agent._id),
        resolved: told.filter((one) => one.kind === 'resolved' && one.agent === agent._id).length,
        messages: said.filter((one) => one.role !== 'User' && one.sender === agent._id).length,
        firstResponseTime: times('first', agent._id),
        replyTime: times('reply', agent._id),
      })),
  }
}

function readHistory(events: readonly ConversationEvent[]): History {
  const told: Told[] = []
  const timed: Timed[] = []
  const said: Said[] = []
  const before = (index: number) => events.slice(0, index)
  /** Who holds it just before the event of this index. */
  const holderAt = (index: number): string | null => {
    const last = before(index).findLast(
      (event) =>
        (event.type === 'conversation.assigned' && !(event.data.to === null && ['resolved', 'closed'].includes(event.data.reason))) ||
        (event.type === 'conversation.status-changed' && event.data.to === 'waiting'),
    )
    return last?.type === 'conversation.assigned' ? (last.data.to?.id ?? null) : null
  }
  const waitingSince = (index: number): number | null => {
    const at = before(index).findLastIndex((event) => event.type !== 'conversation.read' && event.type !== 'message.created')
    const event = events[at]
    if (!event || event.type === 'message.created') return null
    const { status, waitingSince: since } = event.data.conversation
    if (status !== 'waiting') return null
    if (since !== null) return ms(since)
    const woken = events.slice(at, index).find((one) => one.type === 'message.created')
    return woken?.type === 'message.created' ? ms(woken.data.message.createdAt) : null
  }
  const answers: number[] = []
  let resolver: string | null = null

  for (const [index, event] of events.entries()) {
    const at = ms(event.time)
    if (event.type === 'conversation.created') told.push({ at, kind: 'created', agent: null })
    if (event.type === 'conversation.assigned' && event.data.to !== null) {
      const since = waitingSince(index)
      const agent = event.data.to.id
      if (since !== null) timed.push({ at, kind: 'wait', agent, ms: at - since })
      const earlier = before(index).some((one) => one.type === 'conversation.assigned' && one.data.to !== null)
      const [creation] = events
      if (!earlier && creation) told.push({ at: ms(creation.time), kind: 'created', agent })
    }
    if (event.type === 'conversation.status-changed') {
      const { from, to, reopened } = event.data
      if (to === 'resolved') {
        const begun = before(index).findLast((one) => one.type === 'conversation.status-changed' && one.data.reopened) ?? events[0]
        resolver = holderAt(index)
        told.push({ at, kind: 'resolved', agent: resolver })
        timed.push({ at, kind: 'resolution', agent: resolver, ms: at - ms(begun?.time ?? event.time) })
      }
      if (reopened) told.push({ at, kind: 'reopened', agent: resolver })
      if (to === 'closed') told.push({ at, kind: 'closed', agent: from === 'resolved' ? resolver : holderAt(index) })
    }
    if (event.type === 'message.created') {
      const { sender } = event.data.message
      const ended = event.data.status === 'resolved' || event.data.status === 'closed'
      said.push({ at, role: sender.role, sender: sender.id, holder: event.data.assignedId ?? (ended ? holderAt(index) : null) })
      if (sender.role === 'User') continue
      const boundary = before(index).findLastIndex(
        (one) =>
          (one.type === 'message.created' && one.data.message.sender.role !== 'User') ||
          (one.type === 'conversation.status-changed' && ['resolved', 'closed'].includes(one.data.to)),
      )
      const asked = events.slice(boundary + 1, index).find((one) => one.type === 'message.created')
      if (!asked) continue
      const episode = before(index).findLastIndex((one) => one.type === 'conversation.status-changed' && one.data.reopened)
      const span = at - ms(asked.time)
      timed.push({ at, kind: 'reply', agent: sender.id, ms: span })
      if (!answers.some((answer) => answer > episode)) timed.push({ at, kind: 'first', agent: sender.id, ms: span })
      answers.push(index)
    }
  }
  const last = events.findLast((event) => event.type === 'conversation.status-changed' || event.type === 'conversation.created')
  const status = last?.type === 'conversation.status-changed' ? last.data.to : 'waiting'
  const wasResolved = last?.type === 'conversation.status-changed' && last.data.from === 'resolved'
  const agent = status === 'resolved' || wasResolved ? resolver : holderAt(events.length)
  const since = status === 'waiting' ? waitingSince(events.length) : null
  return { told, timed, said, now: { status, agent: status === 'open' ? holderAt(events.length) : agent, waitingSince: since } }
}

function agentNames(log: readonly (readonly ConversationEvent[])[]) {
  const names = new Map<string, StatsView['agents'][number]['agent']>()
  for (const event of log.flat()) {
    const person =
      event.type === 'message.created' ? event.data.message.sender : event.type === 'conversation.assigned' ? event.data.to : null
    if (person && person.role !== 'User') {
      names.set(person.id, { _id: person.id, first_name: person.firstName, last_name: person.lastName, role: person.role })
    }
  }
  return names
}

function summary(values: number[]) {
  const sorted = values.toSorted((a, b) => a - b)
  if (sorted.length === 0) return { count: 0, average: null, median: null, p90: null }
  const seconds = (value: number) => Math.round(value) / 1_000
  const quantile = (part: number) => {
    const place = part * (sorted.length - 1)
    const low = sorted[Math.floor(place)] ?? 0
    const high = sorted[Math.ceil(place)] ?? 0
    return low + (high - low) * (place - Math.floor(place))
  }
  const total = sorted.reduce((sum, value) => sum + value, 0)
  return { count: sorted.length, average: seconds(total / sorted.length), median: seconds(quantile(0.5)), p90: seconds(quantile(0.9)) }
}
