// Realtime's wiring, read from top to bottom once: what is made from what, and in which order it starts.
import { randomBytes } from 'node:crypto'
import { namespaced, namespacedName } from '@fieldline/bus/bus'
import { connectBus } from '@fieldline/bus/connect'
import { AppError } from '@fieldline/contracts/errors'
import { signalsExchange, topology } from '@fieldline/contracts/topology'
import { createVerifier } from '@fieldline/service/auth'
import { systemClock } from '@fieldline/service/clock'
import { parseDatabaseUrl } from '@fieldline/service/database-url'
import { createHealth } from '@fieldline/service/health'
import { createHttp } from '@fieldline/service/http'
import { newId } from '@fieldline/service/ids'
import { createInternalTokens } from '@fieldline/service/internal'
import { type App, lifecycle, type Part } from '@fieldline/service/lifecycle'
import { createLinkSigner } from '@fieldline/service/links'
import { createLogger, type Logger } from '@fieldline/service/logger'
import { createRegistry } from '@fieldline/service/metrics'
import { createPeer } from '@fieldline/service/peer'
import { Audience } from './audience.ts'
import { authDoors } from './auth.socket.ts'
import type { RealtimeConfig } from './config.ts'
import { Confirmations } from './confirm.ts'
import { Connections } from './connection.ts'
import { createConversations } from './conversation.client.ts'
import { conversationDoors } from './conversation.socket.ts'
import { createDoorkeeper } from './door.ts'
import { drain, Running } from './drain.ts'
import { createEngine } from './engine.ts'
import { createFanout } from './fanout.consumer.ts'
import { HeadsCheck } from './heads.ts'
import { RateLimiter } from './limits.ts'
import { ListUpdates } from './list-updates.ts'
import { messageDoors } from './message.socket.ts'
import { createMetrics } from './metrics.ts'
import { createNotices, createTeller } from './notices.ts'
import { openPresenceMongo } from './presence/presence.store.mongo.ts'
import { openPresenceSqlite } from './presence/presence.store.sqlite.ts'
import { Reaper } from './presence/reaper.ts'
import { Roster } from './presence/roster.ts'
import { realtimeRoutes } from './realtime.routes.ts'
import { RoleCheck } from './role-check.ts'
import { Rooms } from './rooms.ts'
import type { Session } from './session.ts'
import { Standing } from './standing.ts'
import { StatsTicker } from './stats-ticker.ts'
import { Takeover } from './takeover.ts'
import { typingDoors } from './typing.socket.ts'
import { Typing } from './typing.ts'

/** How long an orderly end waits for a client to confirm what it was told. */
const lastConfirmMs = 1_000

export async function createApp(config: RealtimeConfig, context: { log?: Logger } = {}): Promise<App> {
  const log = context.log ?? createLogger(config, 'realtime')
  const name = config.instanceName ?? `r${randomBytes(6).toString('hex')}`
  const clock = systemClock
  const health = createHealth()
  const registry = createRegistry('realtime')
  const internalTokens = createInternalTokens({ secrets: config.internalSecrets, name: 'realtime' })
  const verifier = createVerifier(config, { jwks: { log } })
  const links = createLinkSigner({ publicUrl: config.publicUrl, secrets: config.mediaSigningSecrets })
  const database = parseDatabaseUrl(config.databaseUrl, config.namespace, 'realtime')
  const store =
    database.kind === 'mongo' ? openPresenceMongo(database.url, database.database, { log, health }) : openPresenceSqlite(database.file)
  const bus = await connectBus(config.brokerUrl, { topology: namespaced(topology, config.namespace), name: `realtime ${name}`, log })
  const broker = health.dependency('broker')
  const tellBroker = () => (bus.state === 'up' ? broker.up() : broker.down(bus.reason ?? undefined))
  tellBroker()
  bus.onState(tellBroker)
  const peer = createPeer({ name: 'conversation', url: config.conversationUrl, internalTokens, log, registry, health })
  const conversations = createConversations(peer, config)

  const http = createHttp({
    name: 'realtime',
    log,
    health,
    registry,
    host: config.host,
    port: config.port,
    adminPort: config.adminPort,
    drainMs: config.drainMs,
    routers: (app) => app.use(realtimeRoutes({ internalTokens, roster: () => roster, name, isDraining: () => health.stopping })),
  })
  const engine = createEngine(
    http.server,
    config,
    () => name,
    () => metrics,
  )
  const audience = new Audience(engine.io)
  const metrics = createMetrics(registry, {
    connections: () => engine.io.engine.clientsCount,
    people: () => audience.people,
    rooms: () => rooms.size,
    joined: () => [...rooms.all()].reduce((sum, room) => sum + room.members.size, 0),
    waiting: () => [...rooms.all()].reduce((sum, room) => sum + room.waiting, 0),
  })

  const standing = new Standing({
    audience,
    rooms: () => rooms,
    metrics: () => metrics,
    load: async (personIds) => (await store.load(personIds)).map(({ presence }) => presence),
  })
  const reaper = new Reaper({
    store,
    roster: () => roster,
    log,
    clock,
    name,
    leaseMs: config.presenceLeaseMs,
    graceMs: config.presenceGraceMs,
    recordsMs: config.recordsMs,
    catchUp: () => standing.catchUp(),
  })
  const roster: Roster = new Roster({
    store,
    bus,
    audience,
    log,
    clock,
    namespace: config.namespace,
    flushMs: config.presenceFlushMs,
    cursorFlushMs: config.cursorFlushMs,
    instance: () => {
      if (!reaper.registered) throw new AppError('UNAVAILABLE', 'This instance is not registered yet')
      return reaper.incarnation
    },
    onKnown: (presence) => standing.learn(presence),
  })
  const confirmations = new Confirmations(config.confirmMs, (session) => roster.moved(session))
  const rooms: Rooms = new Rooms(
    {
      conversations,
      audience,
      metrics,
      log,
      sign: links.sign,
      supportSees: config.supportSees,
      joinMessages: config.joinMessages,
      laneEvents: config.laneEvents,
      fetchPauseMs: config.fetchPauseMs,
      said: (message) => typing.said(message),
      told: (room) => confirmations.told(room),
      entered: (session) => roster.touch(session),
      left: (session) => {
        if (!session.closed) roster.touch(session)
      },
    },
    config.mostRooms,
    (session) => roster.touch(session),
  )
  const typing: Typing = new Typing({
    rooms,
    audience,
    instance: name,
    expiresMs: config.typingExpiresMs,
    everyMs: config.typingEveryMs,
    signal: (signal) =>
      bus.signal({
        exchange: namespacedName(signalsExchange, config.namespace),
        routingKey: signal.type,
        id: newId(),
        body: signal,
        carrier: {},
      }),
  })
  const takeover = new Takeover({
    take: (session, claim) => roster.take(session, claim),
    rooms,
    log,
    metrics,
    afterMs: config.takeoverMs,
    patienceMs: config.takeoverMs + config.pingIntervalMs + config.pingTimeoutMs + 2 * config.presenceLeaseMs,
    probe: (deviceId, answered) => connections.probe(deviceId, answered),
    confirmed: (deviceId, id) => engine.io.sockets.sockets.get(deviceId)?.data.session?.cursors.get(id),
  })

  const running = new Running()
  const take = createDoorkeeper(
    {
      ...conversationDoors({ rooms, typing, conversations }),
      ...messageDoors({ rooms, typing, conversations, takeover }),
      ...typingDoors({ typing }),
      ...authDoors({
        verifier,
        refreshed: (session) => {
          connections.refreshed(session)
          audience.placeByRole(session)
          for (const id of [...session.joined]) rooms.get(id)?.recheck()
          roster.touch(session)
        },
      }),
    },
    {
      limiter: config.rateLimitEnabled ? new RateLimiter() : null,
      rates: {
        'message:send': { perSecond: config.rateSend, burst: config.burstSend },
        'conversation:join': { perSecond: config.rateJoin, burst: config.burstJoin },
        other: { perSecond: config.rateOther, burst: config.burstOther },
      },
      metrics,
      log,
      running,
    },
  )
  const connections: Connections = new Connections({
    engine,
    verifier,
    audience,
    confirmations,
    metrics,
    log,
    mostSockets: config.mostSockets,
    slowReaderBytes: config.slowReaderBytes,
    probeMs: config.probeMs,
    take,
    arrived: (session) => {
      roster.touch(session)
      takeover.expect(session)
    },
    gone: (session) => {
      typing.stop(session)
      // First the record, with what it had joined; then its rooms.
      roster.ended(session)
      rooms.leaveAll(session)
    },
  })

  const heads = new HeadsCheck({ rooms, conversations, log, everyMs: config.headsEveryMs, pauseMs: config.fetchPauseMs })
  const roles = new RoleCheck({
    ...{ audience, conversations, log, everyMs: config.rolesEveryMs },
    lower: (token, role) => standing.lower(token, role),
  })
  const stats = new StatsTicker(audience, metrics, config.statsEveryMs)
  const lists = new ListUpdates({
    audience,
    conversations,
    log,
    supportSees: config.supportSees,
    everyMs: config.listUpdatesMs,
    tell: createTeller({ metrics, supportSees: config.supportSees }),
  })
  const fanout = createFanout({
    bus,
    namespace: config.namespace,
    prefetch: config.prefetch,
    supportSees: config.supportSees,
    rooms,
    audience,
    metrics,
    log,
    notice: createNotices({
      audience,
      metrics,
      sign: links.sign,
      supportSees: config.supportSees,
      isOnline: (personId) => standing.isOnline(personId),
      findOut: async (personId) => {
        const [stored] = await store.load([personId])
        if (stored) standing.learn(stored.presence)
      },
      listChanged: (id, senderId) => lists.changed(id, senderId),
    }),
    onUser: (event) => standing.take(event),
    listChanged: (id) => lists.changed(id),
    onSignal: (signal) => (signal.type === 'stats.changed' ? stats.changed() : typing.take(signal)),
    onResubscribed: () => {
      heads.now()
      standing.missed()
    },
  })

  const sockets: Part = {
    name: 'sockets',
    async start() {
      connections.start()
      heads.start()
      roles.start()
    },
    async stop() {
      engine.refuse()
      const confirmed = (session: Session) =>
        confirmations.settled(
          session,
          [...session.joined].flatMap((id) => rooms.get(id) ?? []),
          lastConfirmMs,
        )
      await drain(audience, running, confirmed, {
        spreadMs: Math.min(config.drainSpreadMs, config.drainMs * 0.6),
        withinMs: config.drainMs * 0.8,
      })
      connections.stop()
      heads.stop()
      roles.stop()
      stats.stop()
      lists.stop()
      typing.endAll()
      engine.io.engine.close()
    },
  }
  const busPart: Part = { name: 'bus', stop: () => bus.close() }
  return lifecycle([store, busPart, peer, reaper, fanout, http, sockets], {
    name: 'realtime',
    log,
    drainMs: config.drainMs,
    health,
    registry,
  })
}
