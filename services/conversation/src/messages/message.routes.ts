// HTTP door of messages: history and sending.
import { texts } from '@fieldline/contracts/envelopes'
import { AppError } from '@fieldline/contracts/errors'
import { ClientMessageId, ConversationId } from '@fieldline/contracts/ids'
import { ListMessages, SendMessage } from '@fieldline/contracts/messages'
import { isAbsent } from '@fieldline/contracts/optional'
import type { Pagination } from '@fieldline/contracts/pages'
import { invalid, parse } from '@fieldline/service/parse'
import { type Request, Router } from 'express'
import { z } from 'zod'
import type { Access } from '../conversations/access.ts'
import type { ConversationStore } from '../conversations/conversation.store.ts'
import type { Views } from '../conversations/views.ts'
import type { History } from './history.ts'
import type { createSend } from './send.ts'

const Params = z.object({ conversationId: ConversationId })

export interface MessageDoor {
  store: Pick<ConversationStore, 'load'>
  access: Access
  history: History
  views: Views
  send: ReturnType<typeof createSend>
}

export function messageRoutes({ store, access, history, views, send }: MessageDoor): Router {
  const routes = Router()

  routes.get('/messages/:conversationId', async (req, res) => {
    const { conversationId } = parse(Params, req.params, 'params')
    const query = parse(ListMessages, req.query, 'query')
    const conversation = await store.load(conversationId)
    if (!conversation) throw new AppError('CONVERSATION_NOT_FOUND', 'There is no such conversation')
    await access.mustRead(conversation, req.person)
    const { from, to, pagination } = rangeOf(query, conversation.lastSeq)
    const data = await views.messages(conversation, await history.messages(conversation, from, to))
    res.json({ message: texts.messages, data, pagination })
  })

  routes.post('/messages', async (req, res) => {
    const command = parse(SendMessage, withKey(req))
    const { message, conversation, created } = await send(command, req.person)
    const data = created ? views.sent(conversation, message) : (await views.messages(conversation, [message]))[0]
    res.status(created ? 201 : 200).json({ message: texts.sent, data })
  })

  return routes
}

/** Which seqs are asked for, and what there is around them. Pages count from the newest, so each costs its own messages and no more. Pure. */
export function rangeOf(
  { page, limit, beforeSeq, afterSeq }: ListMessages,
  lastSeq: number,
): { from: number; to: number; pagination: Pagination } {
  const around = { totalPages: Math.ceil(lastSeq / limit), totalItems: lastSeq, limit }
  if (afterSeq !== undefined) {
    const to = Math.min(afterSeq + limit, lastSeq)
    return { from: afterSeq + 1, to, pagination: { currentPage: 1, ...around, hasNextPage: to < lastSeq } }
  }
  if (beforeSeq !== undefined) {
    const to = Math.min(beforeSeq - 1, lastSeq)
    const from = Math.max(to - limit + 1, 1)
    return { from, to, pagination: { currentPage: 1, ...around, hasNextPage: from > 1 } }
  }
  const currentPage = page ?? 1
  const to = lastSeq - (currentPage - 1) * limit
  return { from: Math.max(to - limit + 1, 1), to, pagination: { currentPage, ...around, hasNextPage: currentPage < around.totalPages } }
}

/** `Idempotency-Key` is another place for `clientMessageId`. */
function withKey(req: Request): unknown {
  const header = req.get('idempotency-key')?.trim()
  const body: unknown = req.body
  if (!header || typeof body !== 'object' || body === null || Array.isArray(body)) return body
  const key = ClientMessageId.safeParse(header)
  if (!key.success) throw invalid([{ field: 'Idempotency-Key', message: key.error.issues[0]?.message ?? 'is not a key' }])
  const given: unknown = 'clientMessageId' in body ? body.clientMessageId : undefined
  if (!isAbsent(given) && given !== key.data) {
    throw invalid([{ field: 'clientMessageId', message: 'differs from the header Idempotency-Key' }])
  }
  return { ...body, clientMessageId: key.data }
}
