// HTTP door of conversations: create, lists, one, read, status.
import { ChangeStatus, ListConversations, ListSupportConversations, MarkRead, type Status } from '@fieldline/contracts/conversations'
import { texts } from '@fieldline/contracts/envelopes'
import { AppError } from '@fieldline/contracts/errors'
import type { ConversationId, MessageId } from '@fieldline/contracts/ids'
import { IdParams } from '@fieldline/contracts/internal'
import { pagination } from '@fieldline/contracts/pages'
import type { Person } from '@fieldline/contracts/people'
import { requireRole } from '@fieldline/service/auth'
import { parse, refuseHarmful } from '@fieldline/service/parse'
import { Router } from 'express'
import type { Assignment } from '../assignment.port.ts'
import type { History } from '../messages/history.ts'
import { read, readingSide, receiptLimit } from '../messages/marks.ts'
import { summaryOf } from '../people/person.ts'
import type { Access } from './access.ts'
import type { Commands } from './commands.ts'
import type { ConversationStore, ListFilter, ListOrder } from './conversation.store.ts'
import { type Conversation, nothing } from './conversation.ts'
import type { Current } from './current.ts'
import { changeStatus } from './lifecycle.ts'
import { type Asked, listPage } from './listing.ts'
import type { Views } from './views.ts'
import { ownScope, type SupportSees, supportScope } from './visibility.ts'

export interface ConversationDoor {
  store: ConversationStore
  commands: Commands
  current: Current
  access: Access
  history: History
  views: Views
  assignment: Assignment
  sees: SupportSees
}

export function conversationRoutes({ store, commands, current, access, history, views, assignment, sees }: ConversationDoor): Router {
  const routes = Router()

  routes.post('/conversations', requireRole('User'), async (req, res) => {
    refuseHarmful(req.body)
    const { conversation, created } = await current.ensure(summaryOf(req.person))
    // So that a farmer comes back assigned when an agent is free, by whichever of several calls at once. While none is free, a pass only asks for one.
    const queued = conversation.waitingSince !== null
    if (queued) await assignment.drained()
    const data = await views.conversation(queued ? await loaded(conversation.id) : conversation, req.person)
    res.json({ message: texts.conversation, data, created })
  })

  routes.get('/conversations', async (req, res) => {
    const { status, ...page } = parse(ListConversations, req.query, 'query')
    const filter = { scope: ownScope(req.person), status }
    const total = totalOf(await store.count(filter), status)
    res.json({ message: texts.conversations, ...(await listed(filter, 'activity', page, total, req.person)) })
  })

  routes.get('/support/conversations', requireRole('Support', 'Admin'), async (req, res) => {
    const { status, assignedTo, sort, ...page } = parse(ListSupportConversations, req.query, 'query')
    const who =
      assignedTo === undefined ? {} : { assignedTo: assignedTo === 'none' ? null : assignedTo === 'me' ? req.person.id : assignedTo }
    const filter = { scope: supportScope(req.person, sees), ...who }
    // Counted once, for the list and beside it: of many conversations this costs more than the page.
    const counts = await store.count(filter)
    const { data, pagination } = await listed({ ...filter, status }, sort, page, totalOf(counts, status), req.person)
    res.json({ message: texts.conversations, data, counts, pagination })
  })

  routes.get('/conversations/:id', async (req, res) => {
    const { id } = parse(IdParams.conversation, req.params, 'params')
    const conversation = await loaded(id)
    await access.mustRead(conversation, req.person)
    res.json({ message: texts.conversation, data: await views.conversation(conversation, req.person) })
  })

  routes.patch('/conversations/:id/read', async (req, res) => {
    const { id } = parse(IdParams.conversation, req.params, 'params')
    const { messageId } = parse(MarkRead, req.body)
    const { conversation } = await commands.execute(id, { decide: (it, now) => readUpTo(it, req.person, messageId, now) })
    res.json({ message: texts.read, data: await views.conversation(conversation, req.person) })
  })

  routes.patch('/conversations/:id/status', async (req, res) => {
    const { id } = parse(IdParams.conversation, req.params, 'params')
    const { status: to, reason = null } = parse(ChangeStatus, req.body)
    const { conversation } = await commands.execute(id, { decide: (it, now) => changeStatus(it, { to, by: req.person, reason }, now) })
    if (conversation.status === 'waiting') assignment.kick()
    res.json({ message: texts.status, data: await views.conversation(conversation, req.person) })
  })

  async function loaded(id: ConversationId): Promise<Conversation> {
    const conversation = await store.load(id)
    if (!conversation) throw new AppError('CONVERSATION_NOT_FOUND', 'There is no such conversation')
    return conversation
  }

  async function readUpTo(conversation: Conversation, reader: Person, messageId: MessageId | undefined, now: string) {
    const side = readingSide(conversation, reader)
    const whole = { seq: conversation.lastSeq, farmerMessages: conversation.farmerMessages }
    const found = messageId === undefined ? null : await history.message(conversation, messageId)
    if (messageId !== undefined && !found) throw new AppError('MESSAGE_NOT_FOUND', 'There is no such message in this conversation')
    const upTo = found ? { seq: found.message.seq, farmerMessages: found.farmerMessages } : whole
    if (side === null || upTo.seq <= conversation.marks[side].seq) return nothing(conversation)
    const covered = await history.unreadBy(conversation, side, conversation.marks[side].seq, upTo.seq, receiptLimit)
    return read(conversation, { reader: summaryOf(reader), upTo, covered }, now)
  }

  async function listed(filter: ListFilter, order: ListOrder, asked: Asked, total: number, viewer: Person) {
    const { conversations, next } = await listPage(store, filter, order, asked, total)
    const data = await views.conversations(conversations, viewer)
    return { data, pagination: pagination({ page: asked.page ?? 1, limit: asked.limit }, total, next) }
  }

  return routes
}

/** How many there are of one status, or of all. */
function totalOf(counts: Readonly<Record<Status, number>>, status: Status | undefined): number {
  return status === undefined ? Object.values(counts).reduce((sum, count) => sum + count, 0) : counts[status]
}
