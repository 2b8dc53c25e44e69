// The wiring of media: what is made from what, and in which order it starts.
import type { EventBus } from '@fieldline/bus/bus'
import { namespaced } from '@fieldline/bus/bus'
import { connectBus } from '@fieldline/bus/connect'
import { apiBase } from '@fieldline/contracts/envelopes'
import { mediaLimits } from '@fieldline/contracts/media'
import { topology } from '@fieldline/contracts/topology'
import { openObjects } from '@fieldline/objects/open'
import { authenticate, createVerifier } from '@fieldline/service/auth'
import { systemClock } from '@fieldline/service/clock'
import { parseDatabaseUrl } from '@fieldline/service/database-url'
import { createHealth, type Health } from '@fieldline/service/health'
import { createHttp } from '@fieldline/service/http'
import { createInternalTokens, requireInternal } from '@fieldline/service/internal'
import { type App, lifecycle, type Part } from '@fieldline/service/lifecycle'
import { createLinkSigner } from '@fieldline/service/links'
import { createLogger, type Logger } from '@fieldline/service/logger'
import { counter, createRegistry } from '@fieldline/service/metrics'
import { connectMongo } from '@fieldline/service/mongo'
import { createPeer } from '@fieldline/service/peer'
import { openSqlite } from '@fieldline/service/sqlite'
import { createAnnounce } from './announce.ts'
import type { MediaConfig } from './config.ts'
import { askConversation } from './conversations.ts'
import { deliverRoutes } from './deliver.routes.ts'
import { internalRoutes } from './internal.routes.ts'
import { mongoMediaStore } from './media.store.mongo.ts'
import { sqliteMediaStore } from './media.store.sqlite.ts'
import type { MediaStore } from './media.store.ts'
import { openSpool } from './spool.ts'
import { createSweeper, type Sweeper } from './sweep.ts'
import { uploadRoutes } from './upload.routes.ts'
import { createUpload } from './upload.ts'

export interface MediaApp extends App {
  sweeper: Sweeper
}

export async function createApp(config: MediaConfig, context: { log?: Logger } = {}): Promise<MediaApp> {
  const { namespace, drainMs } = config
  const log = context.log ?? createLogger({ logLevel: config.logLevel, readyLine: config.readyLine }, 'media')
  const health = createHealth()
  const registry = createRegistry('media')
  const clock = systemClock

  const database = openStore(config, log, health)
  const { store } = database
  const { s3AccessKey: accessKey, s3SecretKey: secretKey } = config
  const objects = await openObjects(config.objectsUrl, { accessKey, secretKey, namespace })
  health.dependency('objects', { check: () => objects.ready() })
  const spool = await openSpool(config.spoolDir)
  const bus = await connectBus(config.brokerUrl, { topology: namespaced(topology, namespace), name: 'media', log })

  const verifier = createVerifier(config, { jwks: { log } })
  const internalTokens = createInternalTokens({ secrets: config.internalSecrets, name: 'media' })
  const conversationPeer = createPeer({ name: 'conversation', url: config.conversationUrl, internalTokens, log, registry, health })
  const conversations = askConversation(conversationPeer)
  const links = createLinkSigner({ publicUrl: config.publicUrl, secrets: config.signingSecrets })
  const announce = createAnnounce({ bus, store, log, namespace })
  const { imagePixels: pixels, imageFrames: frames, imageKeptPixels: kept, thumbnailSize: thumbnail } = config
  const images = { pixels, frames, kept, bytes: mediaLimits.bytesPerFile, thumbnail }
  const upload = createUpload({ store, objects, clock, log, images, storing: config.storing, decoding: config.decoding })
  const { unusedMs, uploadingMs, sweepMs: everyMs, orphansEvery, uploadIdleMs: idleMs } = config
  const sweeper = createSweeper({
    ...{ store, objects, spool, conversations, announce, clock, log, unusedMs, uploadingMs, everyMs, orphansEvery },
  })
  const uploads = counter(registry, 'fieldline_media_uploads_total', 'Uploads by how they ended', ['outcome'])
  const deliveries = counter(registry, 'fieldline_media_deliveries_total', 'Files sent, or left by their reader', ['outcome'])

  const http = createHttp({
    ...{ name: 'media', log, health, registry, host: config.host, port: config.port, adminPort: config.adminPort, drainMs },
    otherBodies: ['multipart/form-data'],
    // An upload over 2G takes as long as it takes; a silent one is ended by its own timer.
    requestTimeoutMs: 0,
    routers: (app) => {
      const { uploadsMax: most, uploadsPerPerson: mostOfOne, answerMs, singleAsObject } = config
      const upLimits = { most, mostOfOne, idleMs, answerMs, singleAsObject }
      app.use(
        apiBase,
        uploadRoutes({ authenticate: authenticate(verifier), spool, upload, announce, sign: links.sign, uploads, ...upLimits }),
      )
      app.use('/uploads/chat', deliverRoutes({ store, objects, links, verifier, conversations, deliveries, idleMs }))
      app.use('/internal', internalRoutes({ requireInternal: requireInternal(internalTokens), store, clock }))
    },
  })

  const parts = [database, { name: 'objects', stop: () => objects.close() }, busPart(bus, health), conversationPeer, sweeper, http]
  return Object.assign(lifecycle(parts, { log, drainMs, name: 'media', health, registry }), { sweeper })
}

function openStore(config: MediaConfig, log: Logger, health: Health): Part & { store: MediaStore } {
  const target = parseDatabaseUrl(config.databaseUrl, config.namespace, 'media')
  if (target.kind === 'sqlite') {
    const db = openSqlite(target.file)
    health.dependency('sqlite').up()
    return { name: 'sqlite', store: sqliteMediaStore(db), stop: async () => db.close() }
  }
  const mongo = connectMongo(target.url, target.database, { log, health })
  const store = mongoMediaStore(mongo.connection)
  const start = async () => {
    await mongo.start()
    const prepared = mongo.connected.then(() => store.prepare())
    prepared.catch((error: unknown) => log.error({ err: error }, 'indexes could not be made'))
  }
  return { name: 'mongodb', store, start, stop: () => mongo.stop() }
}

/** Uploads don't wait for the broker: what it can't take now is announced later. */
function busPart(bus: EventBus, health: Health): Part {
  const state = health.dependency('broker', { required: false })
  const tell = () => (bus.state === 'up' ? state.up() : state.down(bus.reason ?? 'down'))
  tell()
  const forget = bus.onState(tell)
  return {
    name: 'broker',
    stop: async () => {
      forget()
      await bus.close()
    },
  }
}
