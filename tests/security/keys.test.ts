// Closed: key confusion and everything an identity provider's public keys could be abused for (RFC 8725, 3.1 to 3.10).
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { exportJWK, SignJWT } from 'jose'
import jwt from 'jsonwebtoken'
import { eventually, rest } from '../support/client.ts'
import { type Door, handshake, onTheWhole } from './stage.ts'

const issuer = 'https://id.example.org'
const audience = 'fieldline'
const pairs = {
  RS256: generateKeyPairSync('rsa', { modulusLength: 2_048 }),
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: generateKeyPairSync('ed25519'),
}
const pems = Object.values(pairs).map(({ publicKey }) => publicKey.export({ type: 'spki', format: 'pem' }).toString())
const published = { old: generateKeyPairSync('ec', { namedCurve: 'P-256' }), rotated: generateKeyPairSync('ec', { namedCurve: 'P-256' }) }
const strangers = generateKeyPairSync('rsa', { modulusLength: 2_048 })

interface Keys {
  url: string
  asked: number
  serve: { kid: string; key: KeyObject }[]
  down: boolean
  server: Server
}
/** A key set as an issuer publishes it; `asked` counts. */
async function keySet(serve: Keys['serve']): Promise<Keys> {
  const keys: Keys = { url: '', asked: 0, serve, down: false, server: createServer() }
  keys.server.on('request', (_req, res) => {
    keys.asked += 1
    if (keys.down) {
      res.writeHead(503).end()
      return
    }
    void Promise.all(keys.serve.map(async ({ kid, key }) => ({ ...(await exportJWK(key)), kid, use: 'sig' }))).then((all) =>
      res.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: all })),
    )
  })
  await new Promise<void>((resolve) => keys.server.listen(0, '127.0.0.1', resolve))
  keys.url = `http://127.0.0.1:${(keys.server.address() as AddressInfo).port}/jwks.json`
  return keys
}

let theirs: Keys
let attackers: Keys
const env: Record<string, string> = { JWT_PUBLIC_KEY: pems.join('\n'), JWT_ISSUER: issuer, JWT_AUDIENCE: audience }
beforeAll(async () => {
  theirs = await keySet([{ kid: 'old', key: published.old.publicKey }])
  attackers = await keySet([{ kid: 'old', key: strangers.publicKey }])
  env.JWT_JWKS_URL = theirs.url
})
afterAll(() => {
  for (const { server } of [theirs, attackers]) server.close().closeAllConnections()
})

function sign(alg: string, key: KeyObject | Uint8Array, header: object = {}, claims: object = {}): Promise<string> {
  return new SignJWT({ role: 'Support', sub: 'asha', iss: issuer, aud: audience, exp: Math.floor(Date.now() / 1_000) + 600, ...claims })
    .setProtectedHeader({ alg, ...header })
    .sign(key)
}
const bytes = (text: string) => new TextEncoder().encode(text)
/** Media has no read of its own: past the lock, an upload without a form is a bad request. */
async function uploadOfNothing(url: string, token: string) {
  const { status, body } = await rest(url, token)('POST', '/media')
  return status === 400 || status === 415 ? { status: 200, code: undefined } : { status, code: body.code as string | undefined }
}

onTheWhole(env, (stage) => {
  const overRest = (path: string) => async (url: string, token: string) => {
    const { status, body } = await rest(url, token)('GET', path)
    return { status, code: body.code as string | undefined }
  }
  const ways: readonly (readonly [name: string, door: Door, ask: typeof handshake | ReturnType<typeof overRest>])[] = [
    ['gateway', 'gateway', overRest('/conversations')],
    ['gateway, a socket', 'gateway', handshake],
    ['conversation', 'conversation', overRest('/conversations')],
    ['stats', 'stats', overRest('/support/stats')],
    ['media', 'media', uploadOfNothing],
    ['realtime, a socket', 'realtime', handshake],
  ]
  for (const [name, door, knock] of ways) {
    if (!stage.doors.includes(door)) continue
    const ask = (token: string) => knock(stage.url(door), token)
    describe(name, () => {
      test.each(['RS256', 'ES256', 'EdDSA'] as const)('lets %s in, signed by the key it knows', async (alg) => {
        expect(await ask(await sign(alg, pairs[alg].privateKey))).toEqual({ status: 200, code: undefined })
      })
      test('lets in what a key of the published set signed', async () => {
        expect(await ask(await sign('ES256', published.old.privateKey, { kid: 'old' }))).toEqual({ status: 200, code: undefined })
      })
      test('lets in HS256 by its own secret, checked for issuer and audience too', async () => {
        expect((await ask(await sign('HS256', bytes(stage.whole.secret)))).status).toBe(200)
        expect(await ask(await sign('HS256', bytes(stage.whole.secret), {}, { aud: 'another-app' }))).toEqual({
          status: 401,
          code: 'UNAUTHENTICATED',
        })
      })

      const forgeries: readonly (readonly [string, () => Promise<string> | string])[] = [
        ...pems.map((pem, index) => [`HS256 signed with public key ${index + 1}, as PEM`, () => sign('HS256', bytes(pem))] as const),
        ['HS256 signed with all the PEMs', () => sign('HS256', bytes(pems.join('\n')))],
        ['HS256 signed with a public key, trimmed', () => sign('HS256', bytes((pems[0] ?? '').trim()))],
        ['HS256 signed with a public key in DER', () => sign('HS256', pairs.RS256.publicKey.export({ type: 'spki', format: 'der' }))],
        ['RS256 by a stranger', () => sign('RS256', strangers.privateKey)],
        ['RS256 by a stranger under a kid we know', () => sign('RS256', strangers.privateKey, { kid: 'old' })],
        ['jku to the stranger’s own key set', () => sign('RS256', strangers.privateKey, { kid: 'old', jku: attackers.url })],
        ['x5u to the stranger’s own certificate', () => sign('RS256', strangers.privateKey, { kid: 'old', x5u: attackers.url })],
        [
          'the stranger’s key inside the header',
          async () => sign('RS256', strangers.privateKey, { jwk: await exportJWK(strangers.publicKey) }),
        ],
        ['RS512 by the right key: not among the algorithms', () => sign('RS512', pairs.RS256.privateKey)],
        ['PS256 by the right key: not among the algorithms', () => sign('PS256', pairs.RS256.privateKey)],
        ['another issuer', () => sign('ES256', pairs.ES256.privateKey, {}, { iss: 'https://id.example.org.evil.example' })],
        ['no issuer', () => sign('ES256', pairs.ES256.privateKey, {}, { iss: undefined })],
        ['another audience', () => sign('ES256', pairs.ES256.privateKey, {}, { aud: 'another-app' })],
        ['no audience', () => sign('ES256', pairs.ES256.privateKey, {}, { aud: undefined })],
        ['an audience that only contains ours', () => sign('ES256', pairs.ES256.privateKey, {}, { aud: `x${audience}` })],
        ['never expires', () => sign('ES256', pairs.ES256.privateKey, {}, { exp: undefined })],
        ['not valid yet', () => sign('ES256', pairs.ES256.privateKey, {}, { nbf: Math.floor(Date.now() / 1_000) + 600 })],
        [
          'alg none beside public keys',
          () => jwt.sign({ sub: 'asha', role: 'Admin', iss: issuer, aud: audience }, '', { algorithm: 'none', expiresIn: 60 }),
        ],
      ]
      test.each(forgeries)('refuses a token: %s', async (_name, make) => {
        expect(await ask(await make())).toEqual({ status: 401, code: 'UNAUTHENTICATED' })
      })
      test('refuses one that has expired, and says so', async () => {
        const past = await sign('ES256', pairs.ES256.privateKey, {}, { exp: Math.floor(Date.now() / 1_000) - 600 })
        expect(await ask(past)).toEqual({ status: 401, code: 'TOKEN_EXPIRED' })
      })
    })
  }

  test('no address out of a token was ever called', () => {
    expect(attackers.asked).toBe(0)
  })

  test('a thousand tokens of unknown keys make the issuer’s key set be fetched a few times only', async () => {
    const before = theirs.asked
    const key = strangers.privateKey
    const ask = rest(stage.whole.url, undefined)
    const tokens = await Promise.all(Array.from({ length: 200 }, (_, index) => sign('RS256', key, { kid: `unknown-${index}` })))
    const statuses = await Promise.all(
      tokens.map(
        async (token) => (await ask('GET', '/conversations', undefined, { headers: { authorization: `Bearer ${token}` } })).status,
      ),
    )
    expect(new Set(statuses)).toEqual(new Set([401]))
    expect(theirs.asked - before).toBeLessThanOrEqual(5)
  })

  test('while the issuer is down, known keys go on and unknown ones are still refused', async () => {
    theirs.down = true
    try {
      expect(
        (await rest(stage.whole.url, await sign('ES256', published.old.privateKey, { kid: 'old' }))('GET', '/conversations')).status,
      ).toBe(200)
      const { status } = await rest(stage.whole.url, await sign('RS256', strangers.privateKey, { kid: 'newer' }))('GET', '/conversations')
      expect([401, 503]).toContain(status)
    } finally {
      theirs.down = false
    }
  })

  test('a key the issuer adds is accepted without a restart', async () => {
    theirs.serve = [
      { kid: 'old', key: published.old.publicKey },
      { kid: 'rotated', key: published.rotated.publicKey },
    ]
    const token = await sign('ES256', published.rotated.privateKey, { kid: 'rotated' })
    await eventually(async () => (await rest(stage.whole.url, token)('GET', '/conversations')).status === 200, 45_000)
    theirs.serve = theirs.serve.slice(0, 1)
  }, 60_000)
})
