// One connected device: its socket, whom its token names, what it has joined and what it has confirmed.
import { createHash, randomBytes } from 'node:crypto'
import type { ConversationId } from '@fieldline/contracts/ids'
import type { Person } from '@fieldline/contracts/people'
import type { ClientToServer, ServerEvent, ServerPayload, ServerToClient } from '@fieldline/contracts/socket'
import type { DefaultEventsMap, Server, Socket } from 'socket.io'
import { type Device, earliest, type JoinedRoom, type Standpoint } from './presence/presence.ts'

export type Admitted = { readonly person: Person; readonly token: string } & Pick<DeviceMarks, 'clientId' | 'shown'>
export interface SocketData {
  session?: Session
  admitted?: Admitted
}
export type ChatServer = Server<ClientToServer, ServerToClient, DefaultEventsMap, SocketData>
export type ChatSocket = Socket<ClientToServer, ServerToClient, DefaultEventsMap, SocketData>

/** What makes two connections the same device: the name its client shows or, where it shows none, its token (hashed, never kept) and its User-Agent. */
export interface DeviceMarks {
  readonly tokenMark: string
  readonly userAgent: string
  readonly clientId: string
  /** It came with the connection; else it was given to it now. */
  readonly shown: boolean
}

/** What goes to a client as Socket.IO's `pid`: its name, and something new each time, so that it takes nothing for recovered. */
const pidShape = /^([\w-]{22})\.[\w-]{6}$/

/** @param pid what a stock client since 4.6 says in `auth`: what the answer to its last connection gave it (ADR 36) */
export function clientMarks(pid: unknown): Pick<DeviceMarks, 'clientId' | 'shown'> {
  const known = typeof pid === 'string' ? pidShape.exec(pid)?.[1] : undefined
  return { clientId: known ?? random(16), shown: known !== undefined }
}

/** For the answer to a connection. */
export function pidOf({ clientId }: Pick<DeviceMarks, 'clientId'>): string {
  return `${clientId}.${random(4)}`
}

function random(bytes: number): string {
  return randomBytes(bytes).toString('base64url')
}

export function deviceMarks(token: string, userAgent: string | undefined): Pick<DeviceMarks, 'tokenMark' | 'userAgent'> {
  return { tokenMark: createHash('sha256').update(token).digest('base64url').slice(0, 22), userAgent: (userAgent ?? '').slice(0, 200) }
}

/** Conversations left, or wanted since, are remembered for what may still join them unasked, which is soon or never. */
const mostRemembered = 200

function remembered(before: Set<ConversationId> | null, id: ConversationId): Set<ConversationId> {
  const ids = before ?? new Set()
  const [oldest] = ids
  if (oldest !== undefined && ids.size >= mostRemembered) ids.delete(oldest)
  return ids.add(id)
}

const nothing: ReadonlySet<ConversationId> = new Set()

export class Session {
  readonly socket: ChatSocket
  readonly userAgent: string
  readonly clientId: string
  readonly shown: boolean
  readonly traceparent: string | undefined
  person: Person
  token: string
  tokenMark: string
  closed = false
  /** Joined something of itself, or took a record over: it needs no look at records any more. */
  settled = false
  takenOver = false
  /** Its replica stops, and takes nothing new of it. */
  leaving = false
  readonly connectedAt = performance.now()
  #joined: Set<ConversationId> | null = null
  #cursors: Map<ConversationId, number> | null = null
  #managed: Set<ConversationId> | null = null
  #entering: Map<ConversationId, Standpoint> | null = null
  #left: Set<ConversationId> | null = null
  #leftAll = false
  /** Since it left all. */
  #wanted: Set<ConversationId> | null = null
  /** A record that is being taken over, until joins of its rooms are under way. */
  inheriting: Device | null = null
  /** Sends in flight by conversation, one after the other. */
  sends: Map<ConversationId, { tail: Promise<unknown>; waiting: number }> | null = null

  constructor(socket: ChatSocket, admitted: Pick<Admitted, 'person' | 'token'>, marks: DeviceMarks, traceparent: string | undefined) {
    this.socket = socket
    this.person = admitted.person
    this.token = admitted.token
    this.tokenMark = marks.tokenMark
    this.userAgent = marks.userAgent
    this.clientId = marks.clientId
    this.shown = marks.shown
    this.traceparent = traceparent
  }

  get id(): string {
    return this.socket.id
  }
  /** Conversations whose room this socket is in. */
  get joined(): ReadonlySet<ConversationId> {
    return this.#joined ?? nothing
  }
  /** What the client has confirmed, by conversation: recorded for the device's next connection. */
  get cursors(): ReadonlyMap<ConversationId, number> {
    return this.#cursors ?? new Map()
  }

  /** Conversations it wishes to join. */
  get entering(): Iterable<ConversationId> {
    return this.#entering?.keys() ?? nothing
  }
  isEntering(id: ConversationId): boolean {
    return this.#entering?.has(id) ?? false
  }
  /** It wishes to hear this one, by a join or by what it sends there. */
  want(id: ConversationId): void {
    this.#left?.delete(id)
    if (this.#leftAll) this.#wanted = remembered(this.#wanted, id)
  }
  /** It does not wish to, also where it is still to be joined by a record or by what it sent; without an id: none. */
  unwant(id?: ConversationId): void {
    if (id === undefined) {
      this.#leftAll = true
      this.#left = null
      this.#wanted = null
      return
    }
    this.#wanted?.delete(id)
    this.#left = remembered(this.#left, id)
  }
  wants(id: ConversationId): boolean {
    return !this.#left?.has(id) && (!this.#leftAll || (this.#wanted?.has(id) ?? false))
  }

  /** Recorded from the wish on: the connection may end before the join does, and a stock client does not ask again. */
  wish(id: ConversationId, from: Standpoint): void {
    this.#entering ??= new Map()
    this.#entering.set(id, earliest(from, this.#entering.get(id) ?? from))
  }
  /** Fulfilled, refused or taken back. */
  wishEnded(id: ConversationId): void {
    if (!this.joined.has(id)) this.#managed?.delete(id)
    this.#entering?.delete(id)
    if (this.#entering?.size === 0) this.#entering = null
  }
  /** Where it stands in all that it has joined or is about to, for the record of its device. */
  rooms(): JoinedRoom[] {
    const rooms = new Map<ConversationId, Standpoint>()
    for (const { conversationId, seq, wishedAt } of this.inheriting?.rooms ?? [])
      if (this.wants(conversationId)) rooms.set(conversationId, { seq, wishedAt })
    for (const [id, from] of this.#entering ?? []) rooms.set(id, earliest(from, rooms.get(id) ?? from))
    for (const [id, seq] of this.#cursors ?? []) rooms.set(id, { seq })
    return [...rooms].map(([conversationId, from]) => ({ conversationId, ...from, ...(this.manages(conversationId) && { managed: true }) }))
  }

  enter(id: ConversationId, seq: number): void {
    this.#joined ??= new Set()
    this.#joined.add(id)
    this.confirmed(id, seq)
  }
  /** The client joins this one itself and says what it has (`afterSeq`): nothing is told unasked that it may have already. */
  manage(id: ConversationId): void {
    this.#managed ??= new Set()
    this.#managed.add(id)
  }
  manages(id: ConversationId): boolean {
    return this.#managed?.has(id) ?? false
  }
  leave(id: ConversationId): void {
    this.#managed?.delete(id)
    this.#joined?.delete(id)
    this.#cursors?.delete(id)
  }
  confirmed(id: ConversationId, seq: number): boolean {
    this.#cursors ??= new Map()
    const before = this.#cursors.get(id)
    if (before !== undefined && before >= seq) return false
    this.#cursors.set(id, seq)
    return true
  }

  emit<Event extends ServerEvent>(event: Event, payload: ServerPayload<Event>): void {
    ;(this.socket as unknown as { emit(event: string, payload: unknown): void }).emit(event, payload)
  }

  /** Ends the engine connection when what was written has gone out; after that a stock client comes back by itself. */
  end(): void {
    this.socket.conn.close()
  }
  /** The same at once, whatever is still unsent. */
  close(): void {
    const { conn } = this.socket
    ;(conn as unknown as { close(discard: boolean): void }).close(true)
  }
}
