// What the support desk asks for, shown to who asked.
import type { AssignmentView, ConversationView } from '@fieldline/contracts/conversations'
import { AppError } from '@fieldline/contracts/errors'
import type { ConversationEvent } from '@fieldline/contracts/events'
import { type Person, personView } from '@fieldline/contracts/people'
import type { ConversationStore } from '../conversations/conversation.store.ts'
import type { Conversation } from '../conversations/conversation.ts'
import { mayManage } from '../conversations/visibility.ts'
import type { Assignments } from './assignments.ts'
import type { SupportDesk } from './support.routes.ts'

export interface DeskOptions {
  readonly assignments: Pick<Assignments, 'claim' | 'reassign'>
  readonly store: Pick<ConversationStore, 'load' | 'assignments'>
  /** The conversation as `viewer` sees it. */
  readonly show: (conversation: Conversation, viewer: Person) => Promise<ConversationView>
}

/** Decisions shown: the newest of a conversation. */
const most = 500

export function supportDesk({ assignments, store, show }: DeskOptions): SupportDesk {
  return {
    claim: async (id, by) => show(await assignments.claim(id, by), by),
    reassign: async (asked, by) => show(await assignments.reassign(asked, by), by),

    async decisions(id, by) {
      const conversation = await store.load(id)
      if (!conversation) throw new AppError('CONVERSATION_NOT_FOUND', 'There is no such conversation')
      if (!mayManage(conversation, by)) throw new AppError('FORBIDDEN', 'Only the assigned agent or an admin can see these decisions')
      // What is committed counts, logged or not: the outbox was loaded first, and nothing above it is shown.
      const events = new Map<number, ConversationEvent>()
      for (const { event } of [...(await store.assignments(id, most)), ...conversation.outbox])
        if (event.eventno <= conversation.eventNo) events.set(event.eventno, event)
      return [...events.values()].sort((a, b) => a.eventno - b.eventno).flatMap(decisionView)
    },
  }
}

function decisionView(event: ConversationEvent): AssignmentView[] {
  if (event.type !== 'conversation.assigned') return []
  const { from, to, reason, note, by } = event.data
  return [{ from: from && personView(from), to: to && personView(to), reason, note, by, at: event.time }]
}
