// Real child processes for tests: started, waited for, killed by pid, and never left behind.
import { type ChildProcess, spawn } from 'node:child_process'
import { eventually } from './until.ts'

export interface Running {
  pid: number
  /** JSON lines of stdout so far. */
  lines: Record<string, unknown>[]
  /** Both outputs so far, for failures. */
  output(): string
  /** The first JSON line that `matches`. @throws Error with the output when the process ends or the time is up before */
  line(matches: (line: Record<string, unknown>) => boolean, timeoutMs?: number): Promise<Record<string, unknown>>
  /** The `url` of the ready line. */
  url(timeoutMs?: number): Promise<string>
  kill(signal?: NodeJS.Signals): void
  /** Exit code, or the signal that ended it. */
  exited: Promise<number | NodeJS.Signals>
  /** SIGTERM, then SIGKILL after `withinMs`. */
  stop(withinMs?: number): Promise<number | NodeJS.Signals>
}

export interface SpawnOptions {
  args?: readonly string[]
  /** Options of node itself. */
  nodeArgs?: readonly string[]
  /** On top of PATH and HOME only: a test's child sees nothing it was not given. */
  env?: Readonly<Record<string, string | undefined>>
  cwd?: string
}

const children = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})

/** Starts `node <script>` (a service's main.ts, say) with READY_LINE=1. */
export function start(script: string, { args = [], nodeArgs = [], env = {}, cwd = process.cwd() }: SpawnOptions = {}): Running {
  const { PATH, HOME, TMPDIR } = process.env
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...nodeArgs, script, ...args], {
    cwd,
    env: { PATH, HOME, TMPDIR, NODE_OPTIONS: '', READY_LINE: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  children.add(child)
  const lines: Record<string, unknown>[] = []
  let output = ''
  let rest = ''
  let ended = false
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
    const parts = (rest + text).split('\n')
    rest = parts.pop() ?? ''
    for (const part of parts) {
      const line = jsonLine(part)
      if (line) lines.push(line)
    }
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  const exited = new Promise<number | NodeJS.Signals>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      ended = true
      children.delete(child)
      resolve(signal ?? code ?? 0)
    })
  })
  const running: Running = {
    pid: child.pid ?? 0,
    lines,
    output: () => output,
    async line(matches, timeoutMs = 20_000) {
      const found = await eventually(() => lines.find(matches) ?? (ended ? 'ended' : undefined), {
        timeoutMs,
        what: `a line of ${script}`,
      }).catch((error: Error) => {
        throw new Error(`${error.message}; it wrote:\n${output}`)
      })
      if (found === 'ended') throw new Error(`${script} ended before; it wrote:\n${output}`)
      return found as Record<string, unknown>
    },
    async url(timeoutMs) {
      return String((await running.line((line) => typeof line.url === 'string', timeoutMs)).url)
    },
    kill: (signal = 'SIGKILL') => void child.kill(signal),
    exited,
    async stop(withinMs = 10_000) {
      if (!ended) child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), withinMs)
      const code = await exited
      clearTimeout(timer)
      return code
    },
  }
  return running
}

/** Ends every child this process started. For `afterAll`. */
export async function stopAll(): Promise<void> {
  await Promise.all(
    [...children].map(async (child) => {
      const gone = new Promise((resolve) => child.once('close', resolve))
      child.kill('SIGKILL')
      await gone
    }),
  )
}

function jsonLine(text: string): Record<string, unknown> | undefined {
  if (!text.startsWith('{')) return undefined
  try {
    return JSON.parse(text) as Record<string, unknown>
  } catch {
    return undefined
  }
}
