// Bad input of every kind, in every field, on every route: the envelope with the right code, driven from the schemas (issue 5).
import { ChangeStatus, ListConversations, ListSupportConversations, MarkRead, Reassign } from '@fieldline/contracts/conversations'
import { ErrorEnvelope } from '@fieldline/contracts/envelopes'
import {
  AccessQuery,
  CommittedRequest,
  EventsQuery,
  HeadsRequest,
  RolesRequest,
  SnapshotQuery,
  StatesRequest,
  WalkQuery,
} from '@fieldline/contracts/internal'
import { ListMessages, SendMessage } from '@fieldline/contracts/messages'
import { SetAvailability } from '@fieldline/contracts/people'
import { newId } from '@fieldline/service/ids'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { request } from 'undici'
import type { ZodType } from 'zod'
import { onEachDatabase, type Service, startService, tokenOf } from './service.ts'

/** What no field of ours takes. */
const hostile: [string, unknown][] = [
  ['an operator', { $ne: null }],
  ['a deep operator', { a: [{ $where: '1' }] }],
  ['a prototype', JSON.parse('{"__proto__": {"admin": true}}')],
  ['a constructor', { constructor: { prototype: {} } }],
  ['an array', ['a']],
  ['an object', { a: 1 }],
  ['a number', 12.5],
  ['a control character', 'a\u0000b'],
]
const hostileText = ['-1', '0x10', '1e3', 'NaN', '1.5', '9'.repeat(40), 'null', '{"$ne":null}', "' OR 1=1 --", '../../etc']

/** Fields of a schema and which of the hostile values it refuses; the rest it may take. */
function bodyCases(schema: ZodType, valid: Record<string, unknown>): [string, unknown][] {
  return Object.keys(valid).flatMap((field) =>
    hostile
      .map(([name, value]): [string, Record<string, unknown>] => [`${name} as ${field}`, { ...valid, [field]: value }])
      .filter(([name, body]) => !schema.safeParse(body).success || /operator|prototype|constructor/.test(name)),
  )
}
function queryCases(schema: ZodType, fields: readonly string[]): [string, string][] {
  return fields.flatMap((field) =>
    hostileText
      .filter((value) => !schema.safeParse({ [field]: value }).success)
      .map((value): [string, string] => [`${field}=${value}`, `${field}=${encodeURIComponent(value)}`]),
  )
}

const id = newId()
const bodies: [string, string, 'User' | 'Support' | 'Admin', ZodType, Record<string, unknown>][] = [
  ['POST', '/messages', 'User', SendMessage, { conversationId: id, messageType: 'text', content: 'hi', clientMessageId: 'k' }],
  ['POST', '/messages', 'User', SendMessage, { conversationId: id, messageType: 'image', mediaId: newId(), content: 'hi' }],
  ['PATCH', `/conversations/${id}/status`, 'Admin', ChangeStatus, { status: 'closed', reason: 'because' }],
  ['PATCH', `/conversations/${id}/read`, 'User', MarkRead, { messageId: newId() }],
  ['POST', '/support/reassign', 'Admin', Reassign, { conversationId: id, supportId: 'asha', reason: 'because', force: true }],
  ['PATCH', '/support/availability', 'Support', SetAvailability, { available: true }],
]
const queries: [string, 'User' | 'Support' | 'Admin', ZodType, string[]][] = [
  ['/conversations', 'User', ListConversations, ['status', 'page', 'limit', 'cursor']],
  ['/support/conversations', 'Admin', ListSupportConversations, ['status', 'assignedTo', 'sort', 'page', 'limit', 'cursor']],
  [`/messages/${id}`, 'Admin', ListMessages, ['page', 'limit', 'beforeSeq', 'afterSeq']],
]
const inner: [string, string, ZodType, string[]][] = [
  ['GET', `/conversations/${id}/events`, EventsQuery, ['after', 'limit']],
  ['GET', `/conversations/${id}/snapshot`, SnapshotQuery, ['afterSeq', 'limit', 'role', 'iat']],
  ['GET', `/conversations/${id}/access`, AccessQuery, ['personId', 'role', 'iat']],
  ['GET', '/conversations', WalkQuery, ['after', 'limit']],
]
const innerBodies: [string, ZodType, Record<string, unknown>][] = [
  ['/heads', HeadsRequest, { conversationIds: [id] }],
  ['/states', StatesRequest, { conversationIds: [id] }],
  ['/roles', RolesRequest, { people: [{ id: 'asha', role: 'Support', iat: 1 }] }],
  ['/messages/committed', CommittedRequest, { messages: [{ messageId: id, conversationId: id }] }],
]

await onEachDatabase((database) => {
  let service: Service
  const token = { User: tokenOf('User', 'rajesh'), Support: tokenOf('Support', 'asha'), Admin: tokenOf('Admin', 'meena') }
  beforeAll(async () => {
    service = await startService(database)
  })
  afterAll(() => service.stop())

  function refused({ status, body }: { status: number; body: unknown }): void {
    expect(ErrorEnvelope.parse(body)).toMatchObject({ success: false, code: 'VALIDATION_FAILED' })
    expect(status).toBe(400)
    expect(ErrorEnvelope.parse(body).details?.length).toBeGreaterThan(0)
  }

  describe.each(bodies)('%s %s', (method, path, role, schema, valid) => {
    test('refuses hostile values in every field', async () => {
      const cases = bodyCases(schema, valid)
      expect(cases.length).toBeGreaterThan(Object.keys(valid).length * 3)
      for (const [, body] of cases) refused(await service.as(token[role])(method, path, body))
    })

    test('refuses fields that are missing where they are needed, and takes unknown ones', async () => {
      for (const field of Object.keys(valid)) {
        const { [field]: _gone, ...rest } = valid
        const answer = await service.as(token[role])(method, path, rest)
        if (!schema.safeParse(rest).success && field !== 'messageId') refused(answer)
        else expect(answer.status).not.toBe(400)
      }
      expect((await service.as(token[role])(method, path, { ...valid, senderId: 'me', seq: 99, unknown: true })).status).not.toBe(400)
    })
  })

  describe.each(queries)('GET %s', (path, role, schema, fields) => {
    test('refuses what is none of its values; blank is absent; a high limit is clamped', async () => {
      for (const [, query] of queryCases(schema, fields)) refused(await service.as(token[role])('GET', `${path}?${query}`))
      for (const field of fields) {
        refused(await service.as(token[role])('GET', `${path}?${field}=a&${field}=b`))
        expect((await service.as(token[role])('GET', `${path}?${field}=`)).status).not.toBe(400)
      }
      expect((await service.as(token[role])('GET', `${path}?limit=100000`)).status).not.toBe(400)
      expect((await service.as(token[role])('GET', `${path}?page=999999999999999`)).status).not.toBe(500)
      refused(await service.as(token[role])('GET', `${path}?%24where=1`))
    })
  })

  test.each(inner)('%s /internal%s refuses the same', async (_method, path, schema, fields) => {
    for (const [, query] of queryCases(schema, fields)) refused(await service.internal('GET', `${path}?${query}`))
  })
  test.each(innerBodies)('POST /internal%s refuses the same', async (path, schema, valid) => {
    for (const [, body] of bodyCases(schema, valid)) refused(await service.internal('POST', path, body))
  })

  test('what is no JSON, no body, or another type', async () => {
    const post = async (body: string | undefined, type = 'application/json') => {
      const headers = { authorization: `Bearer ${token.User}`, 'content-type': type }
      const answer = await request(`${service.url}/api/v1/chat/messages`, {
        method: 'POST',
        headers,
        ...(body === undefined ? {} : { body }),
      })
      return { status: answer.statusCode, body: ErrorEnvelope.parse(await answer.body.json()) }
    }
    expect(await post('{"conversationId": ')).toMatchObject({ status: 400, body: { code: 'INVALID_JSON' } })
    expect(await post('<xml/>', 'text/xml')).toMatchObject({ status: 415 })
    for (const body of [undefined, 'null', '[]', '"text"', '5'])
      expect(await post(body)).toMatchObject({ status: 400, body: { code: 'VALIDATION_FAILED' } })
    expect(await post(JSON.stringify({ conversationId: id, content: 'x'.repeat(2_000_000) }))).toMatchObject({ status: 413 })
  })

  test('text is 1 to 4,000 characters, by code points, and not blank', async () => {
    const { body } = await service.as(token.User)('POST', '/conversations')
    const say = async (content: string) =>
      (await service.as(token.User)('POST', '/messages', { conversationId: body.data._id, content })).status
    expect(await Promise.all([say('🌾'.repeat(4_000)), say('a'.repeat(4_000)), say(' a ')])).toEqual([201, 201, 201])
    expect(await Promise.all([say('🌾'.repeat(4_001)), say('a'.repeat(4_001)), say(''), say(' \n\t'), say('\ud800')])).toEqual([
      400, 400, 400, 400, 400,
    ])
  })

  test('no body, {} and null are the same where none is needed', async () => {
    const { body } = await service.as(token.User)('POST', '/conversations')
    for (const given of [undefined, {}, null]) {
      expect((await service.as(token.User)('POST', '/conversations', given)).status).toBe(200)
      expect((await service.as(token.User)('PATCH', `/conversations/${body.data._id}/read`, given)).status).toBe(200)
    }
  })

  test('a field that may be absent may be null; one that is needed may not', async () => {
    const { body } = await service.as(token.User)('POST', '/conversations')
    const conversationId: string = body.data._id
    await service.as(token.User)('POST', '/messages', { conversationId, content: 'read me' })
    for (const messageId of [null, ''])
      expect((await service.as(token.User)('PATCH', `/conversations/${conversationId}/read`, { messageId })).status).toBe(200)
    for (const reason of [null, '']) {
      const kept = await service.as(token.Admin)('PATCH', `/conversations/${conversationId}/status`, { status: 'waiting', reason })
      expect(kept.status).toBe(200)
    }
    const absent = { reason: null, force: null, assignedSupportId: null }
    const reassign = await service.as(token.Admin)('POST', '/support/reassign', { conversationId, supportId: null, ...absent })
    expect(reassign.status).toBe(200)

    refused(await service.as(token.User)('POST', '/messages', { conversationId: null, content: 'x' }))
    refused(await service.as(token.User)('POST', '/messages', { conversationId, content: null }))
    refused(await service.as(token.User)('POST', '/messages', { conversationId, messageType: 'image', mediaId: null }))
    refused(await service.as(token.Admin)('PATCH', `/conversations/${conversationId}/status`, { status: null }))
    refused(await service.as(token.Support)('PATCH', '/support/availability', { available: null }))
  })

  test('without a token, or with a broken one, nothing opens', async () => {
    for (const [method, path] of [...bodies, ...queries.map(([path]) => ['GET', path] as const)]) {
      for (const bad of ['', 'x', `${token.Admin}x`]) expect((await service.as(bad)(method, path)).status).toBe(401)
    }
  })
})
