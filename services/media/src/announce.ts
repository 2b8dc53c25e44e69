// Tells the others what was uploaded: `media.uploaded`, once confirmed never again, and again until it is.
import { type EventBus, namespacedName } from '@fieldline/bus/bus'
import type { MediaUploaded } from '@fieldline/contracts/events'
import { eventsExchange } from '@fieldline/contracts/topology'
import type { Logger } from '@fieldline/service/logger'
import { currentCarrier } from '@fieldline/service/telemetry'
import type { MediaStore } from './media.store.ts'
import { type Media, summaryOf } from './media.ts'

/** Publishes and notes what was confirmed; answers how many were. Never rejects: what fails is tried again by the sweep. */
export type Announce = (files: readonly Media[]) => Promise<number>

export function createAnnounce({
  bus,
  store,
  log,
  namespace,
}: {
  bus: Pick<EventBus, 'publish'>
  store: Pick<MediaStore, 'announced'>
  log: Logger
  namespace: string
}): Announce {
  const exchange = namespacedName(eventsExchange, namespace)
  return async (files) => {
    if (files.length === 0) return 0
    const outcomes = await Promise.allSettled(
      files.map(async (file) => {
        const event = uploaded(file)
        await bus.publish({ exchange, routingKey: event.type, id: event.id, body: event })
        return file.id
      }),
    )
    const confirmed = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
    const failure = outcomes.find((outcome) => outcome.status === 'rejected')
    if (failure) log.warn({ err: failure.reason, files: files.length - confirmed.length }, 'media.uploaded is announced later')
    if (confirmed.length === 0) return 0
    try {
      await store.announced(confirmed)
      return confirmed.length
    } catch (error) {
      log.warn({ err: error }, 'media.uploaded will be announced once more')
      return 0
    }
  }
}

/** The same id at each repetition, so that consumers know it again. */
function uploaded(file: Media): MediaUploaded {
  return {
    ...{ specversion: '1.0', id: `media.uploaded:${file.id}`, source: 'media', time: file.createdAt.toISOString() },
    ...{ datacontenttype: 'application/json', type: 'media.uploaded' },
    ...currentCarrier(),
    data: { media: summaryOf(file), ownerId: file.ownerId, at: file.createdAt.toISOString() },
  }
}
