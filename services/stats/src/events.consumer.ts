// Door of the queue `stats.events`: parses, hands over to the batch, acknowledges when the batch is durable.
import { type Consumer, type EventBus, namespacedName } from '@fieldline/bus/bus'
import {
  ConversationAssigned,
  ConversationCreated,
  ConversationRead,
  ConversationStatusChanged,
  MediaUploaded,
  MessageCreated,
} from '@fieldline/contracts/events'
import { statsQueue } from '@fieldline/contracts/topology'
import type { Part } from '@fieldline/service/lifecycle'
import { z } from 'zod'
import type { Batcher } from './batcher.ts'
import { type Entry, entryOf } from './entries.ts'
import type { Intake } from './ingest.ts'
import type { StatsMetrics } from './metrics.ts'
import { type Fact, mediaFact } from './tally.ts'

const StatsEvent = z.discriminatedUnion('type', [
  ConversationCreated,
  ConversationAssigned,
  ConversationStatusChanged,
  ConversationRead,
  MessageCreated,
  MediaUploaded,
])
type StatsEvent = z.infer<typeof StatsEvent>

/** One event, reduced. */
export type Item = { entry: Entry } | { upload: Fact }

export function itemOf(event: StatsEvent): Item {
  if (event.type !== 'media.uploaded') return { entry: entryOf(event) }
  const { media, ownerId, at } = event.data
  return { upload: mediaFact({ mediaId: media.id, type: media.type, ownerId, at: Date.parse(at) }) }
}

export function intakeOf(items: readonly Item[]): Intake {
  return {
    entries: items.flatMap((item) => ('entry' in item ? [item.entry] : [])),
    uploads: items.flatMap((item) => ('upload' in item ? [item.upload] : [])),
  }
}

export interface EventsConsumerOptions {
  bus: Pick<EventBus, 'consume'>
  batcher: Batcher<Item>
  metrics: StatsMetrics
  namespace: string
  prefetch: number
  maxAttempts: number
  now: () => Date
}

/** Longer than any outage of the store that should not cost an event its place in the queue. */
const handlerTimeoutMs = 3_600_000

export function createEventsConsumer({ bus, batcher, metrics, namespace, prefetch, maxAttempts, now }: EventsConsumerOptions): Part {
  let consumer: Consumer | undefined
  return {
    name: 'events consumer',
    async start() {
      consumer = await bus.consume<StatsEvent>(
        namespacedName(statsQueue, namespace),
        async ({ body }) => {
          await batcher.add(itemOf(body))
          metrics.lag.set(Math.max(0, now().getTime() - Date.parse(body.time)) / 1_000)
        },
        { prefetch, maxAttempts, handlerTimeoutMs, parse: (body) => StatsEvent.parse(body) },
      )
    },
    async stop() {
      // Nothing more is taken, what was taken is handled. While the store is away its handlers never end, and their events stay with the broker.
      const stopping = consumer?.stop()
      if (await batcher.stop()) await stopping
    },
  }
}
