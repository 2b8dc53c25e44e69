// The wiring of conversation: what is made from what, and in which order it starts.
import { type EventBus, namespaced, namespacedName } from '@fieldline/bus/bus'
import { connectBus } from '@fieldline/bus/connect'
import { apiBase } from '@fieldline/contracts/envelopes'
import { conversationPeopleQueue, topology } from '@fieldline/contracts/topology'
import { authenticate, createVerifier } from '@fieldline/service/auth'
import { type Clock, systemClock } from '@fieldline/service/clock'
import { createHealth, type Health } from '@fieldline/service/health'
import { createHttp } from '@fieldline/service/http'
import { createInternalTokens, requireInternal } from '@fieldline/service/internal'
import { type App, lifecycle, type Part } from '@fieldline/service/lifecycle'
import { createLinkSigner } from '@fieldline/service/links'
import { createLogger, type Logger } from '@fieldline/service/logger'
import { createRegistry } from '@fieldline/service/metrics'
import { createPeer } from '@fieldline/service/peer'
import type { RequestHandler } from 'express'
import { supportDesk } from './assignment/desk.ts'
import { presenceClient } from './assignment/presence.client.ts'
import { createAssignmentRoom } from './assignment/room.ts'
import { supportRoutes } from './assignment/support.routes.ts'
import type { ConversationConfig } from './config.ts'
import { createAccess } from './conversations/access.ts'
import { type Commands, createCommands } from './conversations/commands.ts'
import { conversationRoutes } from './conversations/conversation.routes.ts'
import type { ConversationStore } from './conversations/conversation.store.ts'
import { createCurrent } from './conversations/current.ts'
import { createViews } from './conversations/views.ts'
import { internalRoutes } from './internal.routes.ts'
import { createHistory } from './messages/history.ts'
import { reserveAt } from './messages/media.client.ts'
import { messageRoutes } from './messages/message.routes.ts'
import { createSend } from './messages/send.ts'
import { createRelay } from './outbox.ts'
import { consumePeople } from './people/people.consumer.ts'
import type { People } from './people/people.ts'
import { openStores } from './stores.ts'

export interface ConversationDeps {
  log?: Logger
  clock?: Clock
  /** Tests stand between the service and its store here, to lose answers or end the process between two writes. */
  store?: (store: ConversationStore) => ConversationStore
}

export async function createApp(config: ConversationConfig, deps: ConversationDeps = {}): Promise<App> {
  const { namespace, drainMs } = config
  const log = deps.log ?? createLogger({ logLevel: config.logLevel, readyLine: config.readyLine }, 'conversation')
  const clock = deps.clock ?? systemClock
  const health = createHealth()
  const registry = createRegistry('conversation')

  const stores = openStores(config, { log, health })
  const store = deps.store?.(stores.conversations) ?? stores.conversations
  const bus = await connectBus(config.brokerUrl, { topology: namespaced(topology, namespace), name: 'conversation', log })
  const internalTokens = createInternalTokens({ secrets: config.internalSecrets, name: 'conversation' })
  const media = createPeer({ name: 'media', url: config.mediaUrl, internalTokens, log, registry, health })
  const realtime = createPeer({ name: 'realtime', url: config.realtimeUrl, internalTokens, log, registry, health })

  const room = createAssignmentRoom({
    settings: {
      capacity: config.agentCapacity,
      coolingMs: config.agentCoolingMs,
      agentGraceMs: config.agentGraceMs,
      emptyReleaseMs: config.emptyReleaseMs,
      resolvedClosesAfterMs: config.resolvedClosesAfterMs,
      sweepEveryMs: config.assignmentSweepMs,
      orphanAfterMs: config.placeOrphanedAfterMs,
    },
    peopleStore: stores.people,
    places: stores.places,
    conversations: store,
    commands: () => commands,
    presence: presenceClient(realtime),
    ...{ bus, namespace, clock, log },
  })
  const { people, assignments: assignment } = room
  const commands: Commands = createCommands({
    ...{ store, clock, log },
    relay: () => relay,
    freed: (agentId, placeToken) => void assignment.release(agentId, placeToken),
  })
  const relay = createRelay({
    ...{ store, bus, clock, log, registry, namespace },
    settle: commands.settle,
    forgotten: commands.forgotten,
    sweepMs: config.relaySweepMs,
    orphanedAfterMs: config.relayOrphanedAfterMs,
  })

  const sees = config.supportSees
  const current = createCurrent({ store, commands, clock })
  const access = createAccess({ current, sees })
  const history = createHistory(store)
  const links = createLinkSigner({ publicUrl: config.publicUrl, secrets: config.signingSecrets })
  const views = createViews({ people, sign: links.sign })
  const send = createSend({ store, commands, current, assignment, reserveMedia: reserveAt(media) })
  const desk = supportDesk({ assignments: assignment, store, show: views.conversation })
  const rooms = { store, commands, current, access, history, views, assignment, sees }

  const http = createHttp({
    ...{ name: 'conversation', log, health, registry, host: config.host, port: config.port, adminPort: config.adminPort, drainMs },
    routers: (app) => {
      app.use('/internal', internalRoutes({ requireInternal: requireInternal(internalTokens), people, ...rooms }))
      app.use(
        apiBase,
        authenticate(createVerifier(config, { jwks: { log } })),
        recognize(people),
        conversationRoutes(rooms),
        messageRoutes({ send, ...rooms }),
        supportRoutes({ desk, agents: room.agents }),
      )
    },
  })

  const parts: Part[] = [
    stores,
    brokerPart(bus, health),
    media,
    realtime,
    relay,
    { name: 'commands', stop: () => commands.idle() },
    { name: 'assignment', start: () => room.start(), stop: () => room.stop() },
    peoplePart(bus, people, () => room.queue.request(), namespacedName(conversationPeopleQueue, namespace)),
    http,
  ]
  return lifecycle(parts, { log, drainMs, name: 'conversation', health, registry })
}

/** From here on `req.person` has the role that counts: a newer token may have lowered it. */
function recognize(people: Pick<People, 'recognize'>): RequestHandler {
  return async (req, _res, next) => {
    req.person = await people.recognize(req.person)
    next()
  }
}

/** Sends are answered without the broker, so its being away is told but takes nobody out of service. */
function brokerPart(bus: EventBus, health: Health): Part {
  const state = health.dependency('broker', { required: false })
  const tell = () => (bus.state === 'up' ? state.up() : state.down(bus.reason ?? 'down'))
  tell()
  const forget = bus.onState(tell)
  return {
    name: 'broker',
    async stop() {
      forget()
      await bus.close()
    },
  }
}

function peoplePart(bus: EventBus, people: People, onChange: () => void, queue: string): Part {
  let consumer: { stop(): Promise<void> } | undefined
  return {
    name: 'people',
    async start() {
      consumer = await consumePeople({ bus, people, onChange }, queue)
    },
    async stop() {
      await consumer?.stop()
    },
  }
}
