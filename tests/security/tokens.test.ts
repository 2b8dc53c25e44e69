// Closed: whoever cannot prove who they are, at every door (RFC 8725; OWASP API2:2023 broken authentication).
import { createHmac, generateKeyPairSync, randomBytes } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import jwt from 'jsonwebtoken'
import { rest } from '../support/client.ts'
import { type Door, handshake, onTheWhole, type Stage, tokenOf } from './stage.ts'

const person = { sub: 'asha', role: 'Support', first_name: 'Asha' }
const soon = () => Math.floor(Date.now() / 1_000) + 600
const good = () => ({ ...person, exp: soon() })
const encode = (part: unknown) => Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url')
const unsigned = (header: object, claims: object = good()) => `${encode(header)}.${encode(claims)}.`
const hmac = (secret: string, header: object, claims: object, hash = 'sha256') => {
  const head = `${encode(header)}.${encode(claims)}`
  return `${head}.${createHmac(hash, secret).update(head).digest('base64url')}`
}
const theirs = generateKeyPairSync('rsa', { modulusLength: 2_048 })
const hs = { alg: 'HS256', typ: 'JWT' }
const pem = theirs.privateKey.export({ type: 'pkcs8', format: 'pem' })

/** A token made from the true secret; what it gets. */
type Forgery = readonly [name: string, make: (secret: string) => string, code: 'UNAUTHENTICATED' | 'TOKEN_EXPIRED']
const refused = 'UNAUTHENTICATED'
const forgeries: readonly Forgery[] = [
  ['no signature, alg none', () => unsigned({ alg: 'none' }), refused],
  ['alg none in odd letters', () => unsigned({ alg: 'nOnE' }), refused],
  ['alg none with a signature', () => `${unsigned({ alg: 'none' })}c2ln`, refused],
  ['alg HS256 with the signature cut off', () => unsigned(hs), refused],
  ['no alg at all', (secret) => hmac(secret, { typ: 'JWT' }, good()), refused],
  ['another secret', () => hmac(randomBytes(32).toString('hex'), hs, good()), refused],
  ['an empty secret', () => hmac('', hs, good()), refused],
  ['a secret everyone tries', () => hmac('secret', hs, good()), refused],
  ['another algorithm with the right secret', (secret) => hmac(secret, { alg: 'HS512' }, good(), 'sha512'), refused],
  ['HS512 signed, HS256 claimed', (secret) => hmac(secret, hs, good(), 'sha512'), refused],
  ['RS256 by a key of the attacker’s', () => jwt.sign(good(), pem, { algorithm: 'RS256' }), refused],
  [
    'the attacker’s key in the header (jwk)',
    () => jwt.sign(good(), pem, { algorithm: 'RS256', header: { alg: 'RS256', jwk: theirs.publicKey.export({ format: 'jwk' }) } as never }),
    refused,
  ],
  ['kid as a path to an empty file', () => hmac('', { ...hs, kid: '../../../../../../dev/null' }, good()), refused],
  ['kid as SQL', () => hmac('x', { ...hs, kid: "' UNION SELECT 'x' --" }, good()), refused],
  ['a critical extension nobody understands', (secret) => hmac(secret, { ...hs, crit: ['exp'] }, good()), refused],
  [
    'claims raised after signing',
    (secret) => {
      const [head, , tail] = hmac(secret, hs, { ...good(), role: 'User' }).split('.')
      return `${head}.${encode({ ...good(), role: 'Admin' })}.${tail}`
    },
    refused,
  ],
  [
    'an unsigned token nested in a signed one',
    (secret) => hmac(secret, { ...hs, cty: 'JWT' }, { jwt: unsigned({ alg: 'none' }), exp: soon() }),
    refused,
  ],
  ['expired', (secret) => hmac(secret, hs, { ...person, exp: soon() - 1_200 }), 'TOKEN_EXPIRED'],
  ['never expires', (secret) => hmac(secret, hs, person), refused],
  ['exp as text', (secret) => hmac(secret, hs, { ...person, exp: '99999999999' }), refused],
  ['exp null', (secret) => hmac(secret, hs, { ...person, exp: null }), refused],
  ['not valid yet', (secret) => hmac(secret, hs, { ...good(), nbf: soon() }), refused],
  ['made for services (aud)', (secret) => hmac(secret, hs, { ...good(), aud: 'fieldline-internal' }), refused],
  ['made for services among others (aud list)', (secret) => hmac(secret, hs, { ...good(), aud: ['x', 'fieldline-internal'] }), refused],
  ['nobody’s', (secret) => hmac(secret, hs, { role: 'Support', exp: soon() }), refused],
  ['an empty id', (secret) => hmac(secret, hs, { ...good(), sub: '' }), refused],
  ['an operator for an id', (secret) => hmac(secret, hs, { ...good(), sub: { $ne: null } }), refused],
  ['an id of 129 characters', (secret) => hmac(secret, hs, { ...good(), sub: 'x'.repeat(129) }), refused],
  ['an id with a line break', (secret) => hmac(secret, hs, { ...good(), sub: 'asha\r\nx-admin: 1' }), refused],
  ['an id with half a character', (secret) => hmac(secret, hs, { ...good(), sub: 'asha\ud800' }), refused],
  ['no role', (secret) => hmac(secret, hs, { sub: 'asha', exp: soon() }), refused],
  ['a role nobody has', (secret) => hmac(secret, hs, { ...good(), role: 'Root' }), refused],
  ['a role in other letters', (secret) => hmac(secret, hs, { ...good(), role: 'admin' }), refused],
  ['a role from Object’s prototype', (secret) => hmac(secret, hs, { ...good(), role: 'constructor' }), refused],
  ['an operator for a role', (secret) => hmac(secret, hs, { ...good(), role: { $ne: 'User' } }), refused],
  ['9 KB', (secret) => hmac(secret, hs, { ...good(), pad: 'x'.repeat(9_000) }), refused],
  ['claims that are no object', (secret) => hmac(secret, hs, ['asha'] as never), refused],
  [
    'claims that are no JSON',
    (secret) => {
      const head = `${encode(hs)}.${encode('{"sub":')}`
      return `${head}.${createHmac('sha256', secret).update(head).digest('base64url')}`
    },
    refused,
  ],
  ['no token but three dots', () => '...', refused],
  ['five parts (JWE)', () => `${encode({ alg: 'dir', enc: 'A256GCM' })}..AAAA.AAAA.AAAA`, refused],
]

/** A token shown at a door: what that door answers. */
interface Knock {
  name: string
  door: Door
  knock(stage: Stage, token: string | undefined): Promise<{ status: number; code: string | undefined }>
}
const overRest = (name: string, door: Door, method: string, path: string): Knock => ({
  name,
  door,
  async knock(stage, token) {
    const { status, body } = await rest(stage.url(door), token)(method, path)
    return { status, code: body?.code }
  },
})
const overSocket = (door: 'gateway' | 'realtime', transport: 'websocket' | 'polling'): Knock => ({
  name: `${door}, a socket by ${transport}`,
  door,
  knock: (stage, token) => handshake(stage.url(door), token, { transports: [transport] }),
})
const knocks: readonly Knock[] = [
  overRest('gateway, GET /conversations', 'gateway', 'GET', '/conversations'),
  overRest('gateway, GET /support/stats', 'gateway', 'GET', '/support/stats'),
  overRest('gateway, POST /media', 'gateway', 'POST', '/media'),
  overSocket('gateway', 'websocket'),
  overSocket('gateway', 'polling'),
  overRest('conversation itself', 'conversation', 'GET', '/conversations'),
  overRest('stats itself', 'stats', 'GET', '/support/stats'),
  overRest('media itself', 'media', 'POST', '/media'),
  overSocket('realtime', 'websocket'),
]

onTheWhole({}, (stage) => {
  for (const { name, knock } of knocks.filter((each) => stage.doors.includes(each.door))) {
    describe(name, () => {
      test('lets the right token in', async () => {
        const { status, code } = await knock(stage, tokenOf('asha'))
        // An upload without a form is a bad request: behind the lock all the same.
        expect(name.includes('media') ? [400, 415] : [200]).toContain(status)
        expect(code).not.toBe(refused)
      })
      test('refuses whoever shows none', async () => {
        expect(await knock(stage, undefined)).toEqual({ status: 401, code: refused })
      })
      test.each(forgeries)('refuses a token: %s', async (_forgery, make, code) => {
        expect(await knock(stage, make(stage.whole.secret))).toEqual({ status: 401, code })
      })
    })
  }

  describe('a good token in the wrong place names nobody', () => {
    const token = tokenOf('asha')
    const places: readonly (readonly [string, string, Record<string, string>])[] = [
      ['the query, as token', `?token=${token}`, {}],
      ['the query, as access_token', `?access_token=${token}`, {}],
      ['the query, as authorization', `?authorization=Bearer%20${token}`, {}],
      ['a cookie', '', { cookie: `token=${token}; authorization=Bearer ${token}` }],
      ['x-access-token', '', { 'x-access-token': token }],
      ['proxy-authorization', '', { 'proxy-authorization': `Bearer ${token}` }],
      ['x-forwarded-authorization', '', { 'x-forwarded-authorization': `Bearer ${token}` }],
      ['another scheme', '', { authorization: `Basic ${Buffer.from(`asha:${token}`).toString('base64')}` }],
      ['no scheme', '', { authorization: token }],
      ['a list of two', '', { authorization: `Bearer ${token}, Bearer ${token}` }],
    ]
    for (const door of stage.doors.filter((each) => each !== 'realtime' && each !== 'media')) {
      test.each(places)(`${door}: %s`, async (_place, query, headers) => {
        const path = door === 'stats' ? '/support/stats' : '/conversations'
        expect(await stage.as(undefined, door)('GET', `${path}${query}`, undefined, { headers })).toMatchObject({
          status: 401,
          body: { code: refused },
        })
      })
    }
    for (const door of stage.doors.filter((each) => each === 'gateway' || each === 'realtime')) {
      test.each([
        ['the query', { query: { token } }],
        ['a header', { extraHeaders: { authorization: `Bearer ${token}` }, transports: ['polling'] }],
        ['another field of auth', { auth: { accessToken: token } }],
        ['an object of auth', { auth: { token: { toString: token } } }],
      ])(`${door}, a socket: %s`, async (_place, options) => {
        expect(await handshake(stage.url(door), undefined, options)).toEqual({ status: 401, code: refused })
      })
    }
  })

  describe('headers that claim an identity are worth nothing', () => {
    const forged = {
      'x-user-id': 'meena',
      'x-user-role': 'Admin',
      'x-user': '{"sub":"meena","role":"Admin"}',
      'x-authenticated-user': 'meena',
      'x-forwarded-user': 'meena',
      'x-role': 'Admin',
      'x-original-url': '/internal/heads',
      'x-rewrite-url': '/internal/heads',
      'x-http-method-override': 'GET',
    }
    for (const door of stage.doors.filter((each) => each === 'gateway' || each === 'conversation')) {
      test(`${door}: without a token 401`, async () => {
        expect((await stage.as(undefined, door)('GET', '/conversations', undefined, { headers: forged })).status).toBe(401)
      })
      test(`${door}: beside a farmer’s token still a farmer`, async () => {
        const as = stage.as('rajesh', door)
        expect((await as('GET', '/support/conversations', undefined, { headers: forged })).status).toBe(403)
        const { status, body } = await as('POST', '/conversations', undefined, { headers: forged })
        expect({ status, farmer: body.data?.userId?._id }).toEqual({ status: 200, farmer: 'rajesh' })
      })
    }
  })

  test('nobody learns from a refusal whether the person, the key or the signature was wrong', async () => {
    const answers = await Promise.all(
      [forgeries[0], forgeries[5], forgeries[15]].map(async (forgery) => {
        const { body } = await rest(stage.whole.url, forgery?.[1](stage.whole.secret))('GET', '/conversations')
        return body.message
      }),
    )
    expect(new Set(answers).size).toBe(1)
  })
})
