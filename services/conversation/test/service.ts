// A conversation service for tests: the real wiring with a real HTTP server, on a database of its own, over the memory bus; realtime and media answer as told.
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type EventBus, namespaced, namespacedName } from '@fieldline/bus/bus'
import { connectBus } from '@fieldline/bus/connect'
import type { ConversationEvent } from '@fieldline/contracts/events'
import type { Role } from '@fieldline/contracts/people'
import { statsQueue, topology } from '@fieldline/contracts/topology'
import { loadConfig } from '@fieldline/service/config'
import { createInternalTokens } from '@fieldline/service/internal'
import { silentLogger } from '@fieldline/service/logger'
import { describe, test } from '@jest/globals'
import jwt from 'jsonwebtoken'
import mongoose from 'mongoose'
import { request } from 'undici'
import { type ConversationDeps, createApp } from '../src/app.ts'
import { fields } from '../src/config.ts'

const secret = randomBytes(32).toString('hex')
const internalSecret = randomBytes(32).toString('hex')
/** For a service that a test starts as a process. */
export const secrets = { JWT_SECRET: secret, INTERNAL_SECRET: internalSecret, MEDIA_SIGNING_SECRET: secret }
export const mongoUrl = process.env.MONGODB_URL || 'mongodb://127.0.0.1:27017/'

export interface Answer {
  status: number
  // biome-ignore lint/suspicious/noExplicitAny: tests look into bodies of every shape
  body: any
  headers: Record<string, string | string[] | undefined>
}

/** Tokens carry an `iat` of their own where a test says so. */
export function tokenOf(role: Role, sub: string, claims: Record<string, unknown> = {}): string {
  return jwt.sign({ role, first_name: sub, last_name: 'Test', ...claims }, secret, { subject: sub, algorithm: 'HS256', expiresIn: 3_600 })
}

export interface Service {
  url: string
  namespace: string
  /** Every conversation event published, in the order of its first confirm. */
  published: ConversationEvent[]
  bus: EventBus
  as(token: string): (method: string, path: string, body?: unknown, headers?: Record<string, string>) => Promise<Answer>
  internal(method: string, path: string, body?: unknown): Promise<Answer>
  /** Tells the service who is connected, as realtime's events do, and waits until it knows. */
  online(token: string, sub: string, online?: boolean): Promise<void>
  /** What media says to a reservation; default: a small image. */
  media: { answer(path: string, body: Record<string, unknown>): { status: number; body: unknown }; asked: Record<string, unknown>[] }
  stop(): Promise<void>
}

export type Database = { name: string; url(): string; remove(url: string): Promise<void> }

const sqlite: Database = {
  name: 'SQLite',
  url: () => `sqlite:${join(mkdtempSync(join(tmpdir(), 'conversation-')), 'conversation.db')}`,
  remove: async (url) => rmSync(join(url.slice('sqlite:'.length), '..'), { recursive: true, force: true }),
}
const mongo: Database = {
  name: 'MongoDB',
  url: () => `${mongoUrl.replace(/\/[^/]*$/, '')}/conv-${randomUUID().slice(0, 8)}`,
  remove: async (url) => {
    const connection = await mongoose.createConnection(url).asPromise()
    // Every namespace's of that name.
    const { databases } = (await connection.db?.admin().listDatabases({ nameOnly: true })) ?? { databases: [] }
    for (const { name } of databases) if (name.endsWith(`-${connection.name}`)) await connection.useDb(name).dropDatabase()
    await connection.close()
  },
}

/** Runs `suite` for each database there is; a missing MongoDB is told loudly. */
export async function onEachDatabase(suite: (database: Database) => void): Promise<void> {
  describe('on SQLite', () => suite(sqlite))
  if (await answers(new URL(mongoUrl))) describe('on MongoDB', () => suite(mongo))
  else describe.skip(`on MongoDB: SKIPPED, nothing answers at ${new URL(mongoUrl).host}`, () => test('skipped', () => undefined))
}

export interface ServiceOptions {
  env?: Record<string, string>
  deps?: ConversationDeps
  /** Another's, to be its second replica or its successor. */
  databaseUrl?: string
  /** Another's, to be its replica: the same database, and the same bus unless `bus` names one. */
  namespace?: string
  bus?: string
}

export async function startService(database: Database, options: ServiceOptions = {}): Promise<Service> {
  const databaseUrl = options.databaseUrl ?? database.url()
  const namespace = options.namespace ?? `t${randomUUID().slice(0, 8)}-`
  const brokerUrl = `memory:${options.bus ?? namespace}`
  const published: ConversationEvent[] = []
  const log = silentLogger
  const bus = await connectBus(brokerUrl, { topology: namespaced(topology, namespace), name: 'test', log })
  const consumer =
    options.namespace && !options.bus
      ? undefined
      : await bus.consume<ConversationEvent>(namespacedName(statsQueue, namespace), async ({ body }) => void published.push(body), {
          prefetch: 1,
          maxAttempts: 1,
          handlerTimeoutMs: 5_000,
        })

  const present = new Map<string, { online: boolean; version: number }>()
  const nobody = { online: false, version: 0 }
  const media: Service['media'] = {
    asked: [],
    answer: (path, body) => ({
      status: 200,
      body: {
        media: {
          id: path.split('/').at(-2),
          name: 'leaf.jpg',
          type: body.type,
          format: 'image/jpeg',
          size: 12,
          hasThumbnail: true,
          width: 3,
          height: 4,
        },
      },
    }),
  }
  const neighbours = await listen(async (path, body) => {
    if (path.startsWith('/internal/media/')) {
      media.asked.push(body)
      return media.answer(path, body)
    }
    // Realtime knows who is there as `online` told it last.
    const people = (body.personIds as string[]).map((personId) => ({ personId, lastSeenAt: null, ...(present.get(personId) ?? nobody) }))
    return { status: 200, body: { people } }
  })

  const env = {
    ...secrets,
    DATABASE_URL: databaseUrl,
    BROKER_URL: brokerUrl,
    NAMESPACE: namespace,
    MEDIA_URL: neighbours.url,
    REALTIME_URL: neighbours.url,
    DRAIN_MS: '2000',
    LOG_LEVEL: 'silent',
    ...options.env,
  }
  const config = loadConfig(fields, env)
  const app = await createApp(config, { log, ...options.deps })
  await app.start()
  const url = app.url ?? ''
  const tokens = createInternalTokens({ secrets: [internalSecret], name: 'test' })
  const service: Service = {
    url,
    namespace,
    published,
    bus,
    media,
    as: (token) => (method, path, body, headers) => call(`${url}/api/v1/chat${path}`, method, token, body, headers),
    internal: (method, path, body) => call(`${url}/internal${path}`, method, tokens.issue(), body),
    async online(token, sub, online = true) {
      await service.as(token)('GET', '/conversations')
      presenceVersion += 1
      present.set(sub, { online, version: presenceVersion })
      const at = new Date().toISOString()
      const claims = jwt.decode(token) as { role: Role; iat: number; first_name: string; last_name: string }
      const person = { id: sub, role: claims.role, firstName: claims.first_name, lastName: claims.last_name, phone: null }
      const type = online ? 'user.online' : 'user.offline'
      await bus.publish({
        exchange: namespacedName('chat.events', namespace),
        routingKey: type,
        id: randomUUID(),
        body: {
          ...{ specversion: '1.0', id: randomUUID(), source: 'test', time: at, datacontenttype: 'application/json', type },
          data: { person, version: presenceVersion, at, ...(online ? { iat: claims.iat } : { lastSeenAt: at }) },
        },
      })
    },
    async stop() {
      await app.stop()
      await consumer?.stop()
      await bus.close()
      await neighbours.close()
      if (!options.databaseUrl) await database.remove(databaseUrl)
    },
  }
  return service
}

let presenceVersion = 0

/** One request with a JSON answer. */
export async function call(
  url: string,
  method: string,
  token: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const answer = await request(url, {
    method: method as 'GET',
    headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    body: body === undefined ? null : JSON.stringify(body),
  })
  const text = await answer.body.text()
  return { status: answer.statusCode, body: text === '' ? null : JSON.parse(text), headers: answer.headers }
}

async function listen(answer: (path: string, body: Record<string, unknown>) => Promise<{ status: number; body: unknown }>) {
  const server: Server = createServer((req, res) => {
    let text = ''
    req.on('data', (chunk: Buffer) => {
      text += chunk.toString()
    })
    req.on('end', async () => {
      const { status, body } = await answer(req.url ?? '', text === '' ? {} : JSON.parse(text))
      res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  return {
    url: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** Waits until `check` says something truthy; asks again after what it waits for may have moved. */
export async function eventually<T>(check: () => T | Promise<T>, what = 'it', withinMs = 10_000): Promise<NonNullable<T>> {
  const deadline = performance.now() + withinMs
  for (;;) {
    const found = await check()
    if (found) return found
    if (performance.now() > deadline) throw new Error(`${what} did not happen within ${withinMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

function answers({ hostname, port }: URL): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port: Number(port || 27_017), timeout: 1_000 })
    const end = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket
      .once('connect', () => end(true))
      .once('error', () => end(false))
      .once('timeout', () => end(false))
  })
}
