// A realtime replica (or two) in this process, with the fake conversation behind it and real clients before it.
import { randomBytes } from 'node:crypto'
import type { Person } from '@fieldline/contracts/people'
import type { Acknowledgement, Joined, ServerEvent, ServerPayload } from '@fieldline/contracts/socket'
import { loadConfig } from '@fieldline/service/config'
import { createInternalTokens } from '@fieldline/service/internal'
import type { App } from '@fieldline/service/lifecycle'
import { silentLogger } from '@fieldline/service/logger'
import { testInternalSecret, testSecret, tokenFor } from '@fieldline/testing/factories'
import { once } from '@fieldline/testing/until'
import { io, type ManagerOptions, type Socket, type SocketOptions } from 'socket.io-client'
import { createApp } from '../src/app.ts'
import { fields } from '../src/config.ts'
import { type FakeConversation, startFakeConversation } from './fake-conversation.ts'

export interface House {
  readonly conversation: FakeConversation
  readonly namespace: string
  readonly brokerUrl: string
  /** What a service shows on `/internal`. */
  readonly internalToken: string
  /** Starts one more replica. */
  replica(env?: Record<string, string>): Promise<App & { readonly url: string }>
  /** A stock client of this person, connected unless `connected: false`. */
  client(app: { url: string }, who: Person, options?: ClientOptions): Promise<Client>
  stop(): Promise<void>
}
export interface ClientOptions extends Partial<ManagerOptions & SocketOptions> {
  token?: string
  connected?: boolean
  /** As clients did before 4.6, and those of other languages do: never shows the name it was given. */
  nameless?: boolean
}

export class Client {
  readonly socket: Socket
  readonly heard: { event: string; payload: unknown }[] = []
  constructor(socket: Socket) {
    this.socket = socket
    socket.onAny((event: string, payload: unknown) => void this.heard.push({ event, payload }))
  }
  of<Event extends ServerEvent>(event: Event): ServerPayload<Event>[] {
    return this.heard.filter((one) => one.event === event).map(({ payload }) => payload as ServerPayload<Event>)
  }
  /** Contents of `message:new`, in the order they came. */
  get texts(): (string | null)[] {
    return this.of('message:new').map(({ message }) => message.content)
  }
  async ask<Result = Record<string, unknown>>(event: string, payload?: unknown): Promise<Acknowledgement<Result>> {
    const answer: unknown = await this.socket.timeout(5_000).emitWithAck(event, payload)
    return answer as Acknowledgement<Result>
  }
  async join(conversationId: string, afterSeq?: number): Promise<Joined> {
    const answer = await this.ask<Joined>('conversation:join', { conversationId, ...(afterSeq === undefined ? {} : { afterSeq }) })
    if (!answer.ok) throw new Error(`${answer.error.code} ${answer.error.message}`)
    return answer.data
  }
}

export async function openHouse(brokerUrl?: string): Promise<House> {
  const namespace = `rt${randomBytes(5).toString('hex')}`
  const url = brokerUrl ?? `memory:${namespace}`
  const conversation = await startFakeConversation({ brokerUrl: url, namespace })
  const apps: App[] = []
  const clients: Client[] = []
  return {
    conversation,
    namespace,
    brokerUrl: url,
    internalToken: createInternalTokens({ secrets: [testInternalSecret], name: 'conversation' }).issue(),
    async replica(env = {}) {
      const config = loadConfig(fields, {
        JWT_SECRET: testSecret,
        INTERNAL_SECRET: testInternalSecret,
        MEDIA_SIGNING_SECRET: 'links-that-only-tests-sign-0123456789abcdef',
        BROKER_URL: url,
        NAMESPACE: namespace,
        DATABASE_URL: 'sqlite::memory:',
        CONVERSATION_URL: conversation.url,
        FETCH_PAUSE_MS: '20',
        DRAIN_SPREAD_MS: '50',
        DRAIN_MS: '2000',
        CONFIRM_MS: '20',
        PROBE_MS: '100',
        CURSOR_FLUSH_MS: '20',
        PRESENCE_FLUSH_MS: '5',
        LIST_UPDATES_MS: '20',
        ...env,
      })
      const app = await createApp(config, { log: silentLogger })
      apps.push(app)
      await app.start()
      return app as App & { readonly url: string }
    },
    async client(app, who, { token, connected = true, nameless = false, ...options } = {}) {
      const socket = io(app.url, {
        auth: { token: token ?? tokenFor(who) },
        transports: ['websocket'],
        forceNew: true,
        reconnectionDelay: 10,
        reconnectionDelayMax: 50,
        ...options,
      })
      if (nameless) Object.defineProperty(socket, '_pid', { get: () => undefined, set: () => undefined })
      const client = new Client(socket)
      clients.push(client)
      if (connected && !socket.connected) await once(socket, 'connect')
      return client
    },
    async stop() {
      for (const { socket } of clients) socket.disconnect()
      await Promise.all(apps.map((app) => app.stop()))
      await conversation.stop()
    },
  }
}
