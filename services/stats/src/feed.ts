// The truth that stats can ask for: conversation's log and the list of its conversations, page by page.
import { AppError } from '@fieldline/contracts/errors'
import type { ConversationEvent } from '@fieldline/contracts/events'
import { EventsPage, Walk } from '@fieldline/contracts/internal'
import type { Peer } from '@fieldline/service/peer'

export interface Feed {
  /** Events of one conversation above `after`, by eventno; none for one that isn't known. @throws AppError UNAVAILABLE */
  events(conversationId: string, after: number): AsyncGenerator<ConversationEvent[]>
  /** Every conversation with the number of its newest event, by id. @throws AppError UNAVAILABLE */
  walk(): AsyncGenerator<{ conversationId: string; eventNo: number }[]>
}

const walkPage = 1_000
/** Even the longest messages, written out as escapes (24 kB each), then stay well within what a peer's answer may be. */
const eventsPage = 250

export function createFeed(conversation: Pick<Peer, 'call'>): Feed {
  return {
    async *events(conversationId, after) {
      let at = after
      for (;;) {
        const page = await pageAfter(conversationId, at)
        if (page.events.length > 0) yield page.events
        const last = page.events.at(-1)?.eventno ?? page.head
        if (last >= page.head || last <= at) return
        at = last
      }
    },
    async *walk() {
      let after: string | undefined
      for (;;) {
        const query = { limit: walkPage, ...(after === undefined ? {} : { after }) }
        const { body } = await conversation.call({ method: 'GET', path: '/internal/conversations', query, schema: Walk, timeoutMs: 30_000 })
        if (body.conversations.length > 0) yield body.conversations
        if (body.next === null || body.next === after) return
        after = body.next
      }
    },
  }

  async function pageAfter(conversationId: string, after: number): Promise<EventsPage> {
    try {
      const path = `/internal/conversations/${conversationId}/events`
      const { body } = await conversation.call({
        method: 'GET',
        path,
        query: { after, limit: eventsPage },
        schema: EventsPage,
        timeoutMs: 30_000,
      })
      return body
    } catch (error) {
      if (error instanceof AppError && error.code === 'CONVERSATION_NOT_FOUND') return { events: [], head: after }
      throw error
    }
  }
}
