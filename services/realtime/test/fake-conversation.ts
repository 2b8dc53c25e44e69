// A stand-in for the conversation service over real HTTP: in memory, with the shapes of contracts/internal.ts and its events on the bus. Faults on command.
import { namespaced, namespacedName } from '@fieldline/bus/bus'
import { connectBus } from '@fieldline/bus/connect'
import { type ConversationState, conversationView } from '@fieldline/contracts/conversations'
import { AppError } from '@fieldline/contracts/errors'
import type { ConversationEvent } from '@fieldline/contracts/events'
import type { ConversationId, MessageId } from '@fieldline/contracts/ids'
import { EventsQuery, HeadsRequest, RolesRequest, type Snapshot, SnapshotQuery, StatesRequest } from '@fieldline/contracts/internal'
import { type Message, messageView, SendMessage } from '@fieldline/contracts/messages'
import type { Person, PersonSummary } from '@fieldline/contracts/people'
import { eventsExchange, headers, topology } from '@fieldline/contracts/topology'
import { authenticate, createVerifier } from '@fieldline/service/auth'
import { createHealth } from '@fieldline/service/health'
import { createHttp } from '@fieldline/service/http'
import { newId } from '@fieldline/service/ids'
import { createInternalTokens, requireInternal } from '@fieldline/service/internal'
import { silentLogger } from '@fieldline/service/logger'
import { createRegistry } from '@fieldline/service/metrics'
import { parse } from '@fieldline/service/parse'
import { testInternalSecret, testSecret } from '@fieldline/testing/factories'
import type { RequestHandler } from 'express'

interface Kept {
  state: ConversationState
  messages: Message[]
  log: ConversationEvent[]
  marks: Snapshot['marks']
}

export interface FakeConversation {
  readonly url: string
  /** Creates one; without an agent it waits. */
  create(farmer: Person, agent?: Person | null): ConversationId
  send(id: ConversationId, from: Person, content: string): Promise<Message>
  assign(id: ConversationId, to: Person | null): Promise<void>
  read(id: ConversationId, reader: Person, upToSeq?: number): Promise<void>
  messages(id: ConversationId): readonly Message[]
  /** Everybody may read who is named here, whatever the state says. */
  readonly granted: Set<string>
  /** What newer tokens lowered people to. */
  readonly lowered: Map<string, Person['role']>
  /** Events that are committed but lost on the way, while true. */
  losing: boolean
  /** Answers 503 to everything, while true. */
  down: boolean
  /** Pauses snapshots of this conversation, before they are read or after; returns how to release them. */
  hold(id: ConversationId, when?: 'unread' | 'read'): () => void
  log(id: ConversationId): readonly ConversationEvent[]
  /** What was asked, by `METHOD path`. */
  readonly asked: string[]
  /** Where messages to a conversation land. */
  readonly landing: Map<ConversationId, ConversationId>
  publish(event: ConversationEvent): Promise<void>
  stop(): Promise<void>
}

export async function startFakeConversation(options: { brokerUrl: string; namespace: string }): Promise<FakeConversation> {
  const kept = new Map<ConversationId, Kept>()
  const keys = new Map<string, Message>()
  const held = { unread: new Map<string, Promise<void>>(), read: new Map<string, Promise<void>>() }
  const bus = await connectBus(options.brokerUrl, { topology: namespaced(topology, options.namespace), name: 'fake conversation' })
  // Durable queues have their consumers in the whole system; an event counts as published in memory when those have finished.
  for (const { name } of namespaced(topology, options.namespace).queues)
    await bus.consume(name, async () => undefined, { prefetch: 100, maxAttempts: 1, handlerTimeoutMs: 1_000 })
  const tokens = createInternalTokens({ secrets: [testInternalSecret], name: 'conversation' })
  const verifier = createVerifier({
    jwtSecrets: [testSecret],
    jwtAlgorithms: [],
    jwtAudience: [],
    jwtRequireExp: true,
    jwtClaims: [],
    jwtRoles: [],
  })

  const get = (id: string): Kept => {
    const one = kept.get(id as ConversationId)
    if (!one) throw new AppError('CONVERSATION_NOT_FOUND', 'There is no such conversation')
    return one
  }
  const mayRead = ({ state }: Kept, who: { personId: string; role?: string | undefined }) =>
    who.role === 'Admin' ||
    fake.granted.has(who.personId) ||
    state.farmer.id === who.personId ||
    state.assigned?.id === who.personId ||
    (who.role === 'Support' && state.status === 'waiting')

  function event<T extends ConversationEvent['type']>(one: Kept, type: T, data: unknown): ConversationEvent {
    const made = {
      specversion: '1.0',
      id: newId(),
      source: 'conversation',
      time: new Date().toISOString(),
      datacontenttype: 'application/json',
      conversationid: one.state.id,
      eventno: one.log.length + 1,
      type,
      data,
    } as ConversationEvent
    one.log.push(made)
    return made
  }
  async function publish(made: ConversationEvent, former?: string): Promise<void> {
    if (fake.losing) return
    const { state } = get(made.conversationid)
    const people = [state.farmer.id, ...(state.assigned ? [state.assigned.id] : []), ...(former === undefined ? [] : [former])]
    await bus.publish({
      exchange: namespacedName(eventsExchange, options.namespace),
      routingKey: made.type,
      id: made.id,
      body: made,
      headers: {
        [headers.conversation]: made.conversationid,
        [headers.eventno]: made.eventno,
        [headers.people]: JSON.stringify(people),
        ...(state.assigned && made.type !== 'conversation.assigned' ? {} : { [headers.queue]: '1' }),
      },
    })
  }

  async function send(id: ConversationId, from: Person, command: SendMessage): Promise<{ message: Message; created: boolean }> {
    const one = get(fake.landing.get(id) ?? id)
    const key = command.clientMessageId === undefined ? undefined : `${from.id} ${command.clientMessageId}`
    const before = key === undefined ? undefined : keys.get(key)
    if (before) return { message: before, created: false }
    if (!mayRead(one, { personId: from.id, role: from.role })) throw new AppError('FORBIDDEN', 'This conversation is not yours')
    const message: Message = {
      id: newId() as MessageId,
      conversationId: one.state.id,
      seq: one.state.lastSeq + 1,
      sender: summary(from),
      messageType: command.messageType,
      content: command.content,
      media: null,
      clientMessageId: command.clientMessageId ?? null,
      createdAt: new Date().toISOString(),
    }
    if (key !== undefined) keys.set(key, message)
    one.messages.push(message)
    one.state = {
      ...one.state,
      lastSeq: message.seq,
      lastMessage: {
        id: message.id,
        seq: message.seq,
        senderId: from.id,
        messageType: 'text',
        content: message.content,
        createdAt: message.createdAt,
      },
    }
    const { farmer, assigned, status } = one.state
    await publish(event(one, 'message.created', { message, farmerId: farmer.id, assignedId: assigned?.id ?? null, status, sentTo: null }))
    return { message, created: true }
  }

  async function read(id: ConversationId, reader: Person, upToSeq?: number): Promise<void> {
    const one = get(id)
    const side = one.state.farmer.id === reader.id ? 'farmer' : 'support'
    const mark = one.marks.find((known) => known.side === side)
    const fromSeq = mark?.seq ?? 0
    const upTo = upToSeq ?? one.state.lastSeq
    if (upTo <= fromSeq) return
    const at = new Date().toISOString()
    one.marks = [
      ...one.marks.filter((known) => known !== mark),
      { personId: reader.id, side, seq: upTo, steps: [...(mark?.steps ?? []), { seq: upTo, at }] },
    ]
    const others = one.messages.filter(
      ({ seq, sender }) => seq > fromSeq && seq <= upTo && (sender.id === one.state.farmer.id) !== (side === 'farmer'),
    )
    await publish(
      event(one, 'conversation.read', {
        reader: summary(reader),
        side,
        fromSeq,
        upToSeq: upTo,
        readAt: at,
        messages: others.slice(-50).map(({ id: messageId, seq }) => ({ id: messageId, seq })),
        conversation: one.state,
      }),
    )
  }

  const fake: FakeConversation = {
    url: '',
    granted: new Set(),
    lowered: new Map(),
    losing: false,
    down: false,
    hold(id, when = 'unread') {
      const { promise, resolve } = Promise.withResolvers<void>()
      held[when].set(id, promise)
      return resolve
    },
    log: (id) => [...get(id).log],
    asked: [],
    landing: new Map(),
    create(farmer, agent = null) {
      const id = newId() as ConversationId
      const at = new Date().toISOString()
      const state: ConversationState = {
        id,
        farmer: { ...summary(farmer), phone: farmer.phone },
        assigned: agent && { ...summary(agent), phone: null },
        status: agent ? 'open' : 'waiting',
        unread: [],
        lastMessage: null,
        lastSeq: 0,
        waitingSince: null,
        previousConversationId: null,
        createdAt: at,
        updatedAt: at,
      }
      const one: Kept = { state, messages: [], log: [], marks: [] }
      kept.set(id, one)
      event(one, 'conversation.created', { conversation: state })
      return id
    },
    send: async (id, from, content) => (await send(id, from, { conversationId: id, messageType: 'text', content })).message,
    async assign(id, to) {
      const one = get(id)
      const from = one.state.assigned
      const before = one.state.status
      const status = to ? 'open' : 'waiting'
      one.state = { ...one.state, assigned: to && { ...summary(to), phone: null }, status }
      const data = { from, to: one.state.assigned, reason: 'reassigned', note: null, by: 'system', conversation: one.state }
      await publish(event(one, 'conversation.assigned', data), from?.id)
      if (before !== status)
        await publish(
          event(one, 'conversation.status-changed', {
            from: before,
            to: status,
            reason: null,
            by: 'system',
            reopened: false,
            conversation: one.state,
          }),
        )
    },
    read,
    messages: (id) => get(id).messages,
    publish: (made) => publish(made),
    async stop() {
      await http.stop?.()
      await bus.close()
    },
  }

  const faults: RequestHandler = (req, _res, next) => {
    fake.asked.push(`${req.method} ${req.path}`)
    if (fake.down) throw new AppError('UNAVAILABLE', 'Down for the test')
    next()
  }
  const http = createHttp({
    name: 'conversation',
    log: silentLogger,
    health: createHealth(),
    registry: createRegistry('conversation'),
    host: '127.0.0.1',
    port: 0,
    drainMs: 100,
    routers(app) {
      app.use(faults)
      app.use('/internal', requireInternal(tokens))
      app.use('/api', authenticate(verifier))
      app.post('/api/v1/chat/messages', async (req, res) => {
        const command = parse(SendMessage, req.body)
        const { message, created } = await send(command.conversationId, req.person, command)
        res.status(created ? 201 : 200).json({ message: 'Message sent successfully', data: messageView(message, null, () => '') })
      })
      app.patch('/api/v1/chat/conversations/:id/read', async (req, res) => {
        const one = get(req.params.id)
        const { messageId } = (req.body ?? {}) as { messageId?: string }
        await read(one.state.id, req.person, one.messages.find(({ id }) => id === messageId)?.seq)
        res.json({ message: 'Messages marked as read', data: conversationView(one.state, req.person.id, false) })
      })
      app.get('/internal/conversations/:id/snapshot', async (req, res) => {
        const query = parse(SnapshotQuery, req.query, 'query')
        await held.unread.get(req.params.id)
        const one = get(req.params.id)
        if (query.personId !== undefined && !mayRead(one, { personId: query.personId, role: query.role }))
          throw new AppError('FORBIDDEN', 'This conversation is not yours')
        const after = query.afterSeq
        const messages = after === undefined ? [] : one.messages.filter(({ seq }) => seq > after).slice(0, query.limit)
        const lastSeq = one.state.lastSeq
        const answer: Snapshot = {
          conversation: one.state,
          farmerOnline: false,
          marks: one.marks,
          eventNo: one.log.length,
          lastSeq,
          messages,
          hasMore: after !== undefined && (messages.at(-1)?.seq ?? after) < lastSeq,
        }
        await held.read.get(req.params.id)
        res.json(answer)
      })
      app.get('/internal/conversations/:id/events', (req, res) => {
        const { after, limit } = parse(EventsQuery, req.query, 'query')
        const { log } = get(req.params.id)
        res.json({ events: log.filter(({ eventno }) => eventno > after).slice(0, limit), head: log.length })
      })
      app.post('/internal/heads', (req, res) => {
        const { conversationIds } = parse(HeadsRequest, req.body)
        const heads = conversationIds.flatMap((id) => {
          const one = kept.get(id)
          return one ? [{ conversationId: id, eventNo: one.log.length, lastSeq: one.state.lastSeq }] : []
        })
        res.json({ heads })
      })
      app.post('/internal/roles', (req, res) => {
        const { people } = parse(RolesRequest, req.body)
        res.json({ roles: people.map(({ id, role }) => fake.lowered.get(id) ?? role) })
      })
      app.post('/internal/states', (req, res) => {
        const { conversationIds } = parse(StatesRequest, req.body)
        const states = conversationIds.flatMap((id) => {
          const one = kept.get(id)
          return one ? [{ conversation: one.state, farmerOnline: false }] : []
        })
        res.json({ states })
      })
    },
  })
  await http.start?.()
  return Object.assign(fake, { url: http.url ?? '' })
}

function summary({ id, role, firstName, lastName }: Person): PersonSummary {
  return { id, role, firstName, lastName, phone: null }
}
