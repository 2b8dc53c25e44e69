// The whole of Fieldline as users run it, from outside: `npm start`'s script, or `npm run services`' against real servers. Ended, and cleaned up, by whoever started it.
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import jwt from 'jsonwebtoken'
import { freePort } from '../../scripts/lib/ports.ts'
import { erase } from './erase.ts'

export const root = join(import.meta.dirname, '../..')

export interface ReplicaLine {
  service: string
  replica: number
  pid: number
  url: string
}
export interface Whole {
  /** Where clients go: the gateway. */
  url: string
  dataDir: string
  namespace: string
  secret: string
  /** Every start of a process so far, newest last; of the embedded run its one process. */
  started: ReplicaLine[]
  /** The newest process of a service's replica. */
  processOf(service: string, replica?: number): ReplicaLine
  /** Resolves with the next start of that service. */
  nextStart(service: string): Promise<ReplicaLine>
  output(): string
  stop(): Promise<void>
}

export interface WholeOptions {
  env?: Record<string, string>
  /** As `--replicas` takes it. */
  replicas?: string
  /** As `--node-args` takes it. */
  nodeArgs?: string
  dataDir?: string
  port?: number
}

const deadlineMs = 60_000
/** Signs every token made here. */
export const secret = randomBytes(32).toString('base64url')

/** A person's token for a whole started here. `expiresIn` in seconds. */
export function token(
  role: 'User' | 'Support' | 'Admin',
  sub: string,
  more: { firstName?: string; lastName?: string; phone?: string; expiresIn?: number; claims?: object } = {},
): string {
  const claims = {
    role,
    first_name: more.firstName ?? sub,
    last_name: more.lastName ?? '',
    ...(more.phone ? { phone: more.phone } : {}),
    ...more.claims,
  }
  return jwt.sign(claims, secret, { subject: sub, algorithm: 'HS256', expiresIn: more.expiresIn ?? 3_600 })
}

/** All five services in one process, embedded stores in a folder of its own. */
export async function startEmbedded(options: WholeOptions = {}): Promise<Whole> {
  return launch('scripts/start.ts', [], options, (line) => (line.includes('Fieldline is ready') ? {} : undefined))
}

/** A process a service over the real broker (and MongoDB and S3 where the environment names them), under a namespace of its own. */
export async function startServices(options: WholeOptions = {}): Promise<Whole> {
  const args = [
    ...(options.replicas ? ['--replicas', options.replicas] : []),
    ...(options.nodeArgs ? [`--node-args=${options.nodeArgs}`] : []),
  ]
  return launch('scripts/services.ts', args, options, (line) => (line.startsWith('{"ready"') ? {} : undefined))
}

async function launch(
  script: string,
  args: string[],
  options: WholeOptions,
  isReady: (line: string) => object | undefined,
): Promise<Whole> {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'fieldline-'))
  const namespace = options.env?.NAMESPACE ?? `t${randomBytes(4).toString('hex')}-`
  const port = options.port ?? (await freePort())
  const env = {
    ...withoutOtel(process.env),
    NODE_OPTIONS: '',
    LOG_LEVEL: 'warn',
    NODE_ENV: 'test',
    DATA_DIR: dataDir,
    PORT: String(port),
    NAMESPACE: namespace,
    JWT_SECRET: secret,
    RATE_LIMIT_ENABLED: 'false',
    ...options.env,
  }
  // As the scripts of package.json do: five processes are instrumented each for itself, by their supervisor.
  const preload = script === 'scripts/start.ts' ? ['--import', './libs/service/src/otel.ts'] : []
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...preload, script, ...args], {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const started: ReplicaLine[] = []
  const waiting: { service: string; resolve(line: ReplicaLine): void }[] = []
  let output = ''
  child.stderr.on('data', (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-200_000)
  })
  const whole: Whole = {
    url: `http://127.0.0.1:${port}`,
    dataDir,
    namespace,
    secret,
    started,
    processOf(service, replica = 1) {
      const line = started.findLast((each) => each.service === service && each.replica === replica)
      if (!line) throw new Error(`no process of ${service} ${replica}; output:\n${output}`)
      return line
    },
    nextStart: (service) => new Promise((resolve) => waiting.push({ service, resolve })),
    output: () => output,
    async stop() {
      await end(child, started, options.dataDir ? undefined : dataDir)
      // A namespace that was given is the caller's: it may start on it again.
      if (script.includes('services') && !options.env?.NAMESPACE) await erase(namespace, process.env)
    },
  }
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not ready within ${deadlineMs} ms; output:\n${output}`)), deadlineMs)
    child.once('exit', (code) => reject(new Error(`${script} ended with ${code}; output:\n${output}`)))
    createInterface({ input: child.stdout }).on('line', (line) => {
      output = `${output}${line}\n`.slice(-200_000)
      if (line.startsWith('{"service"')) {
        const replica = JSON.parse(line) as ReplicaLine
        started.push(replica)
        for (const one of waiting.filter(({ service }) => service === replica.service)) {
          waiting.splice(waiting.indexOf(one), 1)
          one.resolve(replica)
        }
      }
      if (isReady(line)) {
        clearTimeout(timer)
        resolve()
      }
    })
  }).catch(async (error: unknown) => {
    await whole.stop()
    throw error
  })
  if (started.length === 0) started.push({ service: 'all', replica: 1, pid: child.pid ?? 0, url: whole.url })
  return whole
}

async function end(child: ChildProcess, started: readonly ReplicaLine[], folder: string | undefined): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGTERM')
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      for (const { pid } of started) kill(pid)
    }, 15_000)
    await gone
    clearTimeout(timer)
  }
  if (folder) rmSync(folder, { recursive: true, force: true })
}

/** `kill -9`; a process already gone is fine. */
export function kill(pid: number, signal: NodeJS.Signals = 'SIGKILL'): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    // Not `instanceof`: under Jest the error comes from another realm.
    if (!(Error.isError(error) && 'code' in error && error.code === 'ESRCH')) throw error
  }
}

function withoutOtel(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined && !entry[0].startsWith('OTEL_')),
  )
}
