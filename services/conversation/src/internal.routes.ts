// Door for services: the log, snapshots, heads, rights, and which messages exist (contracts internal).
import { AppError } from '@fieldline/contracts/errors'
import type { ConversationId } from '@fieldline/contracts/ids'
import {
  type Access as AccessAnswer,
  AccessQuery,
  type Committed,
  CommittedRequest,
  type EventsPage,
  EventsQuery,
  type Heads,
  HeadsRequest,
  IdParams,
  type Roles,
  RolesRequest,
  type Snapshot,
  SnapshotQuery,
  type States,
  StatesRequest,
  type Walk,
  WalkQuery,
} from '@fieldline/contracts/internal'
import type { Person } from '@fieldline/contracts/people'
import { invalid, parse } from '@fieldline/service/parse'
import { type RequestHandler, Router } from 'express'
import type { Access } from './conversations/access.ts'
import type { ConversationStore } from './conversations/conversation.store.ts'
import { type Conversation, marksOf } from './conversations/conversation.ts'
import type { Views } from './conversations/views.ts'
import type { Viewer } from './conversations/visibility.ts'
import type { History } from './messages/history.ts'
import type { People } from './people/people.ts'

export interface InternalDoor {
  requireInternal: RequestHandler
  store: Pick<ConversationStore, 'load' | 'heads' | 'walk'>
  access: Access
  history: History
  views: Views
  people: Pick<People, 'effectiveRole'>
}

export function internalRoutes({ requireInternal, store, access, history, views, people }: InternalDoor): Router {
  const routes = Router()
  routes.use(requireInternal)

  routes.get('/conversations/:id/events', async (req, res) => {
    const { id } = parse(IdParams.conversation, req.params, 'params')
    const { after, limit } = parse(EventsQuery, req.query, 'query')
    const conversation = await loaded(id)
    const page: EventsPage = { events: await history.events(conversation, after, limit), head: conversation.eventNo }
    res.json(page)
  })

  routes.get('/conversations/:id/snapshot', async (req, res) => {
    const { id } = parse(IdParams.conversation, req.params, 'params')
    const { afterSeq, limit, personId, role, iat } = parse(SnapshotQuery, req.query, 'query')
    const conversation = await loaded(id)
    if (personId !== undefined) {
      if (role === undefined || iat === undefined) throw invalid([{ field: 'personId', message: 'needs role and iat beside it' }])
      await access.mustRead(conversation, await viewer({ id: personId, role, iat }))
    }
    const from = afterSeq === undefined ? conversation.lastSeq : afterSeq
    const to = Math.min(from + limit, conversation.lastSeq)
    const [[shown], messages] = await Promise.all([
      views.states([conversation]),
      history.messages(conversation, from + 1, to).then(views.named),
    ])
    const { eventNo, lastSeq } = conversation
    const snapshot: Snapshot = {
      ...(shown as States['states'][number]),
      marks: marksOf(conversation),
      eventNo,
      lastSeq,
      messages,
      hasMore: to < lastSeq,
    }
    res.json(snapshot)
  })

  routes.get('/conversations/:id/access', async (req, res) => {
    const { id } = parse(IdParams.conversation, req.params, 'params')
    const { personId, role, iat } = parse(AccessQuery, req.query, 'query')
    const conversation = await loaded(id)
    const who = await viewer({ id: personId, role, iat })
    const answer: AccessAnswer = { mayRead: await access.mayRead(conversation, who), mayWrite: access.mayWrite(conversation, who) }
    res.json(answer)
  })

  routes.get('/conversations', async (req, res) => {
    const { after, limit } = parse(WalkQuery, req.query, 'query')
    const conversations = await store.walk(after ?? null, limit)
    const walk: Walk = { conversations, next: conversations.length === limit ? (conversations.at(-1)?.conversationId ?? null) : null }
    res.json(walk)
  })

  routes.post('/heads', async (req, res) => {
    const { conversationIds } = parse(HeadsRequest, req.body)
    const answer: Heads = { heads: await store.heads(conversationIds) }
    res.json(answer)
  })

  routes.post('/states', async (req, res) => {
    const { conversationIds } = parse(StatesRequest, req.body)
    const found = (await Promise.all(conversationIds.map((id) => store.load(id)))).filter((one) => one !== null)
    const answer: States = { states: await views.states(found) }
    res.json(answer)
  })

  routes.post('/roles', async (req, res) => {
    const asked = parse(RolesRequest, req.body)
    const answer: Roles = { roles: await Promise.all(asked.people.map((token) => people.effectiveRole(token))) }
    res.json(answer)
  })

  routes.post('/messages/committed', async (req, res) => {
    const { messages } = parse(CommittedRequest, req.body)
    const asked = [...Map.groupBy(messages, ({ conversationId }) => conversationId)]
    const found = await Promise.all(
      asked.map(async ([conversationId, ofIt]) => {
        const conversation = await store.load(conversationId)
        if (!conversation) return []
        const known = await Promise.all(
          ofIt.map(async ({ messageId }) => ((await history.message(conversation, messageId)) ? [messageId] : [])),
        )
        return known.flat()
      }),
    )
    const answer: Committed = { messageIds: found.flat() }
    res.json(answer)
  })

  async function loaded(id: ConversationId): Promise<Conversation> {
    const conversation = await store.load(id)
    if (!conversation) throw new AppError('CONVERSATION_NOT_FOUND', 'There is no such conversation')
    return conversation
  }

  async function viewer(token: Pick<Person, 'id' | 'role' | 'iat'>): Promise<Viewer> {
    return { id: token.id, role: await people.effectiveRole(token) }
  }

  return routes
}
