// One conversation on this replica while somebody here has joined: its lane, its cursor, its members (architecture "Realtime").
// Everything that is told to members goes through the lane, so nothing overtakes and a join races with nothing.
import { setImmediate as nextTurn } from 'node:timers/promises'
import { type ConversationState, conversationView, type Mark } from '@fieldline/contracts/conversations'
import { AppError } from '@fieldline/contracts/errors'
import type { ConversationEvent, ConversationRead } from '@fieldline/contracts/events'
import type { ConversationId } from '@fieldline/contracts/ids'
import type { Snapshot } from '@fieldline/contracts/internal'
import type { SignLink } from '@fieldline/contracts/media'
import { type Message, messageView } from '@fieldline/contracts/messages'
import type { Joined } from '@fieldline/contracts/socket'
import type { Logger } from '@fieldline/service/logger'
import { type Carrier, span } from '@fieldline/service/telemetry'
import type { Audience } from './audience.ts'
import type { Conversations } from './conversation.client.ts'
import { backOff, type Cursor, fetchFrom, placeOf } from './cursor.ts'
import { Lane } from './lane.ts'
import { readOf, readUpTo } from './marks.ts'
import type { RealtimeMetrics } from './metrics.ts'
import { mayRead, type Parties, partiesOf } from './rights.ts'
import type { Session } from './session.ts'

export interface RoomDeps {
  readonly conversations: Conversations
  readonly audience: Audience
  readonly metrics: RealtimeMetrics
  readonly log: Logger
  readonly sign: SignLink
  readonly supportSees: 'own' | 'all'
  readonly joinMessages: number
  readonly laneEvents: number
  readonly fetchPauseMs: number
  /** A message is about to be told. */
  readonly said: (message: Message) => void
  /** Something was told that members have yet to confirm. */
  readonly told: (room: Room) => void
  readonly entered: (session: Session, id: ConversationId) => void
  readonly left: (session: Session, id: ConversationId) => void
  readonly partiesChanged: (room: Room, before: Parties | null) => void
  /** Nobody is interested any more. */
  readonly empty: (room: Room) => void
}

/** A wish to join. With `answer` it is the client's own; without, it is ours (a record taken over, a send, a join tried on) and what was missed is emitted. */
export interface Join {
  readonly session: Session
  /** What the client has confirmed; undefined: it asks for nothing before its join. */
  since: number | undefined
  /** The same, moving on with what it was emitted. */
  afterSeq: number | undefined
  answer: ((outcome: Joined | AppError) => void) | null
  /** Told when it is done for good, one way or the other. */
  settled: (() => void) | null
  /** Told when it was tried once. */
  tried: (() => void) | null
  failures: number
  /** What the client had confirmed when it asked: it has that, and means it if it asks for it again. */
  readonly confirmed: number
  /** When it was wished for, in milliseconds since 1970. */
  readonly wishedAt: number
  /** What was sent since then belongs to it, and what that was is yet to be found out. */
  byTime: boolean
}

export interface EventItem {
  readonly kind: 'event'
  readonly event: ConversationEvent
  readonly carrier: Carrier | undefined
}
type Item =
  | EventItem
  | { readonly kind: 'join'; readonly join: Join }
  | { readonly kind: 'check'; readonly eventNo: number; readonly cause: string }

const repairPage = 500
const mostReceiptPages = 10

export class Room {
  readonly id: ConversationId
  readonly #deps: RoomDeps
  readonly #lane: Lane<Item>
  readonly #members = new Set<Session>()
  /**
   * From which seq on a member that did not ask was told everything by `message:new`. Its first own join crosses that on the way: what it has not
   * confirmed is not repeated in the answer. A later one is answered in full.
   */
  readonly #toldSince = new Map<Session, number>()
  readonly #joins = new Map<Session, Join>()
  /** The client's own joins behind another of its own, or behind one of ours that still tells what was missed; in order. */
  readonly #deferred = new Map<Session, Join[]>()
  /** Joined by a right the state alone does not show: an agent in an earlier conversation of its farmer. */
  readonly #byGrant = new Set<Session>()
  #cursor: Cursor | null = null
  #parties: Parties | null = null
  #reads = { farmer: 0, support: 0 }
  #waitingEvents = 0
  #failing = false
  #ended = false

  constructor(id: ConversationId, deps: RoomDeps) {
    this.id = id
    this.#deps = deps
    this.#lane = new Lane((item) => this.#work(item))
  }

  get members(): ReadonlySet<Session> {
    return this.#members
  }
  get cursor(): Cursor | null {
    return this.#cursor
  }
  get parties(): Parties | null {
    return this.#parties
  }
  get waiting(): number {
    return this.#waitingEvents
  }

  /** An event from the broker; it counts as taken from here on. */
  take(item: EventItem): void {
    this.#waitingEvents += 1
    if (this.#waitingEvents > this.#deps.laneEvents) {
      const dropped = this.#lane.take(({ kind }) => kind === 'event').length
      this.#waitingEvents -= dropped
      this.#deps.metrics.drops.inc({ reason: 'lane-overflow' }, dropped)
    }
    // What was dropped shows as a gap before this one.
    this.#lane.push(item)
  }

  /** Compares with where conversation says this one stands. */
  check(eventNo: number, cause: string): void {
    if (this.#cursor && this.#cursor.eventNo < eventNo) this.#lane.push({ kind: 'check', eventNo, cause })
  }

  /** Wishes to join. A wish of ours adds nothing to one that is under way. The client's own takes its place, but never what it would have told; behind another of its own it waits. */
  join(join: Join): void {
    const before = this.#joins.get(join.session)
    if (before && join.answer === null) {
      join.tried?.()
      join.settled?.()
      return
    }
    if (before && (before.answer !== null || (before.afterSeq !== undefined && join.afterSeq === undefined))) {
      this.#deferred.set(join.session, [...(this.#deferred.get(join.session) ?? []), join])
      return
    }
    this.#joins.set(join.session, join)
    before?.tried?.()
    before?.settled?.()
    if (this.#failing) this.#failed(join, new AppError('UNAVAILABLE', 'The conversation cannot be read now'))
    else this.#lane.push({ kind: 'join', join })
  }

  /** Resolves when a join under way was tried once: what is sent after it comes after it. */
  entering(session: Session): Promise<void> | undefined {
    const join = this.#joins.get(session)
    if (!join || join.failures > 0) return undefined
    const before = join.tried
    return new Promise((resolve) => {
      join.tried = () => {
        before?.()
        resolve()
      }
    })
  }

  /** At once, whatever the lane is doing. */
  leave(session: Session): void {
    const joins = [this.#joins.get(session), ...this.#takeDeferred(session)]
    this.#joins.delete(session)
    for (const join of joins) {
      join?.tried?.()
      join?.settled?.()
    }
    this.#remove(session)
    this.#endIfEmpty()
  }

  /** Puts out whoever has no right by what is known now; for a role that changed. */
  recheck(): void {
    if (this.#parties) this.#putOut(this.#parties)
    this.#endIfEmpty()
  }

  /** The right to an earlier conversation goes with the current one: to this person, from whoever else had it. */
  regrant(personId: string | null): void {
    for (const session of this.#byGrant) if (session.person.id !== personId) this.#remove(session)
    this.#endIfEmpty()
  }

  #work(item: Item): void | Promise<void> {
    if (this.#ended) return
    if (item.kind === 'join') return this.#join(item.join)
    if (item.kind === 'check') {
      if (this.#cursor && this.#cursor.eventNo < item.eventNo) return this.#repair(item.cause)
      return
    }
    this.#waitingEvents -= 1
    return this.#event(item)
  }

  #event({ event, carrier }: EventItem): void | Promise<void> {
    if (!this.#cursor) {
      // Nobody is in the room yet, but what passes while a join is tried on belongs to the joiner.
      if (event.type === 'message.created') for (const join of this.#joins.values()) join.afterSeq ??= event.data.message.seq - 1
      return
    }
    const place = placeOf(this.#cursor, event.eventno)
    if (place === 'old') return
    if (place === 'next') return this.#apply(event, carrier)
    return this.#repair('gap').then(() => {
      if (this.#cursor && placeOf(this.#cursor, event.eventno) === 'next') return this.#apply(event, carrier)
    })
  }

  #apply(event: ConversationEvent, carrier: Carrier | undefined): void {
    if (!this.#cursor) return
    if (event.type === 'message.created') this.#tellMessage(event.data.message, [], carrier)
    else if (event.type === 'conversation.read') this.#tellRead(event.data)
    else this.#adopt(event.data.conversation)
    if (this.#cursor) this.#cursor = { eventNo: event.eventno, seq: this.#cursor.seq }
    this.#endIfEmpty()
  }

  /** Emits one message to the room, unless it was. */
  #tellMessage(message: Message, marks: readonly Mark[], carrier?: Carrier): void {
    if (!this.#cursor || message.seq <= this.#cursor.seq) return
    const { audience, metrics, sign, told, said } = this.#deps
    said(message)
    const read = marks.length === 0 ? null : readOf(message, marks, this.#parties?.farmerId ?? '')
    const payload = { message: messageView(message, read, sign), conversationId: this.id }
    if (carrier)
      void span(
        'emit message:new',
        { 'fieldline.receivers': this.#members.size },
        () => audience.broadcast(this.id, 'message:new', payload),
        { parent: carrier },
      )
    else audience.broadcast(this.id, 'message:new', payload)
    metrics.emits.inc({ event: 'message:new' }, this.#members.size)
    metrics.delivery.observe(Math.max(0, Date.now() - Date.parse(message.createdAt)) / 1_000)
    this.#cursor = { eventNo: this.#cursor.eventNo, seq: message.seq }
    told(this)
  }

  #tellRead({ reader, side, upToSeq, readAt, messages }: ConversationRead['data']): void {
    if (upToSeq <= this.#reads[side]) return
    const already = this.#reads[side]
    this.#reads[side] = upToSeq
    for (const { id, seq } of messages) {
      if (seq <= already) continue
      const receipt = { messageId: id as Message['id'], readBy: reader.id, readAt, conversationId: this.id, upToSeq }
      this.#deps.audience.broadcast(this.id, 'message:read-receipt', receipt)
      this.#deps.metrics.emits.inc({ event: 'message:read-receipt' }, this.#members.size)
    }
  }

  /** Takes over who takes part, and puts out at once who has no right any more. */
  #adopt(state: ConversationState): void {
    const before = this.#parties
    this.#parties = partiesOf(state)
    const { farmerId, assignedId, status } = this.#parties
    if (before?.farmerId === farmerId && before.assignedId === assignedId && before.status === status) return
    this.#putOut(this.#parties)
    this.#deps.partiesChanged(this, before)
  }

  #putOut(parties: Parties): void {
    for (const session of this.#members) {
      if (mayRead(parties, session.person, this.#deps.supportSees) || this.#isGranted(session)) continue
      this.#remove(session)
      this.#deps.metrics.drops.inc({ reason: 'right-lost' })
    }
  }

  #isGranted(session: Session): boolean {
    return this.#byGrant.has(session) && session.person.role === 'Support'
  }

  /** Fetches what is missing until it is there; meanwhile joiners are told to come again, and only this conversation waits. */
  async #repair(cause: string): Promise<void> {
    const { conversations, metrics, log, fetchPauseMs } = this.#deps
    metrics.repairs.inc({ cause })
    for (let failures = 1; this.#cursor; failures += 1) {
      if (this.#members.size === 0) {
        this.#cursor = null
        break
      }
      try {
        await this.#catchUp(await conversations.snapshot(this.id, { afterSeq: this.#cursor.seq, limit: repairPage }))
        break
      } catch (error) {
        metrics.fetchFailures.inc()
        if (error instanceof AppError && error.code === 'CONVERSATION_NOT_FOUND') {
          for (const session of this.#members) this.#remove(session)
          break
        }
        log.warn({ conversationId: this.id, failures, err: error }, 'repair failed')
        this.#failing = true
        for (const { join } of this.#lane.take(({ kind }) => kind === 'join') as { kind: 'join'; join: Join }[])
          this.#failed(join, new AppError('UNAVAILABLE', 'The conversation cannot be read now'))
        await pause(backOff(failures, fetchPauseMs, Math.random()))
      }
    }
    this.#failing = false
    this.#endIfEmpty()
  }

  /** Brings members to a snapshot whose messages begin at or before the cursor. Who lost the right is put out first. */
  async #catchUp(first: Snapshot): Promise<void> {
    const { conversations } = this.#deps
    let page = first
    for (;;) {
      if (!this.#cursor) return
      // A read that is older than what the broker told us comes from a database that is still catching up.
      if (page.eventNo < this.#cursor.eventNo) throw new AppError('UNAVAILABLE', 'The conversation was read from a copy that is behind')
      this.#adopt(page.conversation)
      for (const message of page.messages) this.#tellMessage(message, page.marks)
      if (!page.hasMore) break
      page = await conversations.snapshot(this.id, { afterSeq: this.#cursor.seq, limit: repairPage })
    }
    await this.#catchUpReads(page)
    if (this.#cursor) this.#cursor = { eventNo: page.eventNo, seq: Math.max(this.#cursor.seq, page.lastSeq) }
  }

  /** Receipts name messages, which only the log can tell. */
  async #catchUpReads(page: Snapshot): Promise<void> {
    const upTo = readUpTo(page.marks)
    let after = this.#cursor?.eventNo ?? page.eventNo
    for (let pages = 0; pages < mostReceiptPages; pages += 1) {
      if (upTo.farmer <= this.#reads.farmer && upTo.support <= this.#reads.support) return
      const { events, head } = await this.#deps.conversations.events(this.id, after)
      for (const event of events) if (event.type === 'conversation.read' && event.eventno <= page.eventNo) this.#tellRead(event.data)
      after = events.at(-1)?.eventno ?? head
      if (events.length === 0 || after >= page.eventNo) break
    }
    this.#reads = { farmer: Math.max(upTo.farmer, this.#reads.farmer), support: Math.max(upTo.support, this.#reads.support) }
  }

  async #join(join: Join): Promise<void> {
    const { session } = join
    if (this.#joins.get(session) !== join || session.closed) return
    try {
      await this.#admit(join)
    } catch (error) {
      if (!(error instanceof AppError) || error.code === 'UNAVAILABLE' || error.code === 'INTERNAL') {
        this.#deps.metrics.fetchFailures.inc()
        if (!(error instanceof AppError)) this.#deps.log.error({ conversationId: this.id, err: error }, 'join failed')
        this.#failed(join, error instanceof AppError ? error : new AppError('UNAVAILABLE', 'The conversation cannot be read now'))
        return
      }
      this.#remove(session)
      this.#settle(join, error)
    }
  }

  async #admit(join: Join): Promise<void> {
    const { session } = join
    const { conversations, joinMessages } = this.#deps
    const as = session.person
    const limit = join.answer ? joinMessages : repairPage
    if (join.byTime || (join.failures > 0 && join.afterSeq === undefined)) await this.#sinceWish(join)
    // One more fetch where a silent join has more to be told than one page holds.
    for (;;) {
      const from = fetchFrom(this.#cursor, join.afterSeq)
      const page = await conversations.snapshot(this.id, { afterSeq: from, limit, as })
      if (this.#joins.get(session) !== join || session.closed) return
      if (!this.#cursor) {
        this.#cursor = { eventNo: page.eventNo, seq: page.lastSeq }
        this.#reads = readUpTo(page.marks)
        this.#adopt(page.conversation)
      } else if (page.eventNo !== this.#cursor.eventNo) await this.#catchUp(page)
      if (this.#joins.get(session) !== join || session.closed || !this.#cursor) return
      const after = join.afterSeq
      const told = Math.max(this.#toldSince.get(session) ?? Number.POSITIVE_INFINITY, join.confirmed)
      const missed = after === undefined ? [] : page.messages.filter(({ seq }) => seq > after && seq <= told)
      const beyond = page.hasMore && after !== undefined && after < this.#cursor.seq
      if (join.answer) {
        // The page went to those in the room, who were further behind than the joiner.
        if (beyond && missed.length === 0 && after < told) continue
        // A client may say that it has more than there is; it has confirmed no more than that.
        this.#enter(join, page, Math.min(after ?? this.#cursor.seq, this.#cursor.seq))
        this.#toldSince.delete(session)
        this.#settle(join, this.#joined(page, missed, told, session.person.id))
        // The answer leaves through the door's promises, some turns of the queue later: what the lane tells next comes behind it.
        await nextTurn()
        return
      }
      const wasMember = this.#members.has(session)
      for (const message of missed) {
        if (!wasMember)
          session.emit('message:new', {
            message: messageView(message, readOf(message, page.marks, page.conversation.farmer.id), this.#deps.sign),
            conversationId: this.id,
          })
        join.afterSeq = message.seq
      }
      this.#deps.metrics.emits.inc({ event: 'message:new' }, wasMember ? 0 : missed.length)
      if (beyond && !wasMember) continue
      const since = join.since ?? after ?? this.#cursor.seq
      this.#enter(join, page, since)
      if (!wasMember) this.#toldSince.set(session, since)
      this.#settle(join, null)
      return
    }
  }

  /** A join tried on without `afterSeq`, here or on another connection, begins with the first message that was sent after it was wished for: only times can tell that. */
  async #sinceWish(join: Join): Promise<void> {
    const { conversations } = this.#deps
    const as = join.session.person
    let { lastSeq: before } = await conversations.snapshot(this.id, { as })
    for (let goOn = true; goOn; ) {
      const { messages } = await conversations.snapshot(this.id, { afterSeq: Math.max(0, before - repairPage), limit: repairPage, as })
      const first = messages.find(({ seq, createdAt }) => seq <= before && Date.parse(createdAt) >= join.wishedAt)
      if (first) before = first.seq - 1
      // All of a page: there may be more before it.
      goOn = first !== undefined && first === messages[0]
    }
    join.afterSeq = Math.min(join.afterSeq ?? Number.POSITIVE_INFINITY, before)
    join.since = join.afterSeq
    join.byTime = false
  }

  /** @param told what lies beyond it was told already */
  #joined(page: Snapshot, missed: readonly Message[], told: number, personId: string): Joined {
    const { farmer } = page.conversation
    const messages = missed.map((message) => messageView(message, readOf(message, page.marks, farmer.id), this.#deps.sign))
    return {
      conversation: conversationView(page.conversation, personId, page.farmerOnline),
      lastSeq: this.#cursor?.seq ?? page.lastSeq,
      messages,
      hasMore: page.hasMore && missed.length > 0 && (missed.at(-1)?.seq ?? 0) < told,
    }
  }

  #enter(join: Join, page: Snapshot, confirmedSeq: number): void {
    const { session } = join
    if (!mayRead(partiesOf(page.conversation), session.person, this.#deps.supportSees)) this.#byGrant.add(session)
    const isNew = !this.#members.has(session)
    this.#members.add(session)
    if (isNew) {
      void session.socket.join(this.id)
      session.enter(this.id, confirmedSeq)
      this.#deps.entered(session, this.id)
    }
    this.#deps.told(this)
  }

  /** A passing failure: the asker hears of it, also one that asked again meanwhile, and the join is tried on while its socket lives. */
  #failed(join: Join, error: AppError): void {
    const { session } = join
    join.answer?.(error)
    for (const again of this.#takeDeferred(session)) {
      again.answer?.(error)
      again.settled?.()
    }
    join.answer = null
    join.tried?.()
    join.tried = null
    join.failures += 1
    join.afterSeq ??= this.#cursor?.seq
    const timer = setTimeout(
      () => {
        if (this.#joins.get(session) !== join) return
        if (this.#failing) this.#failed(join, error)
        else this.#lane.push({ kind: 'join', join })
      },
      backOff(join.failures, this.#deps.fetchPauseMs, Math.random()),
    )
    timer.unref()
  }

  #settle(join: Join, outcome: Joined | AppError | null): void {
    const { session } = join
    this.#joins.delete(session)
    if (outcome) join.answer?.(outcome)
    for (const next of this.#takeDeferred(session)) this.join(next)
    join.tried?.()
    join.settled?.()
    this.#endIfEmpty()
  }

  #takeDeferred(session: Session): readonly Join[] {
    const deferred = this.#deferred.get(session) ?? []
    this.#deferred.delete(session)
    return deferred
  }

  #remove(session: Session): void {
    this.#byGrant.delete(session)
    this.#toldSince.delete(session)
    if (!this.#members.delete(session)) return
    void session.socket.leave(this.id)
    session.leave(this.id)
    this.#deps.left(session, this.id)
  }

  #endIfEmpty(): void {
    if (this.#ended || this.#members.size > 0 || this.#joins.size > 0) return
    // What still waits here must not reach the members of a later room of the same conversation.
    this.#ended = true
    this.#cursor = null
    this.#deps.empty(this)
  }

  /** Is a join of this socket under way? */
  awaits(session: Session): boolean {
    return this.#joins.has(session) || this.#deferred.has(session)
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref()
  })
}
