// Conversation's /internal feed over real HTTP, out of a list of events that a test may add to. For tests.

import { AppError } from '@fieldline/contracts/errors'
import type { ConversationEvent } from '@fieldline/contracts/events'
import { EventsQuery, IdParams, WalkQuery } from '@fieldline/contracts/internal'
import { createHealth } from '@fieldline/service/health'
import { createHttp } from '@fieldline/service/http'
import { createInternalTokens, requireInternal } from '@fieldline/service/internal'
import { silentLogger } from '@fieldline/service/logger'
import { createRegistry } from '@fieldline/service/metrics'
import { parse } from '@fieldline/service/parse'
import { testInternalSecret } from '@fieldline/testing/factories'

export interface FakeConversation {
  readonly url: string
  /** By conversation, in their order. */
  readonly log: Map<string, ConversationEvent[]>
  add(events: readonly ConversationEvent[]): void
  stop(): Promise<void>
}

export async function startFakeConversation(): Promise<FakeConversation> {
  const log = new Map<string, ConversationEvent[]>()
  const tokens = createInternalTokens({ secrets: [testInternalSecret], name: 'conversation' })
  const http = createHttp({
    name: 'conversation',
    log: silentLogger,
    health: createHealth(),
    registry: createRegistry('conversation'),
    host: '127.0.0.1',
    port: 0,
    drainMs: 1_000,
    routers: (app) => {
      app.use('/internal', requireInternal(tokens))
      app.get('/internal/conversations', (req, res) => {
        const { after = '', limit } = parse(WalkQuery, req.query, 'query')
        const rest = [...log.keys()].sort().filter((id) => id > after)
        const page = rest.slice(0, limit).map((conversationId) => ({ conversationId, eventNo: log.get(conversationId)?.length ?? 0 }))
        res.json({ conversations: page, next: rest.length > limit ? page.at(-1)?.conversationId : null })
      })
      app.get('/internal/conversations/:id/events', (req, res) => {
        const { id } = parse(IdParams.conversation, req.params, 'params')
        const { after, limit } = parse(EventsQuery, req.query, 'query')
        const events = log.get(id)
        if (!events) throw new AppError('CONVERSATION_NOT_FOUND', 'There is no such conversation')
        res.json({ events: events.slice(after, after + limit), head: events.length })
      })
    },
  })
  await http.start()
  return {
    url: http.url ?? '',
    log,
    add(events) {
      for (const event of events) log.set(event.conversationid, [...(log.get(event.conversationid) ?? []), event])
    },
    stop: () => http.stop(),
  }
}
