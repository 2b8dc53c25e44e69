// Closed: /internal, to everybody who is no service; and a service's token, everywhere else (OWASP API8:2023, API9:2023).
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import jwt from 'jsonwebtoken'
import { client, rest } from '../support/client.ts'
import { raw } from './raw.ts'
import { type Door, onTheWhole, type Stage, tokenOf } from './stage.ts'

const id = 'a'.repeat(24)
const inside: readonly { door: Door; method: 'GET' | 'POST'; path: string; body?: object }[] = [
  { door: 'conversation', method: 'GET', path: `/internal/conversations/${id}/events` },
  { door: 'conversation', method: 'GET', path: `/internal/conversations/${id}/snapshot` },
  { door: 'conversation', method: 'GET', path: `/internal/conversations/${id}/access?personId=x&role=User&iat=1` },
  { door: 'conversation', method: 'GET', path: '/internal/conversations' },
  { door: 'conversation', method: 'POST', path: '/internal/heads', body: { conversationIds: [] } },
  { door: 'conversation', method: 'POST', path: '/internal/states', body: { conversationIds: [] } },
  { door: 'conversation', method: 'POST', path: '/internal/roles', body: { people: [] } },
  { door: 'conversation', method: 'POST', path: '/internal/messages/committed', body: { messages: [] } },
  {
    door: 'media',
    method: 'POST',
    path: `/internal/media/${id}/reserve`,
    body: { ownerId: 'x', type: 'image', conversationId: id, messageId: id },
  },
  { door: 'realtime', method: 'POST', path: '/internal/presence', body: { personIds: [] } },
  { door: 'realtime', method: 'GET', path: '/internal/replica' },
]
const audience = 'fieldline-internal'
const secretOf = ({ whole }: Stage): string =>
  (JSON.parse(readFileSync(join(whole.dataDir, 'secrets.json'), 'utf8')) as { INTERNAL_SECRET: string }).INTERNAL_SECRET
const internal = (stage: Stage, options: jwt.SignOptions = {}, claims: object = {}): string =>
  jwt.sign(claims, secretOf(stage), { algorithm: 'HS256', audience, issuer: 'realtime', expiresIn: 60, ...options })
const none = (claims: object): string =>
  `${[{ alg: 'none' }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')}.`

const forgeries: readonly (readonly [string, (stage: Stage) => string | undefined])[] = [
  ['none', () => undefined],
  ['an admin’s', () => tokenOf('meena')],
  [
    'an admin’s with the internal audience',
    ({ whole }) => jwt.sign({ role: 'Admin' }, whole.secret, { subject: 'meena', audience, issuer: 'realtime', expiresIn: 60 }),
  ],
  ['unsigned', () => none({ aud: audience, iss: 'realtime', exp: 9_999_999_999 })],
  ['signed with another secret', () => jwt.sign({}, 'x'.repeat(43), { audience, issuer: 'realtime', expiresIn: 60 })],
  ['of another audience', (stage) => internal(stage, { audience: 'fieldline' })],
  ['of no audience', (stage) => jwt.sign({}, secretOf(stage), { issuer: 'realtime', expiresIn: 60 })],
  ['of another algorithm', (stage) => internal(stage, { algorithm: 'HS512' })],
  ['expired', (stage) => internal(stage, { expiresIn: -120 })],
  ['never expiring', (stage) => jwt.sign({ aud: audience, iss: 'realtime' }, secretOf(stage))],
  ['of no service', (stage) => jwt.sign({ aud: audience }, secretOf(stage), { expiresIn: 60 })],
]

onTheWhole({}, (stage) => {
  describe('a service asked directly', () => {
    for (const { door, method, path, body } of inside.filter((each) => stage.doors.includes(each.door))) {
      test(`${door} ${method} ${path.replaceAll(id, ':id')} answers services only`, async () => {
        expect([200, 404]).toContain((await rest(stage.url(door), internal(stage))(method, path, body)).status)
        for (const [name, make] of forgeries) {
          const { status, body: answer } = await rest(stage.url(door), make(stage))(method, path, body)
          expect({ name, status, code: answer.code }).toEqual({ name, status: 401, code: 'UNAUTHENTICATED' })
        }
      })
    }
  })

  describe('the gateway passes nothing on to /internal', () => {
    const host = () => new URL(stage.url()).host
    const targets: readonly (readonly [string, string])[] = [
      ...inside.map(({ method, path }) => [method, path] as const),
      ['GET', '//internal/conversations'],
      ['GET', '/%69nternal/conversations'],
      ['GET', '/internal%2Fconversations'],
      ['GET', '/INTERNAL/conversations'],
      ['GET', '/api/v1/chat/../../../internal/conversations'],
      ['GET', '/api/v1/chat/conversations/../../../../internal/conversations'],
      ['GET', '/api/v1/chat/conversations/..%2f..%2f..%2f..%2finternal%2fconversations'],
      ['GET', '/api/v1/chat/conversations/%2e%2e/%2e%2e/%2e%2e/%2e%2e/internal/conversations'],
      ['GET', '/api/v1/chat/conversations/..;/..;/..;/..;/internal/conversations'],
      ['GET', '/api/v1/chat/conversations/..\\..\\..\\..\\internal\\conversations'],
      ['GET', '/api/v1/chat/conversations/%252e%252e/%252e%252e/internal/conversations'],
      ['GET', '/api/v1/chat/internal/conversations'],
      ['GET', '/uploads/chat/../../internal/conversations'],
      ['GET', '/uploads/chat/%2e%2e/%2e%2e/internal/conversations'],
      ['GET', '/socket.io/../internal/presence'],
      ['GET', 'http://conversation/internal/conversations'],
      ['GET', 'http://127.0.0.1:5001/internal/conversations'],
    ]
    test.each(targets)('%s %s', async (method, path) => {
      for (const token of [internal(stage), tokenOf('meena')]) {
        const answer = await raw(stage.url(), [
          `${method} ${path} HTTP/1.1`,
          `Host: ${host()}`,
          `Authorization: Bearer ${token}`,
          'Content-Length: 0',
          'Connection: close',
        ])
        // An internal token is no person's, so 401 says that the path was taken for a public one; nobody's answer is 200.
        expect([400, 401, 403, 404]).toContain(answer.status)
        expect(answer.text).not.toContain('"conversations":[')
      }
    })
  })

  test('a service’s token is nobody’s at a public door', async () => {
    for (const door of stage.doors.filter((each) => each !== 'realtime')) {
      const path = { gateway: '/conversations', conversation: '/conversations', media: '/media', stats: '/support/stats' }[
        door as 'gateway'
      ]
      for (const claims of [{}, { sub: 'meena', role: 'Admin' }]) {
        expect((await rest(stage.url(door), internal(stage, {}, claims))(door === 'media' ? 'POST' : 'GET', path)).status).toBe(401)
      }
    }
    const socket = client(stage.url(), internal(stage, {}, { sub: 'meena', role: 'Admin' }), { reconnection: false })
    expect((await socket.next('connect_error')).data).toMatchObject({ code: 'UNAUTHENTICATED' })
    socket.close()
  })

  test('each secret has its own use: the internal one signs no person, the media one neither', async () => {
    const kept = JSON.parse(readFileSync(join(stage.whole.dataDir, 'secrets.json'), 'utf8')) as Record<string, string>
    for (const secret of [kept.INTERNAL_SECRET, kept.MEDIA_SIGNING_SECRET]) {
      const token = jwt.sign({ role: 'Admin' }, String(secret), { subject: 'meena', expiresIn: 60 })
      expect((await rest(stage.url(), token)('GET', '/conversations')).status).toBe(401)
    }
    expect(new Set([stage.whole.secret, kept.INTERNAL_SECRET, kept.MEDIA_SIGNING_SECRET]).size).toBe(3)
  })
})
