// Shapes at the edge of tolerance: what lists may be asked, what an id may be called, what a code means.
import { describe, expect, test } from '@jest/globals'
import { z } from 'zod'
import {
  ChangeStatus,
  type ConversationState,
  conversationView,
  ListConversations,
  ListSupportConversations,
  MarkRead,
  Reassign,
} from '../src/conversations.ts'
import { errorCodes, isErrorCode, isRetryable, statusOf } from '../src/errors.ts'
import { ConversationId } from '../src/ids.ts'
import { ListMessages, SendMessage } from '../src/messages.ts'
import { openApiDocument } from '../src/openapi.ts'
import { optional } from '../src/optional.ts'
import { mostPassedOver } from '../src/pages.ts'
import { SetAvailability } from '../src/people.ts'
import { clientEvents } from '../src/socket.ts'

test.each([
  ['5', 5],
  ['100', 100],
  ['101', 100],
  ['9'.repeat(25), 100],
])('a limit of %s gives at most %s', (limit, most) => {
  expect(ListConversations.parse({ limit }).limit).toBe(most)
})

test.each(['0', '-1', '1.5', '1e3', 'x', ' '])('a limit of "%s" is refused, with the field named', (limit) => {
  expect(ListConversations.safeParse({ limit }).error?.issues.map(({ path }) => path)).toContainEqual(['limit'])
})

describe.each([
  ['my list', ListConversations, '/conversations'],
  ['the desk’s', ListSupportConversations, '/support/conversations'],
])('of %s', (_list, query, path) => {
  const faults = (asked: object) => query.safeParse(asked).error?.issues.map(({ path, message }) => `${path}: ${message}`) ?? []

  test('a page passes over so many items and no more, whatever its limit; beyond, it is told to take the cursor', () => {
    for (const limit of [1, 20, 100]) {
      const last = mostPassedOver / limit + 1
      expect(faults({ page: String(last), limit: String(limit) })).toEqual([])
      expect(faults({ page: String(last + 1), limit: String(limit) })).toEqual([expect.stringMatching(/^page: .* cursor/)])
    }
    expect(faults({ page: '9'.repeat(15) })).toHaveLength(1)
    expect(faults({ cursor: 'abc', limit: '100' })).toEqual([])
    expect(faults({ cursor: 'abc', page: '2' })).toEqual([expect.stringMatching(/^cursor: /)])
  })

  test('the document says so', () => {
    const { paths } = JSON.parse(JSON.stringify(openApiDocument()))
    const { schema, description } = paths[`/api/v1/chat${path}`].get.parameters.find(({ name }: { name: string }) => name === 'page')
    expect(schema).toMatchObject({ type: 'integer', minimum: 1, maximum: mostPassedOver + 1 })
    expect(description).toContain(String(mostPassedOver))
  })
})

test('history, whose pages pass over nothing, has no such end', () => {
  expect(ListMessages.parse({ page: '9'.repeat(15) }).page).toBe(999_999_999_999_999)
})

test('a person may be called __proto__ without reaching into anything', () => {
  const rajesh = { id: '__proto__', role: 'User', firstName: 'Rajesh', lastName: '', phone: null } as const
  const now = '2026-11-25T10:00:00.000Z'
  const state: ConversationState = {
    id: ConversationId.parse('a'.repeat(24)),
    farmer: rajesh,
    assigned: null,
    status: 'waiting',
    unread: [{ personId: '__proto__', count: 3 }],
    lastMessage: null,
    lastSeq: 3,
    waitingSince: now,
    previousConversationId: null,
    createdAt: now,
    updatedAt: now,
  }
  const view = conversationView(state, '__proto__', true)
  expect(JSON.stringify(view.unreadCount)).toBe('{"__proto__":3}')
  expect(view.myUnreadCount).toBe(3)
})

test('every code has a status that clients were told of, and only what may pass is retryable', () => {
  const told = [400, 401, 403, 404, 405, 409, 413, 415, 416, 422, 429, 500, 502, 503]
  for (const code of errorCodes) {
    expect(told).toContain(statusOf(code))
    expect({ code, retryable: isRetryable(code) }).toEqual({ code, retryable: [429, 500, 502, 503].includes(statusOf(code)) })
  }
  expect(isErrorCode('__proto__')).toBe(false)
})

test('a bare id will do where it is the only field; leaving and falling silent need none', () => {
  const id = 'b'.repeat(24)
  for (const event of ['conversation:join', 'conversation:mark-all-read', 'typing:start'] as const) {
    expect(clientEvents[event].parse(id)).toEqual({ conversationId: id })
    expect(clientEvents[event].safeParse(undefined).success).toBe(false)
  }
  for (const event of ['conversation:leave', 'typing:stop'] as const) {
    expect(clientEvents[event].parse(id)).toEqual({ conversationId: id })
    for (const nothing of [undefined, null, {}]) expect(clientEvents[event].parse(nothing)).toEqual({})
  }
})

describe('an optional field', () => {
  const id = 'c'.repeat(24)
  const inputs = Object.entries({ ...clientEvents, SendMessage, ChangeStatus, MarkRead, Reassign, SetAvailability })
  const fields = inputs.flatMap(([input, schema]) =>
    objectsOf(schema).flatMap((shape) => Object.entries(shape).map(([name, field]) => ({ input, name, field }))),
  )
  const mayBeAbsent = fields.filter(({ field }) => field.safeParse(undefined).success)

  test.each(mayBeAbsent)('of $input may be null: $name', ({ field }) => {
    expect(field.safeParse(null)).toEqual(field.safeParse(undefined))
  })

  test('of text may be empty as well; that of another kind may not', () => {
    expect(optional(ConversationId).parse('')).toBeUndefined()
    for (const other of [z.boolean(), z.number(), z.enum(['a'])]) expect(optional(other).safeParse('').success).toBe(false)
  })

  test('keeps its own values, among them those that are next to nothing', () => {
    expect([optional(z.number()).parse(0), optional(z.boolean()).parse(false), optional(z.string()).parse(' ')]).toEqual([0, false, ' '])
  })

  test('says what is wrong as if it were needed', () => {
    for (const wrong of ['x', 42, 'a'.repeat(25), {}])
      expect(faultsOf(optional(ConversationId), wrong)).toEqual(faultsOf(ConversationId, wrong))
  })

  test.each([null, '', undefined])('that says which message it is makes it text when it is %j', (messageType) => {
    const text = { conversationId: id, content: 'hello' }
    expect(SendMessage.parse({ ...text, messageType })).toEqual({ ...text, messageType: 'text' })
  })

  test('leaves nothing of itself where it goes on', () => {
    const sent = SendMessage.parse({ conversationId: id, content: 'hello', clientMessageId: null })
    expect(JSON.parse(JSON.stringify(sent))).toEqual({ conversationId: id, messageType: 'text', content: 'hello' })
    for (const event of ['conversation:leave', 'typing:stop'] as const)
      for (const conversationId of [null, '']) expect(clientEvents[event].parse({ conversationId })).toEqual({})
  })
})

test.each([null, undefined, ''])('a field that is needed is missed also as %j', (nothing) => {
  const id = 'd'.repeat(24)
  expect(faultsOf(SendMessage, { conversationId: nothing, content: 'hello' })).toMatchObject([{ path: ['conversationId'] }])
  expect(faultsOf(SendMessage, { conversationId: id, content: nothing })).toMatchObject([{ path: ['content'] }])
  expect(faultsOf(SendMessage, { conversationId: id, messageType: 'image', mediaId: nothing })).toMatchObject([{ path: ['mediaId'] }])
  expect(faultsOf(ChangeStatus, { status: nothing })).toMatchObject([{ path: ['status'] }])
  expect(faultsOf(SetAvailability, { available: nothing })).toMatchObject([{ path: ['available'] }])
  expect(faultsOf(clientEvents['conversation:join'], { conversationId: nothing })).toMatchObject([{ path: ['conversationId'] }])
  expect(faultsOf(clientEvents['message:read'], { messageId: nothing, conversationId: id })).toMatchObject([{ path: ['messageId'] }])
})

test.each([
  [{ supportId: 'asha' }, 'asha'],
  [{ assignedSupportId: 'asha' }, 'asha'],
  [{ supportId: 'asha', assignedSupportId: null }, 'asha'],
  [{ supportId: null, assignedSupportId: 'asha' }, 'asha'],
  [{ supportId: null }, null],
  [{ assignedSupportId: null }, null],
  [{ supportId: null, assignedSupportId: null }, null],
])('a reassignment with %j is to %j', (named, supportId) => {
  expect(Reassign.parse({ conversationId: 'e'.repeat(24), ...named }).supportId).toBe(supportId)
})

test('a reassignment that names nobody in either way is refused', () => {
  expect(faultsOf(Reassign, { conversationId: 'e'.repeat(24) })).toMatchObject([{ path: ['supportId'] }])
})

function faultsOf(schema: z.ZodType, given: unknown) {
  return schema.safeParse(given).error?.issues.map(({ path, message }) => ({ path, message }))
}

/** The shapes that a schema may have inside. */
function objectsOf(schema: z.core.$ZodType): Record<string, z.ZodType>[] {
  if (schema instanceof z.ZodObject) return [schema.shape]
  if (schema instanceof z.ZodPipe) return objectsOf(schema.out)
  if (schema instanceof z.ZodUnion) return schema.options.flatMap(objectsOf)
  return []
}
