// People at one whole: farmers with their conversations, agents who are known to be there, every socket they opened, and the truth to compare with.
import type { ManagerOptions, SocketOptions } from 'socket.io-client'
import { type Client, client, eventually, type Rest, rest } from './client.ts'
import { token, type Whole } from './whole.ts'

export interface Someone {
  id: string
  token: string
  api: Rest
}
export interface Farmer extends Someone {
  conversationId: string
}
export interface Agent extends Someone {
  client: Client
}
/** What a history or a client's list is compared by. */
export interface Line {
  seq: number
  _id: string
  content: string
}
type Options = Partial<ManagerOptions & SocketOptions>

export interface Scene {
  admin: Rest
  /** A socket closed with the scene. `url`: another way in than the gateway's own address. */
  connect(token: string, options?: Options, url?: string): Client
  /** A farmer with a conversation. */
  farmer(id?: string): Promise<Farmer>
  /** An agent who is connected, and known as online to who assigns. */
  agent(id: string, options?: Options, url?: string): Promise<Agent>
  /** The whole history by REST, oldest first. */
  history(conversationId: string): Promise<Line[]>
  /** Polls /health/ready of a process. */
  ready(url: string): Promise<{ status: number; down: string[] }>
  close(): void
}

let people = 0

export function scene(whole: Whole): Scene {
  const open: Client[] = []
  const admin = rest(whole.url, token('Admin', 'admin'))
  const connectTo: Scene['connect'] = (person, options = {}, url = whole.url) => {
    const made = client(url, person, options)
    open.push(made)
    return made
  }
  return {
    admin,
    connect: connectTo,
    async farmer(id = `farmer-${++people}`) {
      const own = token('User', id)
      const api = rest(whole.url, own)
      const { body } = await answered(() => api('POST', '/conversations'))
      return { id, token: own, api, conversationId: body.data._id }
    },
    async agent(id, options, url) {
      const own = token('Support', id)
      const made = connectTo(own, options, url)
      await made.next('connect')
      await eventually(async () => {
        const { body } = await admin('GET', '/support/agents')
        return body.data?.some((each: { _id: string; isOnline: boolean }) => each._id === id && each.isOnline)
      })
      return { id, token: own, api: rest(whole.url, own), client: made }
    },
    async history(conversationId) {
      const lines: Line[] = []
      for (;;) {
        const { body } = await answered(() => admin('GET', `/messages/${conversationId}?afterSeq=${lines.at(-1)?.seq ?? 0}&limit=100`))
        lines.push(...(body.data as Line[]).map(line))
        if (body.data.length < 100) return lines
      }
    },
    async ready(url) {
      const { status, body } = await rest(url)('GET', '/health/ready')
      const dependencies = Object.entries((body.dependencies ?? {}) as Record<string, { status: string }>)
      return { status, down: dependencies.filter(([, each]) => each.status === 'down').map(([name]) => name) }
    },
    close() {
      for (const each of open) each.close()
    },
  }
}

export function line({ seq, _id, content }: Line): Line {
  return { seq, _id, content }
}

/** What a client was told of a conversation by `message:new`, as it came. */
export function heard(from: Client, conversationId: string): Line[] {
  return from
    .all('message:new')
    .filter((each) => each.conversationId === conversationId)
    .map(({ message }) => line(message))
}

/** Calls until it is answered with a success, as a client with patience does. @throws Error at a refusal that no repetition helps, or with the last answer after so long */
export async function answered(call: () => ReturnType<Rest>, withinMs = 60_000): ReturnType<Rest> {
  const told = await eventually(async () => {
    const answer = await call()
    return answer.status < 500 && answer.status !== 429 ? answer : Promise.reject(new Error(describe(answer)))
  }, withinMs)
  if (told.status >= 400) throw new Error(describe(told))
  return told
}

function describe({ status, body }: Awaited<ReturnType<Rest>>): string {
  return `answered ${status}: ${JSON.stringify(body)}`
}

/** Joins, again where the answer says that it helps. @throws Error with a refusal that is none to repeat */
export async function join(from: Client, conversationId: string, afterSeq = 0): Promise<void> {
  const answer = await eventually(async () => {
    const now = await from.ask('conversation:join', { conversationId, afterSeq })
    return now.ok || !now.error.retryable ? now : Promise.reject(new Error(JSON.stringify(now)))
  }, 30_000)
  if (!answer.ok) throw new Error(`join refused: ${JSON.stringify(answer.error)}`)
}

/** A message whose answer was seen: sent by REST under a key, again and again until it is. */
export async function say(from: Someone, conversationId: string, content: string, withinMs?: number): Promise<Line> {
  const { body } = await answered(
    () => from.api('POST', '/messages', { conversationId, content, clientMessageId: keyOf(content) }),
    withinMs,
  )
  return line(body.data)
}

/** A text as a key: keys have no spaces and are short. */
export function keyOf(content: string): string {
  return content.replaceAll(' ', '-').slice(0, 100)
}
