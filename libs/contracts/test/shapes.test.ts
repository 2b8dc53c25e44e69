// Shapes at the edge of tolerance: what lists may be asked, what an id may be called, what a code means.
import { describe, expect, test } from '@jest/globals'
import { type ConversationState, conversationView, ListConversations, ListSupportConversations } from '../src/conversations.ts'
import { errorCodes, isErrorCode, isRetryable, statusOf } from '../src/errors.ts'
import { ConversationId } from '../src/ids.ts'
import { ListMessages } from '../src/messages.ts'
import { openApiDocument } from '../src/openapi.ts'
import { mostPassedOver } from '../src/pages.ts'
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
