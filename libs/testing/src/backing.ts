// Which real servers tests use: from the environment, else Docker where an engine answers, else the usual loopback port, else none, said loudly.
import { appendFileSync } from 'node:fs'
import { connect } from 'node:net'

export type ServerName = 'mongodb' | 'rabbitmq' | 's3' | 'redis'

export interface Backing {
  name: ServerName
  url: string
  /** Where it was found. */
  from: 'environment' | 'docker' | 'loopback'
  stop(): Promise<void>
}

interface Server {
  variable: string
  loopback: string
  image: string
  port: number
  containerEnv?: Record<string, string>
  command?: string[]
  urlOf(host: string, port: number): string
}

export const servers: Record<ServerName, Server> = {
  mongodb: {
    variable: 'MONGODB_URL',
    loopback: 'mongodb://127.0.0.1:27017/',
    image: 'mongo:8',
    port: 27_017,
    urlOf: (host, port) => `mongodb://${host}:${port}/`,
  },
  rabbitmq: {
    variable: 'AMQP_URL',
    loopback: 'amqp://guest:guest@127.0.0.1:5672',
    image: 'rabbitmq:4',
    port: 5_672,
    urlOf: (host, port) => `amqp://guest:guest@${host}:${port}`,
  },
  s3: {
    variable: 'S3_URL',
    loopback: 's3://fieldline:fieldline-secret@127.0.0.1:9000/',
    image: 'quay.io/minio/minio:latest',
    port: 9_000,
    containerEnv: { MINIO_ROOT_USER: 'fieldline', MINIO_ROOT_PASSWORD: 'fieldline-secret' },
    command: ['server', '/data'],
    urlOf: (host, port) => `s3://fieldline:fieldline-secret@${host}:${port}/`,
  },
  redis: {
    variable: 'REDIS_URL',
    loopback: 'redis://127.0.0.1:6379',
    image: 'redis:7',
    port: 6_379,
    urlOf: (host, port) => `redis://${host}:${port}`,
  },
}

const found = new Map<ServerName, Promise<Backing | undefined>>()

/** The server of this name, looked for once a process; undefined where there is none. One line says which was taken. */
export function backing(name: ServerName): Promise<Backing | undefined> {
  const known = found.get(name) ?? find(name)
  found.set(name, known)
  return known
}

async function find(name: ServerName): Promise<Backing | undefined> {
  const server = servers[name]
  const given = process.env[server.variable]
  if (given) return say(name, { name, url: given, from: 'environment', stop: async () => undefined })
  const docker = (await dockerAnswers()) ? await inDocker(name, server) : undefined
  if (docker) return say(name, docker)
  const { hostname, port } = new URL(server.loopback)
  if (await answers({ host: hostname, port: Number(port) }))
    return say(name, { name, url: server.loopback, from: 'loopback', stop: async () => undefined })
  return say(name, undefined)
}

/** Printed, and appended to the file named by `BACKING_REPORT`, from which the runner makes its closing lines. */
function say(name: ServerName, server: Backing | undefined): Backing | undefined {
  const line = server ? `backing ${name}: ${server.from}` : `backing ${name}: NONE, its tests are skipped`
  process.stderr.write(`${line}\n`)
  if (process.env.BACKING_REPORT) appendFileSync(process.env.BACKING_REPORT, `${line}\n`)
  return server
}

async function inDocker(name: ServerName, server: Server): Promise<Backing | undefined> {
  try {
    const { GenericContainer } = await import('testcontainers')
    const made = new GenericContainer(server.image).withExposedPorts(server.port).withEnvironment(server.containerEnv ?? {})
    const container = await (server.command ? made.withCommand(server.command) : made).start()
    return {
      name,
      url: server.urlOf(container.getHost(), container.getMappedPort(server.port)),
      from: 'docker',
      stop: async () => void (await container.stop()),
    }
  } catch (error) {
    process.stderr.write(`backing ${name}: docker answers but brought none up (${error instanceof Error ? error.message : 'failed'})\n`)
    return undefined
  }
}

let engine: Promise<boolean> | undefined

function dockerAnswers(): Promise<boolean> {
  const host = process.env.DOCKER_HOST ?? 'unix:///var/run/docker.sock'
  const target = host.startsWith('unix://')
    ? { path: host.slice('unix://'.length) }
    : { host: new URL(host).hostname, port: Number(new URL(host).port || 2375) }
  engine ??= answers(target)
  return engine
}

function answers(target: { path: string } | { host: string; port: number }): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(target)
    const end = (is: boolean) => {
      socket.destroy()
      resolve(is)
    }
    socket
      .setTimeout(1_000, () => end(false))
      .once('connect', () => end(true))
      .once('error', () => end(false))
  })
}
