// Processes of a benchmark's own (floors, load generators): forked from a file, asked by name, answering by IPC.
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { compileCache } from '../../scripts/lib/compile-cache.ts'

export interface Role {
  readonly pid: number
  /** @throws Error as the role's handler threw it, or when its process ended */
  ask<T>(what: string, payload?: unknown): Promise<T>
  stop(): Promise<void>
}

interface Question {
  id: number
  what: string
  payload: unknown
}
interface Reply {
  id: number
  value?: unknown
  error?: string
}

/** @param file URL of a module that calls `answer` */
export async function startRole(file: URL, nodeArgs: readonly string[] = []): Promise<Role> {
  const child = fork(fileURLToPath(file), [], {
    execArgv: ['--disable-warning=ExperimentalWarning', ...nodeArgs],
    serialization: 'advanced',
    env: { ...process.env, NODE_OPTIONS: '', NODE_COMPILE_CACHE: compileCache },
  })
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  let questions = 0
  child.on('message', ({ id, value, error }: Reply) => {
    const one = waiting.get(id)
    waiting.delete(id)
    if (error === undefined) one?.resolve(value)
    else one?.reject(new Error(`${file.pathname.split('/').slice(-2).join('/')}: ${error}`))
  })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  void ended.then(() => {
    for (const { reject } of waiting.values()) reject(new Error(`${file.pathname} has ended`))
  })
  const ask = <T>(what: string, payload?: unknown) =>
    new Promise<T>((resolve, reject) => {
      questions += 1
      waiting.set(questions, { resolve: resolve as (value: unknown) => void, reject })
      child.send({ id: questions, what, payload } satisfies Question)
    })
  await ask('hello')
  return {
    pid: child.pid ?? 0,
    ask,
    async stop() {
      disconnect(child)
      await ended
    },
  }
}

/** Inside a role: answers questions until its parent is gone. */
// biome-ignore lint/suspicious/noExplicitAny: both ends of the pipe are files of this benchmark
export function answer(handlers: Record<string, (payload: any) => unknown>): void {
  process.on('message', async ({ id, what, payload }: Question) => {
    try {
      const handler = what === 'hello' ? () => true : handlers[what]
      if (!handler) throw new Error(`no handler for ${what}`)
      process.send?.({ id, value: await handler(payload) } satisfies Reply)
    } catch (error) {
      process.send?.({ id, error: Error.isError(error) ? String(error.stack) : String(error) } satisfies Reply)
    }
  })
  process.on('disconnect', () => process.exit(0))
}

function disconnect(child: ChildProcess): void {
  if (child.connected) child.disconnect()
  else child.kill('SIGKILL')
}
