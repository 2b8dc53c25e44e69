// One process that listens and tells where: a service as `npm run services` starts it, or the floor of one. Timed from its spawn to ready.
import { spawn } from 'node:child_process'
import { request } from 'undici'
import { runWith, type ServiceName } from '../../scripts/lib/plan.ts'
import { root } from '../../tests/support/whole.ts'
import { cpuMicros } from './proc.ts'

export interface Started {
  readonly pid: number
  readonly url: string
  /** From the spawn to the first 200 of `/health/ready`. */
  readonly readyMs: number
  /** CPU time of the process by then. */
  readonly readyCpuMicros: number
  /** At once: nothing it holds is needed any more. */
  stop(): Promise<void>
}

const deadlineMs = 30_000
const askEveryMs = 5

export function startService(service: ServiceName, env: NodeJS.ProcessEnv): Promise<Started> {
  return startListening(['--import', './libs/service/src/otel.ts', `services/${service}/src/main.ts`], env, runWith[service])
}

/** @param args of node, in the project's folder; the process sends `{url}` by IPC once it listens @param heaps as in `runWith` */
export async function startListening(args: readonly string[], env: NodeJS.ProcessEnv, heaps: NodeJS.ProcessEnv = {}): Promise<Started> {
  const began = performance.now()
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], {
    cwd: root,
    env: { ...env, NODE_OPTIONS: '', ...heaps },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let complaint = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    complaint = `${complaint}${chunk}`.slice(-2_000)
  })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const failed = ended.then(() => Promise.reject(new Error(`${args.at(-1)} has ended: ${complaint}`)))
  failed.catch(() => undefined)
  const told = new Promise<{ url: string }>((resolve) => child.once('message', (message) => resolve(message as { url: string })))
  const pid = child.pid ?? 0
  const stop = async () => {
    child.kill('SIGKILL')
    await ended
  }
  try {
    const { url } = await Promise.race([told, failed])
    while (!(await isReady(url))) {
      if (performance.now() - began > deadlineMs) throw new Error(`${args.at(-1)} is not ready after ${deadlineMs} ms: ${complaint}`)
      await new Promise((resolve) => setTimeout(resolve, askEveryMs))
    }
    return { pid, url, readyMs: performance.now() - began, readyCpuMicros: cpuMicros(pid), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function isReady(url: string): Promise<boolean> {
  const { statusCode, body } = await request(`${url}/health/ready`)
  await body.dump()
  return statusCode === 200
}
