// What a client has confirmed of what it was told (spec 5): a WebSocket ping after emits, which every stock client answers by itself; on polling the next GET.
import type { ConversationId } from '@fieldline/contracts/ids'
import type { Room } from './room.ts'
import type { Session } from './session.ts'

/** What of an engine.io connection is used here; its packets and transports are not part of Socket.IO's typed surface. */
export interface EngineConnection {
  readonly id: string
  readonly readyState: string
  readonly writeBuffer: readonly { data?: unknown }[]
  readonly transport: EngineTransport
  sendPacket(type: 'ping'): void
  close(discard?: boolean): void
  once(event: string, listener: () => void): void
  on(event: string, listener: (this: EngineConnection, argument: { type?: string }) => void): void
}
export interface EngineTransport {
  readonly name: string
  /** Polling: a GET is waiting for an answer. */
  readonly writable: boolean
  /** The `ws` socket of a WebSocket transport. */
  readonly socket?: { readonly bufferedAmount: number; terminate(): void; readonly _socket?: unknown }
  on(event: 'ready', listener: () => void): void
  removeAllListeners(event: 'headers'): unknown
}

export function engineOf(session: Session): EngineConnection {
  return session.socket.conn as unknown as EngineConnection
}

/** A WebSocket is the last transport a connection has. */
export function mayUpgrade({ transport }: EngineConnection): boolean {
  return transport.name === 'polling'
}

type Batch = ReadonlyMap<ConversationId, number>
interface Pending {
  readonly session: Session
  /** One entry a ping under way, oldest first: what its pong confirms. Engine pings confirm too. */
  pings: (Batch | null)[]
  next: Map<ConversationId, number> | null
  /** On polling: how many more GETs until it is confirmed. */
  polled: { batch: Batch; gets: number } | null
  listening: EngineTransport | null
  onConfirmed: (() => void) | null
}

export class Confirmations {
  readonly #pending = new WeakMap<object, Pending>()
  /** Rooms that were told something, with the time of the first and of the last of it. */
  readonly #dirty = new Map<Room, { first: number; last: number }>()
  readonly #everyMs: number
  readonly #moved: (session: Session) => void
  #timer: NodeJS.Timeout | undefined

  /** @param moved a session's cursors went forward */
  constructor(everyMs: number, moved: (session: Session) => void) {
    this.#everyMs = everyMs
    this.#moved = moved
  }

  /** From the connection's begin on, so that every pong is known for what it answers. */
  watch(session: Session): void {
    const engine = engineOf(session)
    this.#pending.set(engine, { session, pings: [], next: null, polled: null, listening: null, onConfirmed: null })
    engine.on('packetCreate', this.#onPacketCreate)
    engine.on('heartbeat', this.#onHeartbeat)
    if (mayUpgrade(engine)) engine.on('upgrade', this.#onUpgrade)
  }

  /** Something was told in this room: asked when it has been quiet for a while, or every fourth while at the latest. */
  told(room: Room): void {
    const now = performance.now()
    const times = this.#dirty.get(room)
    if (times) times.last = now
    else this.#dirty.set(room, { first: now, last: now })
    this.#arm()
  }

  #arm(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      const now = performance.now()
      const due = [...this.#dirty].flatMap(([room, { first, last }]) =>
        now - last >= this.#everyMs * 0.9 || now - first >= this.#everyMs * 4 ? [room] : [],
      )
      this.#askIn(due)
      if (this.#dirty.size > 0) this.#arm()
    }, this.#everyMs).unref()
  }

  /** Asks every member of these rooms to confirm what was told. */
  #askIn(rooms: Iterable<Room>): void {
    const asked = new Set<Pending>()
    for (const room of rooms) {
      this.#dirty.delete(room)
      const { cursor, id } = room
      if (!cursor) continue
      for (const session of room.members) {
        const pending = this.#pending.get(engineOf(session))
        if (!pending || (session.cursors.get(id) ?? 0) >= cursor.seq) continue
        pending.next ??= new Map()
        pending.next.set(id, cursor.seq)
        asked.add(pending)
      }
    }
    for (const pending of asked) this.#ask(pending)
  }

  #ask(pending: Pending): void {
    const engine = engineOf(pending.session)
    if (engine.readyState !== 'open') return
    if (engine.transport.name !== 'polling') {
      engine.sendPacket('ping')
      return
    }
    if (!pending.next) return
    const batch = new Map([...(pending.polled?.batch ?? []), ...pending.next])
    // A GET is waiting and nothing is to be written: all that was written before has been fetched.
    if (engine.transport.writable && engine.writeBuffer.length === 0) {
      pending.polled = null
      pending.next = null
      this.#confirm(pending, batch)
      return
    }
    // What still waits to be written goes out with the next GET and is confirmed by the one after.
    pending.polled = { batch, gets: engine.writeBuffer.length > 0 ? 2 : 1 }
    pending.next = null
    if (pending.listening === engine.transport) return
    pending.listening = engine.transport
    engine.transport.on('ready', () => {
      if (!pending.polled) return
      pending.polled.gets -= 1
      if (pending.polled.gets > 0) return
      const { batch: confirmed } = pending.polled
      pending.polled = null
      this.#confirm(pending, confirmed)
    })
  }

  #confirm(pending: Pending, batch: Batch): void {
    const { session } = pending
    let moved = false
    for (const [id, seq] of batch) if (session.joined.has(id) && session.confirmed(id, seq)) moved = true
    if (moved) this.#moved(session)
    pending.onConfirmed?.()
  }

  /** Before an orderly end: asks at once, and resolves when everything told in these rooms is confirmed, or after `withinMs`. */
  async settled(session: Session, rooms: readonly Room[], withinMs: number): Promise<void> {
    const pending = this.#pending.get(engineOf(session))
    if (!pending) return
    const isBehind = () =>
      !session.closed && rooms.some(({ id, cursor }) => cursor !== null && (session.cursors.get(id) ?? cursor.seq) < cursor.seq)
    const deadline = performance.now() + withinMs
    while (isBehind() && performance.now() < deadline) {
      const { promise, resolve } = Promise.withResolvers<void>()
      pending.onConfirmed = resolve
      const timer = setTimeout(resolve, deadline - performance.now())
      this.#askIn(rooms)
      await promise
      clearTimeout(timer)
    }
    pending.onConfirmed = null
  }

  // One function for all connections: a closure each would cost memory for every idle socket.
  readonly #onPacketCreate = ((self: Confirmations) =>
    function (this: EngineConnection, packet: { type?: string }): void {
      if (packet.type !== 'ping') return
      const pending = self.#pending.get(this)
      if (!pending) return
      pending.pings.push(pending.next)
      pending.next = null
    })(this)
  readonly #onHeartbeat = ((self: Confirmations) =>
    function (this: EngineConnection): void {
      const pending = self.#pending.get(this)
      const batch = pending?.pings.shift()
      if (pending && batch) self.#confirm(pending, batch)
    })(this)
  readonly #onUpgrade = ((self: Confirmations) =>
    function (this: EngineConnection): void {
      const pending = self.#pending.get(this)
      if (!pending?.polled) return
      pending.next = new Map([...pending.polled.batch, ...(pending.next ?? [])])
      pending.polled = null
      pending.listening = null
      self.#ask(pending)
    })(this)
}
