// What a run on one machine consists of: each service's ports, URLs and environment, from what the user's environment says.
import { mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { compileCache } from './compile-cache.ts'
import { keepRun } from './last-run.ts'
import { freePort } from './ports.ts'
import { localSecrets } from './secrets.ts'

export const serviceNames = ['conversation', 'media', 'stats', 'realtime', 'gateway'] as const
export type ServiceName = (typeof serviceNames)[number]

export interface Replica {
  service: ServiceName
  /** From 1. */
  replica: number
  port: number
  env: Record<string, string>
}
export interface Plan {
  dataDir: string
  /** Where clients go. */
  url: string
  replicas: Replica[]
  /** Addresses that stand for several replicas of a service. */
  balanced: { port: number; replicaPorts: number[] }[]
}

export interface Backing {
  /** @returns DATABASE_URL of a service that has one */
  database(service: ServiceName, dataDir: string): string
  broker: string
  objects(dataDir: string): string
}

/**
 * The most that either half of V8's young generation may have. Left alone it grows until a process keeps some 100 MB that a crowd, or files passing through, once took; what
 * an idle socket needs is old by then (services/realtime/README.md).
 */
const smallNursery = { NODE_OPTIONS: '--max-semi-space-size=8' }

/** And glibc keeps what a chunk of a file, or a picture while it was decoded, took, in a heap for each thread: so few heaps, and large pieces go back at once. */
const smallHeaps = { ...smallNursery, MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '131072' }

/** What a service's process is run with, beside its configuration; what that saves and costs stands in each one's README. */
export const runWith: Partial<Record<ServiceName, Record<string, string>>> = {
  gateway: smallHeaps,
  media: smallHeaps,
  realtime: smallNursery,
}

/** Plans replicas, ports and environments. Ports are fixed here, since services name one another. */
export async function plan(
  backing: Backing,
  counts: Partial<Record<ServiceName, number>> = {},
  env: NodeJS.ProcessEnv = process.env,
): Promise<Plan> {
  const dataDir = resolve(env.DATA_DIR || 'data')
  mkdirSync(dataDir, { recursive: true })
  // In production none is made: what is missing, the configurations name.
  const secrets = env.NODE_ENV === 'production' ? {} : localSecrets(dataDir, env)
  const asked = (env.PORT ?? '').trim() || '5000'
  const publicPort = asked === '0' ? await freePort() : /^\d{1,5}$/.test(asked) ? Number(asked) : 5_000
  const taken = new Set([publicPort])
  const ports = {} as Record<ServiceName, number[]>
  for (const service of serviceNames) {
    ports[service] = []
    for (let replica = 0; replica < (counts[service] ?? 1); replica += 1) {
      ports[service].push(service === 'gateway' && replica === 0 ? publicPort : await freePort(taken))
    }
  }
  const balanced: Plan['balanced'] = []
  const addressOf = {} as Record<ServiceName, string>
  for (const service of serviceNames) {
    const own = ports[service]
    let port = own[0]
    if (own.length > 1 && service !== 'gateway') {
      port = await freePort(taken)
      balanced.push({ port, replicaPorts: own })
    }
    addressOf[service] = `http://127.0.0.1:${port}`
  }
  const common = {
    ...passedOn(env),
    ...secrets,
    HOST: '127.0.0.1',
    NODE_OPTIONS: '',
    NODE_COMPILE_CACHE: env.NODE_COMPILE_CACHE || compileCache,
    BROKER_URL: backing.broker,
    PUBLIC_URL: env.PUBLIC_URL || `http://localhost:${publicPort}`,
    CONVERSATION_URL: addressOf.conversation,
    MEDIA_URL: addressOf.media,
    STATS_URL: addressOf.stats,
    DATA_DIR: dataDir,
  }
  const replicas = serviceNames.flatMap((service) =>
    ports[service].map((port, index): Replica => {
      const own: Record<string, string> = { PORT: String(port), OTEL_SERVICE_NAME: service }
      own.HOST = service === 'gateway' ? env.HOST || '127.0.0.1' : '127.0.0.1'
      // What is no port goes on as it is, for the gateway's configuration to name it.
      if (service === 'gateway' && index === 0 && asked !== '0') own.PORT = asked
      // The gateway routes by replica, so it gets each of them; the others ask any.
      own.REALTIME_URL = service === 'gateway' ? ports.realtime.map((each) => `http://127.0.0.1:${each}`).join(',') : addressOf.realtime
      // Behind the gateway, whose word about the client's address counts.
      if (service !== 'gateway') own.TRUSTED_PROXIES = '1'
      if (service !== 'gateway') own.DATABASE_URL = backing.database(service, dataDir)
      if (service === 'media') own.OBJECTS_URL = backing.objects(dataDir)
      Object.assign(own, runWith[service])
      return { service, replica: index + 1, port, env: { ...common, ...own } }
    }),
  )
  keepRun(dataDir, replicas.find(({ service }) => service === 'stats')?.env ?? {})
  return { dataDir, url: `http://localhost:${publicPort}`, replicas, balanced }
}

/** The user's own settings reach every service; what would name another run's addresses does not. */
function passedOn(env: NodeJS.ProcessEnv): Record<string, string> {
  const ours = new Set([
    'DATABASE_URL',
    'OBJECTS_URL',
    'BROKER_URL',
    'ADMIN_PORT',
    'PORT',
    'HOST',
    'CONVERSATION_URL',
    'MEDIA_URL',
    'STATS_URL',
    'REALTIME_URL',
  ])
  return Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined && !ours.has(entry[0])))
}

export const embedded: Backing = {
  database: (service, dataDir) => `sqlite:${join(dataDir, `${service}.db`)}`,
  broker: 'memory:fieldline',
  objects: (dataDir) => `file:${join(dataDir, 'media')}`,
}

/** A server's URL with a database's or bucket's name in it, whatever name it had; the service itself puts NAMESPACE before it. */
export function withName(url: string, name: string): string {
  const [address = '', query] = url.split('?')
  const base = address.replace(/^([\w+]+:\/\/[^/]+).*$/, '$1')
  return `${base}/${name}${query ? `?${query}` : ''}`
}
