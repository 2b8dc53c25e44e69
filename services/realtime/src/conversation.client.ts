// What realtime asks conversation: sends and reads with the person's own token, snapshots, logs and heads with the service's.
import { apiBase, success } from '@fieldline/contracts/envelopes'
import { AppError } from '@fieldline/contracts/errors'
import type { ConversationId } from '@fieldline/contracts/ids'
import { EventsPage, Heads, Roles, Snapshot, States } from '@fieldline/contracts/internal'
import { MessageView, type SendMessage } from '@fieldline/contracts/messages'
import type { Person } from '@fieldline/contracts/people'
import type { Peer } from '@fieldline/service/peer'
import { backOff } from './cursor.ts'

export interface SnapshotWish {
  /** Messages after this one; without it none. */
  afterSeq?: number | undefined
  limit?: number
  /** Only if this person may read it. */
  as?: Pick<Person, 'id' | 'role' | 'iat'>
}

export interface Conversations {
  /** Sends under a key, so that an unknown outcome is tried again without a second message. @throws AppError */
  send(token: string, command: SendMessage & { clientMessageId: string }): Promise<MessageView>
  /** Moves the person's mark to `messageId`, or to the newest message. @throws AppError */
  markRead(token: string, id: ConversationId, messageId?: string): Promise<void>
  /** @throws AppError FORBIDDEN, CONVERSATION_NOT_FOUND, UNAVAILABLE */
  snapshot(id: ConversationId, wish: SnapshotWish): Promise<Snapshot>
  /** The log after `after`, oldest first. @throws AppError */
  events(id: ConversationId, after: number): Promise<EventsPage>
  /** Where these conversations stand; unknown ones are left out. @throws AppError */
  heads(ids: readonly ConversationId[]): Promise<Heads['heads']>
  /** The roles that still count of these people's tokens, in their order. @throws AppError */
  roles(people: readonly Pick<Person, 'id' | 'role' | 'iat'>[]): Promise<Roles['roles']>
  /** What lists show of these conversations; unknown ones are left out. @throws AppError */
  states(ids: readonly ConversationId[]): Promise<States['states']>
}

const Sent = success(MessageView)

/** At most `atOnce` run; the others wait their turn. */
function turnstile(atOnce: number): <T>(work: () => Promise<T>) => Promise<T> {
  let running = 0
  const waiting: (() => void)[] = []
  return async (work) => {
    if (running >= atOnce) await new Promise<void>((resolve) => waiting.push(resolve))
    else running += 1
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next) next()
      else running -= 1
    }
  }
}

export function createConversations(
  peer: Peer,
  config: { fetches: number; fetchTimeoutMs: number; fetchPauseMs: number; sendTimeoutMs: number },
): Conversations {
  const inTurn = turnstile(config.fetches)
  const { fetchTimeoutMs: timeoutMs } = config

  return {
    async send(token, command) {
      const deadline = performance.now() + config.sendTimeoutMs
      for (let failures = 1; ; failures += 1) {
        try {
          const left = Math.max(deadline - performance.now(), 1)
          const call = { method: 'POST', path: `${apiBase}/messages`, token, body: command, schema: Sent, idempotent: true } as const
          return (await peer.call({ ...call, timeoutMs: Math.min(left, timeoutMs) })).body.data
        } catch (error) {
          if (!(error instanceof AppError && error.code === 'UNAVAILABLE')) throw error
          const pause = backOff(failures, config.fetchPauseMs, Math.random())
          if (performance.now() + pause >= deadline) throw error
          await new Promise((resolve) => setTimeout(resolve, pause))
        }
      }
    },
    async markRead(token, id, messageId) {
      const body = messageId === undefined ? {} : { messageId }
      await peer.call({ method: 'PATCH', path: `${apiBase}/conversations/${id}/read`, token, body, idempotent: true, timeoutMs })
    },
    snapshot(id, { afterSeq, limit = 200, as }) {
      const who = as ? { personId: as.id, role: as.role, iat: Math.floor(as.iat) } : {}
      const query = { ...(afterSeq === undefined ? {} : { afterSeq }), limit, ...who }
      return inTurn(
        async () =>
          (await peer.call({ method: 'GET', path: `/internal/conversations/${id}/snapshot`, query, schema: Snapshot, timeoutMs })).body,
      )
    },
    events(id, after) {
      const query = { after, limit: 200 }
      return inTurn(
        async () =>
          (await peer.call({ method: 'GET', path: `/internal/conversations/${id}/events`, query, schema: EventsPage, timeoutMs })).body,
      )
    },
    async heads(ids) {
      const body = { conversationIds: ids }
      const call = { method: 'POST', path: '/internal/heads', body, schema: Heads, idempotent: true, timeoutMs } as const
      return (await inTurn(() => peer.call(call))).body.heads
    },
    async roles(people) {
      const body = { people: people.map(({ id, role, iat }) => ({ id, role, iat: Math.floor(iat) })) }
      const call = { method: 'POST', path: '/internal/roles', body, schema: Roles, idempotent: true, timeoutMs } as const
      return (await inTurn(() => peer.call(call))).body.roles
    },
    async states(ids) {
      const body = { conversationIds: ids }
      const call = { method: 'POST', path: '/internal/states', body, schema: States, idempotent: true, timeoutMs } as const
      return (await inTurn(() => peer.call(call))).body.states
    },
  }
}
