// The broker's door: this replica's exclusive queue. What nobody here joined or is, is skipped unparsed; the rest enters its lane and counts as taken.
import type { Delivery, EventBus } from '@fieldline/bus/bus'
import { namespacedName } from '@fieldline/bus/bus'
import { ConversationEvent, Signal, UserEvent } from '@fieldline/contracts/events'
import { ConversationId } from '@fieldline/contracts/ids'
import { headers, realtimeBindings, signalsExchange } from '@fieldline/contracts/topology'
import type { Logger } from '@fieldline/service/logger'
import type { Carrier } from '@fieldline/service/telemetry'
import { LRUCache } from 'lru-cache'
import type { Audience } from './audience.ts'
import type { RealtimeMetrics } from './metrics.ts'
import type { Rooms } from './rooms.ts'

export interface FanoutDeps {
  readonly bus: EventBus
  readonly namespace: string
  readonly prefetch: number
  readonly supportSees: 'own' | 'all'
  readonly rooms: Rooms
  readonly audience: Audience
  readonly metrics: RealtimeMetrics
  readonly log: Logger
  readonly notice: (event: ConversationEvent) => void
  readonly onUser: (event: UserEvent) => void
  /** A message that concerns nobody here but those whose lists show everything. */
  readonly listChanged: (id: ConversationId) => void
  readonly onSignal: (signal: Signal) => void
  /** The queue was away: what came in between was lost to this replica. */
  readonly onResubscribed: () => void
}

const rememberedConversations = 20_000

export function createFanout(deps: FanoutDeps) {
  const { bus, rooms, audience, metrics, log } = deps
  const signals = namespacedName(signalsExchange, deps.namespace)
  const noticed = new LRUCache<string, number>({ max: rememberedConversations })
  let stop: (() => Promise<void>) | undefined

  /** Joined here, or somebody here is concerned: a person by id, or every agent and admin. */
  function isConcerned(delivery: Delivery, id: string): boolean {
    if (rooms.get(id as ConversationId)) return true
    if (audience.admins.size > 0 && !delivery.routingKey.startsWith('message.')) return true
    if (deps.supportSees === 'all' && audience.agents.size > 0 && !delivery.routingKey.startsWith('message.')) return true
    if (audience.agents.size > 0 && String(delivery.headers[headers.queue]) === '1') return true
    const people = peopleOf(delivery.headers[headers.people])
    return people === null || people.some((personId) => audience.of(personId).size > 0)
  }

  function onConversationEvent(delivery: Delivery): void {
    const id = ConversationId.safeParse(delivery.headers[headers.conversation])
    if (id.success && !isConcerned(delivery, id.data)) {
      if (delivery.routingKey.startsWith('message.')) deps.listChanged(id.data)
      metrics.consumed.inc({ outcome: 'skipped' })
      return
    }
    const event = ConversationEvent.parse(delivery.body)
    metrics.lag.observe(Math.max(0, Date.now() - Date.parse(event.time)) / 1_000)
    const isNew = event.eventno > (noticed.get(event.conversationid) ?? 0)
    if (isNew) noticed.set(event.conversationid, event.eventno)
    const room = rooms.get(event.conversationid)
    room?.take({ kind: 'event', event, carrier: carrierOf(event) })
    if (isNew && event.type === 'conversation.assigned') rooms.regrant(event.data.conversation.farmer.id, event.data.to?.id ?? null)
    // After the lane: who was just put out has not joined any more.
    if (isNew) deps.notice(event)
    metrics.consumed.inc({ outcome: room ? 'lane' : 'notice' })
  }

  function take(delivery: Delivery): void {
    try {
      if (delivery.exchange === signals) deps.onSignal(Signal.parse(delivery.body))
      else if (delivery.routingKey.startsWith('user.')) deps.onUser(UserEvent.parse(delivery.body))
      else onConversationEvent(delivery)
    } catch (error) {
      // A joined conversation shows it as a gap, and the gap is fetched.
      metrics.consumed.inc({ outcome: 'unreadable' })
      log.error({ err: error, routingKey: delivery.routingKey }, 'delivery could not be read')
    } finally {
      delivery.ack()
    }
  }

  return {
    name: 'fanout',
    async start() {
      const bindings = realtimeBindings.map(({ exchange, keys }) => ({ exchange: namespacedName(exchange, deps.namespace), keys }))
      const consumer = await bus.listen(bindings, take, { prefetch: deps.prefetch, onResubscribed: deps.onResubscribed })
      stop = () => consumer.stop()
    },
    async stop() {
      await stop?.()
    },
  }
}

function carrierOf({ traceparent, tracestate }: ConversationEvent): Carrier | undefined {
  if (traceparent === undefined) return undefined
  return tracestate === undefined ? { traceparent } : { traceparent, tracestate }
}

/** Null where the header does not tell. */
function peopleOf(header: unknown): readonly string[] | null {
  if (typeof header !== 'string') return null
  try {
    const people: unknown = JSON.parse(header)
    return Array.isArray(people) && people.every((id) => typeof id === 'string') ? people : null
  } catch {
    return null
  }
}
