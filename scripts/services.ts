// `npm run services`: five processes (or more, `-- --replicas realtime=2,conversation=2`) against real servers; one JSON line a process, then {ready}.
// A process that dies is started again after a second, as Kubernetes would. `--node-args="--cpu-prof …"` goes to node in each.
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { request } from 'undici'
import { balance } from './lib/balancer.ts'
import { faultsOf } from './lib/faults.ts'
import { type Backing, embedded, plan, type Replica, type ServiceName, serviceNames, withName } from './lib/plan.ts'
import { answers } from './lib/ports.ts'

const root = join(import.meta.dirname, '..')
const restartAfterMs = 1_000
const complainEveryMs = 30_000

const { values: options } = parseArgs({ options: { replicas: { type: 'string' }, 'node-args': { type: 'string', default: '' } } })
const nodeArgs = options['node-args'].split(' ').filter((arg) => arg !== '')
const counts = replicaCounts()
const backing = await chooseBacking()
if (!process.env.MONGODB_URL && Object.values(counts).some((count) => count > 1))
  fail('several replicas need MONGODB_URL: an SQLite file has one process')

const running = new Map<Replica, ChildProcess>()
let stopping = false
const run = await plan(backing, counts).catch((error: unknown) => fail(error instanceof Error ? error.message : String(error)))
const faults = await faultsOf(run)
if (faults.length > 0) fail(...faults)
// Before the first process: a stop while they start must not leave them behind.
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, stop)
for (const { port, replicaPorts } of run.balanced) await balance(port, replicaPorts)
for (const replica of run.replicas) launch(replica)
await Promise.all(run.replicas.map(whenReady))
console.log(JSON.stringify({ ready: true, url: run.url }))

function launch(replica: Replica): void {
  const child = spawn(
    process.execPath,
    [
      '--disable-warning=ExperimentalWarning',
      ...nodeArgs,
      '--import',
      './libs/service/src/otel.ts',
      `services/${replica.service}/src/main.ts`,
    ],
    // By the channel a service notices that this process is gone, however it went, and ends too.
    { cwd: root, env: { ...replica.env, READY_LINE: '' }, stdio: ['ignore', 2, 2, 'ipc'] },
  )
  running.set(replica, child)
  console.log(
    JSON.stringify({ service: replica.service, replica: replica.replica, pid: child.pid, url: `http://127.0.0.1:${replica.port}` }),
  )
  child.once('exit', () => {
    running.delete(replica)
    if (stopping) {
      if (running.size === 0) process.exit(0)
      return
    }
    setTimeout(() => !stopping && launch(replica), restartAfterMs)
  })
}

/** Waits until the replica says it is ready, however long a server it depends on is away; says now and then what it waits for. */
async function whenReady(replica: Replica): Promise<void> {
  let complainAt = Date.now() + complainEveryMs
  for (;;) {
    let last: string
    try {
      const { statusCode, body } = await request(`http://127.0.0.1:${replica.port}/health/ready`, { headersTimeout: 2_000 })
      last = await body.text()
      if (statusCode === 200) return
    } catch (error) {
      last = error instanceof Error ? error.message : String(error)
    }
    if (Date.now() > complainAt) {
      console.error(`services: ${replica.service} ${replica.replica} is not ready yet: ${last}`)
      complainAt = Date.now() + complainEveryMs
    }
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

function stop(): void {
  if (stopping) return
  stopping = true
  if (running.size === 0) process.exit(0)
  for (const child of running.values()) child.kill('SIGTERM')
}

async function chooseBacking(): Promise<Backing> {
  const { MONGODB_URL, S3_URL, AMQP_URL } = process.env
  if (!AMQP_URL && !(await answers(5672))) fail('no broker: AMQP_URL is not set and nothing answers on 127.0.0.1:5672')
  return {
    broker: AMQP_URL || 'amqp://guest:guest@127.0.0.1:5672',
    database: (service, dataDir) => (MONGODB_URL ? withName(MONGODB_URL, `fieldline_${service}`) : embedded.database(service, dataDir)),
    objects: (dataDir) => (S3_URL ? withName(S3_URL, 'fieldline-media') : embedded.objects(dataDir)),
  }
}

function replicaCounts(): Partial<Record<ServiceName, number>> {
  const wanted: Partial<Record<ServiceName, number>> = {}
  for (const part of options.replicas?.split(',') ?? []) {
    const [service, count] = part.split('=')
    if (!serviceNames.includes(service as ServiceName) || !/^[1-9]\d?$/.test(count ?? ''))
      fail(`--replicas: '${part}' is not <service>=<number>`)
    wanted[service as ServiceName] = Number(count)
  }
  return wanted
}

function fail(...messages: string[]): never {
  for (const message of messages) console.error(`services: ${message}`)
  process.exit(1)
}
