// A stock Socket.IO client that writes down all it is told, and a small JSON client for REST that holds every answer against the OpenAPI document.
import { io, type ManagerOptions, type Socket, type SocketOptions } from 'socket.io-client'
import { request } from 'undici'
import { createJudge, type Judge } from '../../services/gateway/test/contract/judge.ts'

export interface Told {
  event: string
  // biome-ignore lint/suspicious/noExplicitAny: what a server says is asserted, not typed, from outside
  payload: any
}
export interface Client {
  socket: Socket
  /** Everything heard, in order. */
  told: Told[]
  /** Payloads of one event so far. */
  // biome-ignore lint/suspicious/noExplicitAny: see Told
  all(event: string): any[]
  /** Resolves with the first payload of `event` (heard already or to come) that fits. */
  // biome-ignore lint/suspicious/noExplicitAny: see Told
  next(event: string, fits?: (payload: any) => boolean, withinMs?: number): Promise<any>
  /** Emits with an acknowledgement. */
  // biome-ignore lint/suspicious/noExplicitAny: see Told
  ask(event: string, payload?: unknown, withinMs?: number): Promise<any>
  close(): void
}

const patienceMs = 15_000

export function client(url: string, token: string | undefined, options: Partial<ManagerOptions & SocketOptions> = {}): Client {
  const socket = io(url, {
    auth: token === undefined ? {} : { token },
    forceNew: true,
    reconnectionDelay: 50,
    reconnectionDelayMax: 500,
    ...options,
  })
  const told: Told[] = []
  const watchers = new Set<() => void>()
  const hear = (event: string, payload: unknown): void => {
    told.push({ event, payload })
    for (const watcher of watchers) watcher()
  }
  socket.onAny((event: string, payload: unknown) => hear(event, payload))
  socket.on('connect', () => hear('connect', socket.id))
  socket.on('disconnect', (reason) => hear('disconnect', reason))
  socket.on('connect_error', (error) => hear('connect_error', error))
  return {
    socket,
    told,
    all: (event) => told.filter((one) => one.event === event).map(({ payload }) => payload),
    next(event, fits = () => true, withinMs = patienceMs) {
      return new Promise((resolve, reject) => {
        const look = (): void => {
          const found = told.find((one) => one.event === event && fits(one.payload))
          if (!found) return
          clearTimeout(timer)
          watchers.delete(look)
          resolve(found.payload)
        }
        const timer = setTimeout(() => {
          watchers.delete(look)
          reject(new Error(`no fitting ${event} within ${withinMs} ms; heard: ${JSON.stringify(told).slice(-2_000)}`))
        }, withinMs)
        watchers.add(look)
        look()
      })
    },
    ask: (event, payload, withinMs = patienceMs) =>
      socket.timeout(withinMs).emitWithAck(event, ...(payload === undefined ? [] : [payload])),
    close: () => void socket.close(),
  }
}

export interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  // biome-ignore lint/suspicious/noExplicitAny: asserted, not typed, from outside
  body: any
}

let judge: Judge | undefined

/**
 * REST under /api/v1/chat as one person. `raw` sends the body as it is.
 * @throws Error where the answer is not one that the OpenAPI document has for that call
 */
export function rest(url: string, token?: string) {
  return async (
    method: string,
    path: string,
    body?: unknown,
    more: { headers?: Record<string, string>; raw?: boolean } = {},
  ): Promise<Answer> => {
    const target = new URL(/^\/(api|uploads|health|internal|metrics)/.test(path) ? `${url}${path}` : `${url}/api/v1/chat${path}`)
    const answer = await request(target, {
      method: method as 'GET',
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...more.headers,
      },
      ...(body === undefined ? {} : { body: more.raw ? String(body) : JSON.stringify(body) }),
      headersTimeout: 30_000,
    })
    const bytes = Buffer.from(await answer.body.arrayBuffer())
    judge ??= createJudge()
    if (judge.knows(method, target.pathname)) {
      const faults = judge.judge({ method, path: target.pathname, status: answer.statusCode, headers: answer.headers, body: bytes })
      if (faults.length > 0)
        throw new Error(`${method} ${target.pathname} is not as documented: ${faults.join('; ')}\n${bytes.toString().slice(0, 1_000)}`)
    }
    const text = bytes.toString()
    let parsed: unknown = text
    try {
      parsed = JSON.parse(text)
    } catch {
      // not JSON: the text itself is the finding
    }
    return { status: answer.statusCode, headers: answer.headers, body: parsed }
  }
}
export type Rest = ReturnType<typeof rest>

/** Polls `look` until it gives something truthy. @throws Error with what it gave last */
export async function eventually<T>(look: () => Promise<T> | T, withinMs = patienceMs): Promise<Exclude<T, false | null | undefined>> {
  const deadline = Date.now() + withinMs
  let last: unknown
  while (Date.now() < deadline) {
    try {
      const found = await look()
      if (found) return found as Exclude<T, false | null | undefined>
      last = found
    } catch (error) {
      last = error
    }
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  throw new Error(`not within ${withinMs} ms; last: ${last instanceof Error ? last.stack : JSON.stringify(last)}`)
}
