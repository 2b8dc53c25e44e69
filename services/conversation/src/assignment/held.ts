// Conversations as the queue and the sweeper need them, by commands that each look again before they write.
import type { ConversationId } from '@fieldline/contracts/ids'
import type { Logger } from '@fieldline/service/logger'
import type { Command, Commands } from '../conversations/commands.ts'
import type { ConversationStore } from '../conversations/conversation.store.ts'
import { type Conversation, nothing } from '../conversations/conversation.ts'
import { assign, closeResolved } from '../conversations/lifecycle.ts'
import type { People } from '../people/people.ts'
import { giveBack, releaseEmpty } from './giving-back.ts'
import type { WaitingConversations } from './queue.ts'
import type { Batch, Holder, SweptConversations } from './sweeper.ts'

export interface HeldOptions {
  readonly store: Pick<ConversationStore, 'load' | 'bump' | 'waiting' | 'openOf' | 'emptySince' | 'resolvedSince'>
  readonly commands: Pick<Commands, 'execute'>
  readonly people: Pick<People, 'summaries'>
  readonly log: Pick<Logger, 'warn'>
}

/** Tries at fencing a conversation that others write at the same time. */
const fenceTries = 10

export function waitingConversations({ store, commands, people, log }: HeldOptions): WaitingConversations {
  return {
    async waiting(after, limit) {
      const from = after && { at: after.waitingSince.toISOString(), id: after.conversationId as ConversationId }
      return (await store.waiting(from, limit)).flatMap(({ id, waitingSince, givenBack }) =>
        waitingSince === null
          ? []
          : [
              {
                conversationId: id,
                waitingSince: new Date(waitingSince),
                givenBack: givenBack.map(({ personId, at }) => ({ personId, at: new Date(at) })),
              },
            ],
      )
    },

    async assign(conversationId, { agentId, token }) {
      const agent = (await people.summaries([agentId])).get(agentId)
      if (!agent) return 'conflict'
      let tried = false
      let refused = false
      let waits = true
      const assigning: Command = {
        decide(it, now) {
          waits = it.status === 'waiting' && it.waitingSince !== null
          // The token is good for one write: a second try is the queue's to make, with another.
          if (tried || !waits) return nothing(it)
          tried = true
          return assign(it, { agent, placeToken: token, reason: 'least-busy', note: null, by: 'system' }, now)
        },
        async abandoned() {
          refused = true
        },
      }
      let written: boolean
      try {
        written = (await commands.execute(conversationId as ConversationId, assigning)).entries.length > 0
      } catch (err) {
        if (tried && !refused) throw err
        log.warn({ err, conversationId }, 'a waiting conversation could not be assigned yet')
        return 'refused'
      }
      if (written) return 'assigned'
      if (tried && !refused) throw new Error('The assignment was written without an answer')
      return waits ? 'conflict' : 'not-waiting'
    },
  }
}

export function sweptConversations({ store, commands, log }: HeldOptions): SweptConversations {
  /** True if more may be due. One that fails is left for the next sweep. */
  async function each(
    due: (limit: number) => Promise<readonly Conversation[]>,
    { limit, left }: Batch,
    decide: Command['decide'],
  ): Promise<boolean> {
    const most = limit + left.size
    const found = await due(most)
    for (const { id } of found) {
      if (left.has(id)) continue
      try {
        if ((await commands.execute(id, { decide })).entries.length > 0) continue
      } catch (err) {
        log.warn({ err, conversationId: id }, 'a conversation could not be swept yet')
      }
      left.add(id)
    }
    return found.length === most
  }

  return {
    async tokensOf(agentId, limit) {
      const open = await store.openOf(agentId, limit)
      return new Set(open.flatMap(({ assigned }) => (assigned?.placeToken ? [assigned.placeToken] : [])))
    },

    async fence(conversationId) {
      const id = conversationId as ConversationId
      for (let tries = 0; tries < fenceTries; tries++) {
        const conversation = await store.load(id)
        if (!conversation) return null
        if (await store.bump(id, conversation.version)) return holderOf(conversation)
      }
      throw new Error('The conversation changed too often to be fenced')
    },

    async giveBack(id, holder, always) {
      const decide: Command['decide'] = (it, now) => giveBack(it, holder, always, now)
      return (await commands.execute(id as ConversationId, { decide })).entries.length > 0
    },

    async releaseEmpty(before, batch) {
      const since = before.toISOString()
      return each(
        (limit) => store.emptySince(since, limit),
        batch,
        (it, now) => releaseEmpty(it, since, now),
      )
    },

    async closeResolved(before, batch) {
      const since = before.toISOString()
      return each(
        (limit) => store.resolvedSince(since, limit),
        batch,
        (it, now) => closeResolved(it, { resolvedBefore: since }, now),
      )
    },
  }
}

function holderOf({ assigned, status }: Conversation): Holder | null {
  return status === 'open' && assigned?.placeToken ? { agentId: assigned.person.id, token: assigned.placeToken } : null
}
