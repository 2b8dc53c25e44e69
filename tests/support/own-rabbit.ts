// A RabbitMQ of a test's own, on its own port and folder, to be killed and started again. Needs the server's start script (RABBITMQ_SERVER_BIN, or where packages put it).
import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { type ChannelModel, connect } from 'amqplib'
import { freePort } from '../../scripts/lib/ports.ts'
import { eventually } from './client.ts'

export interface OwnRabbit {
  url: string
  start(): Promise<void>
  /** `kill -9`. */
  kill(): Promise<void>
  /** Takes no more publishes, as a broker short of memory; resolves when publishers are told. */
  block(): Promise<void>
  unblock(): Promise<void>
  remove(): Promise<void>
}

const packaged = ['/usr/lib/rabbitmq/bin/rabbitmq-server', '/opt/rabbitmq/sbin/rabbitmq-server']

/** The start script, or undefined, said aloud: then what needs a broker of its own is not run. */
export function rabbitServer(what: string): string | undefined {
  const found = [process.env.RABBITMQ_SERVER_BIN ?? '', ...packaged].find((path) => path !== '' && existsSync(path))
  if (!found) process.stderr.write(`\n!!! NOT RUN: '${what}' needs a RabbitMQ to kill: set RABBITMQ_SERVER_BIN to its rabbitmq-server\n`)
  return found
}

export async function ownRabbit(script: string): Promise<OwnRabbit> {
  const folder = mkdtempSync(join(tmpdir(), 'fieldline-rabbit-'))
  const port = await freePort()
  const node = `fieldline-${randomBytes(4).toString('hex')}@localhost`
  mkdirSync(join(folder, 'log'))
  writeFileSync(join(folder, 'rabbit.conf'), `listeners.tcp.1 = 127.0.0.1:${port}\n`)
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    RABBITMQ_NODENAME: node,
    RABBITMQ_DIST_PORT: String(await freePort()),
    RABBITMQ_CONFIG_FILE: join(folder, 'rabbit.conf'),
    RABBITMQ_CONF_ENV_FILE: join(folder, 'none.conf'),
    RABBITMQ_MNESIA_BASE: join(folder, 'mnesia'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'plugins'),
    ERL_EPMD_ADDRESS: '127.0.0.1',
  }
  const url = `amqp://guest:guest@127.0.0.1:${port}`
  let gone: Promise<void> = Promise.resolve()
  let group: number | undefined
  let publisher: ChannelModel | undefined
  const control = async (...args: string[]): Promise<void> => {
    await promisify(execFile)(join(dirname(script), 'rabbitmqctl'), ['-n', node, ...args], { env })
  }
  const end = async (): Promise<void> => {
    if (group !== undefined) process.kill(-group, 'SIGKILL')
    group = undefined
    await gone
  }

  return {
    url,
    async start() {
      const output = openSync(join(folder, 'output'), 'a')
      // A group of its own: the script runs the server as a child, and both are ended together.
      const child = spawn(script, [], { env, stdio: ['ignore', output, output], detached: true })
      closeSync(output)
      group = child.pid
      gone = new Promise((resolve) => child.once('exit', () => resolve()))
      await eventually(async () => {
        const connection = await connect(url, { timeout: 3_000 })
        await connection.close()
        return true
      }, 60_000).catch((error: Error) => {
        throw new Error(`${error.message}; the broker wrote:\n${readFileSync(join(folder, 'output'), 'utf8').slice(-3_000)}`)
      })
    },
    kill: end,
    async block() {
      await control('set_vm_memory_high_watermark', 'absolute', '1MB')
      publisher = await connect(url)
      publisher.on('error', () => undefined)
      const told = once(publisher, 'blocked', { signal: AbortSignal.timeout(20_000) })
      const channel = await publisher.createChannel()
      channel.publish('', 'nobody', Buffer.alloc(0))
      await told
    },
    async unblock() {
      await control('set_vm_memory_high_watermark', '0.4')
      // Only now: a blocked connection is not read from, so its goodbye would wait.
      await publisher?.close()
      publisher = undefined
    },
    async remove() {
      await end()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
