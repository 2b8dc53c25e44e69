// People and conversations for rule tests; only what a sentence needs is spelled out.
import type { Status } from '@fieldline/contracts/conversations'
import { AppError } from '@fieldline/contracts/errors'
import type { ConversationId, MessageId } from '@fieldline/contracts/ids'
import type { PersonSummary } from '@fieldline/contracts/people'
import { newId } from '@fieldline/service/ids'
import { expect } from '@jest/globals'
import { type Conversation, type Decision, type Instant, numbered } from '../src/conversations/conversation.ts'
import { create } from '../src/conversations/lifecycle.ts'
import { type Say, say } from '../src/messages/message.ts'

export const noon: Instant = '2026-11-23T12:00:00.000Z'
export const later = (seconds: number): Instant => new Date(Date.parse(noon) + seconds * 1_000).toISOString()

const named = (id: string, role: PersonSummary['role']): PersonSummary => ({ id, role, firstName: id, lastName: '', phone: null })
export const rajesh = named('rajesh', 'User')
export const sita = named('sita', 'User')
export const asha = named('asha', 'Support')
export const vikram = named('vikram', 'Support')
export const meena = named('meena', 'Admin')

/** Applies a decision as a commit does. */
export function after(decision: Decision, now = noon): Conversation {
  return decision.facts.length === 0 ? decision.after : numbered(decision, { commandId: newId(), now }).next
}

export function conversation(given: { status?: Status; assigned?: PersonSummary | null; said?: number } = {}): Conversation {
  const { status = 'open', said = 0 } = given
  const id = newId() as ConversationId
  let it = after(create({ id, farmer: rajesh, previousConversationId: null }, noon))
  for (let n = 1; n <= said; n += 1) it = after(say(it, saying(rajesh, `m${n}`), noon))
  const person = given.assigned === undefined ? (status === 'waiting' ? null : asha) : given.assigned
  const assigned = person && { person, placeToken: status === 'open' ? `place-${person.id}` : null, at: noon }
  return {
    ...it,
    status,
    assigned,
    waitingSince: status === 'waiting' ? noon : null,
    resolvedAt: status === 'resolved' ? noon : null,
    outbox: [],
  }
}

export function saying(sender: PersonSummary, content: string, more: Partial<Say> = {}): Say {
  return {
    messageId: newId() as MessageId,
    sender,
    messageType: 'text',
    content,
    media: null,
    clientMessageId: null,
    sentTo: null,
    placeToken: null,
    ...more,
  }
}

/** `given(it).when(rule).then(…)` */
export function given(it: Conversation) {
  return {
    when(rule: (it: Conversation) => Decision) {
      return {
        becomes(expected: Partial<Conversation>, facts: readonly object[]) {
          const decision = rule(it)
          expect(decision.after).toMatchObject(expected)
          expect(decision.facts).toMatchObject(facts)
          expect(decision.facts).toHaveLength(facts.length)
        },
        changesNothing() {
          const decision = rule(it)
          expect(decision.facts).toEqual([])
          expect(decision.after).toBe(it)
        },
        throws(code: string) {
          expect(() => rule(it)).toThrow(AppError)
          try {
            rule(it)
          } catch (error) {
            expect((error as AppError).code).toBe(code)
          }
        },
      }
    },
  }
}
