// Who is typing where: coalesced, throttled, told to the others here and on other replicas, ended by itself (spec 5).
import type { TypingSignal } from '@fieldline/contracts/events'
import type { ConversationId } from '@fieldline/contracts/ids'
import type { Message } from '@fieldline/contracts/messages'
import { displayName } from '@fieldline/contracts/people'
import { LRUCache } from 'lru-cache'
import type { Audience } from './audience.ts'
import { RateLimiter } from './limits.ts'
import type { Rooms } from './rooms.ts'
import type { Session } from './session.ts'

export interface TypingDeps {
  readonly rooms: Rooms
  readonly audience: Audience
  readonly signal: (signal: TypingSignal) => void
  /** This replica's name: its own signals come back to it. */
  readonly instance: string
  readonly expiresMs: number
  readonly everyMs: number
}

interface Typist {
  readonly userName: string
  readonly timer: NodeJS.Timeout
  toldAt: number
  /** Null: typing on another replica. */
  session: Session | null
}

/** Times somebody may begin anew in a conversation at once; then one in `everyMs`. */
const beginsAtOnce = 5

const rememberedSends = 2_000

/** A lost stop of another replica is noticed a little after it would have ended there. */
const slack = 1.5

export class Typing {
  readonly #deps: TypingDeps
  readonly #typists = new Map<ConversationId, Map<string, Typist>>()
  /** Messages that were sent by socket and are yet to be told, by sender and key. */
  readonly #sending = new LRUCache<string, true>({ max: rememberedSends })
  /** Beginning and ending in turn would pass the throttle: each told to everyone, here and on other replicas. */
  readonly #begins = new RateLimiter()

  constructor(deps: TypingDeps) {
    this.#deps = deps
  }

  start(session: Session, id: ConversationId): void {
    if (!session.joined.has(id)) return
    const { person } = session
    const known = this.#typists.get(id)?.get(person.id)
    const now = performance.now()
    if (known) {
      known.timer.refresh()
      known.session = session
      if (now - known.toldAt < this.#deps.everyMs) return
      known.toldAt = now
    } else {
      if (!this.#mayBegin(id, person.id)) return
      this.#add(id, person.id, displayName(person), session, this.#deps.expiresMs)
    }
    this.#tell('typing.started', id, person.id, displayName(person))
    this.#deps.signal({
      type: 'typing.started',
      conversationId: id,
      userId: person.id,
      userName: displayName(person),
      instance: this.#deps.instance,
    })
  }

  /** Without a conversation: all of this socket's. */
  stop(session: Session, id?: ConversationId): void {
    const ids = id === undefined ? [...this.#typists.keys()] : [id]
    for (const one of ids) if (this.#typists.get(one)?.get(session.person.id)?.session === session) this.#end(one, session.person.id)
  }

  /** From another replica. */
  take({ type, conversationId, userId, userName, instance }: TypingSignal): void {
    if (instance === this.#deps.instance || !this.#deps.rooms.get(conversationId)) return
    const known = this.#typists.get(conversationId)?.get(userId)
    if (type === 'typing.stopped') {
      if (known?.session === null) this.#end(conversationId, userId)
      return
    }
    if (known) known.timer.refresh()
    else this.#add(conversationId, userId, userName, null, this.#deps.expiresMs * slack)
    this.#tell('typing.started', conversationId, userId, userName)
  }

  /** Sending ends it. The message is told later, and must not end what was begun since. */
  sending(session: Session, id: ConversationId, clientMessageId: string): void {
    this.stop(session, id)
    this.#sending.set(`${session.person.id} ${clientMessageId}`, true)
  }

  /** A message is about to be told: one that came by REST ends its sender's typing now. */
  said({ conversationId, sender, clientMessageId }: Message): void {
    if (this.#sending.delete(`${sender.id} ${clientMessageId}`)) return
    if (this.#typists.get(conversationId)?.get(sender.id)?.session) this.#end(conversationId, sender.id)
  }

  endAll(): void {
    for (const typists of this.#typists.values()) for (const { timer } of typists.values()) clearTimeout(timer)
    this.#typists.clear()
  }

  #mayBegin(id: ConversationId, userId: string): boolean {
    const { everyMs } = this.#deps
    return everyMs === 0 || this.#begins.take(`${id} ${userId}`, { perSecond: 1_000 / everyMs, burst: beginsAtOnce }) === 0
  }

  #add(id: ConversationId, userId: string, userName: string, session: Session | null, expiresMs: number): void {
    const typists = this.#typists.get(id) ?? new Map<string, Typist>()
    this.#typists.set(id, typists)
    const timer = setTimeout(() => this.#end(id, userId), expiresMs)
    timer.unref()
    typists.set(userId, { userName, timer, toldAt: performance.now(), session })
  }

  #end(id: ConversationId, userId: string): void {
    const typists = this.#typists.get(id)
    const typist = typists?.get(userId)
    if (!typists || !typist) return
    clearTimeout(typist.timer)
    typists.delete(userId)
    if (typists.size === 0) this.#typists.delete(id)
    this.#tell('typing.stopped', id, userId, typist.userName)
    if (typist.session)
      this.#deps.signal({ type: 'typing.stopped', conversationId: id, userId, userName: typist.userName, instance: this.#deps.instance })
  }

  #tell(type: TypingSignal['type'], conversationId: ConversationId, userId: string, userName: string): void {
    const event = type === 'typing.started' ? 'typing:user-typing' : 'typing:user-stopped'
    const own = [...this.#deps.audience.of(userId)].map(({ id }) => id)
    this.#deps.audience.broadcast(conversationId, event, { conversationId, userId, userName }, own)
  }
}
