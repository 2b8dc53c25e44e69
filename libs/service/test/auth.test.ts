import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { AppError } from '@fieldline/contracts/errors'
import { meena, rajesh, testInternalSecret, testSecret, tokenFor } from '@fieldline/testing/factories'
import { afterEach, describe, expect, test } from '@jest/globals'
import { exportJWK, SignJWT } from 'jose'
import jwt from 'jsonwebtoken'
import { type AuthConfig, createVerifier, type Verifier } from '../src/auth.ts'
import { createInternalTokens } from '../src/internal.ts'
import { createLogger } from '../src/logger.ts'

const base: AuthConfig = { jwtSecrets: [testSecret], jwtAlgorithms: [], jwtAudience: [], jwtRequireExp: true, jwtClaims: [], jwtRoles: [] }
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const ed = generateKeyPairSync('ed25519')
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const pem = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' }).toString()

async function codeOf(verifier: Verifier, token: string): Promise<string> {
  try {
    await verifier.verify(token)
    return 'accepted'
  } catch (error) {
    if (error instanceof AppError) return error.code
    throw error
  }
}
const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const soon = () => Math.floor(Date.now() / 1_000) + 60

describe('a caller’s token', () => {
  test('names its person', () => {
    expect(createVerifier(base).verify(tokenFor(rajesh))).toMatchObject({
      id: 'rajesh',
      role: 'User',
      firstName: 'Rajesh',
      lastName: 'Kumar',
      phone: '+919876543210',
      exp: expect.any(Number),
    })
  })

  test('without a signature is refused, however its algorithm is spelled', async () => {
    for (const alg of ['none', 'None', 'NONE', '']) {
      const token = `${part({ alg, typ: 'JWT' })}.${part({ sub: 'rajesh', role: 'Admin', exp: soon() })}.`
      expect(await codeOf(createVerifier(base), token)).toBe('UNAUTHENTICATED')
      expect(await codeOf(createVerifier(base), `${token}AAAA`)).toBe('UNAUTHENTICATED')
    }
  })

  test('signed HS256 with the public key as the secret is refused', async () => {
    const key = pem(rsa.publicKey)
    const head = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: 'rajesh', role: 'Admin', exp: soon() })}`
    const forged = `${head}.${createHmac('sha256', key).update(head).digest('base64url')}`
    const trimmed = `${head}.${createHmac('sha256', key.trim()).update(head).digest('base64url')}`
    for (const config of [
      { ...base, jwtSecrets: [], jwtPublicKey: key },
      { ...base, jwtPublicKey: key },
      { ...base, jwtPublicKey: key, jwtAlgorithms: ['RS256', 'HS256'] },
    ]) {
      expect(await codeOf(createVerifier(config), forged)).toBe('UNAUTHENTICATED')
      expect(await codeOf(createVerifier(config), trimmed)).toBe('UNAUTHENTICATED')
    }
  })

  test('of an algorithm that is not pinned is refused, though the key fits', async () => {
    const token = jwt.sign({ sub: 'rajesh', role: 'User' }, testSecret, { algorithm: 'HS512', expiresIn: 60 })
    expect(await codeOf(createVerifier(base), token)).toBe('UNAUTHENTICATED')
    expect(await codeOf(createVerifier({ ...base, jwtAlgorithms: ['HS512'] }), token)).toBe('accepted')
  })

  test.each([
    ['RS256', rsa],
    ['EdDSA', ed],
    ['ES256', ec],
  ] as const)('of %s is verified by a PEM', async (alg, keys) => {
    const token = await new SignJWT({ role: 'Support' })
      .setProtectedHeader({ alg })
      .setSubject('meena')
      .setExpirationTime('5m')
      .sign(keys.privateKey)
    const config = { ...base, jwtSecrets: [], jwtPublicKey: pem(keys.publicKey) }
    expect(await createVerifier(config).verify(token)).toMatchObject({ id: 'meena', role: 'Support' })
    const tampered = `${token.slice(0, -6)}AAAAAA`
    expect(await codeOf(createVerifier(config), tampered)).toBe('UNAUTHENTICATED')
  })

  test('is refused after its time, before its time, and without a time', async () => {
    const verifier = createVerifier(base)
    expect(await codeOf(verifier, tokenFor(rajesh, { expiresIn: -1 }))).toBe('TOKEN_EXPIRED')
    expect(await codeOf(verifier, tokenFor(rajesh, { claims: { nbf: soon() } }))).toBe('UNAUTHENTICATED')
    const eternal = jwt.sign({ sub: 'rajesh', role: 'User' }, testSecret)
    expect(await codeOf(verifier, eternal)).toBe('UNAUTHENTICATED')
    expect(createVerifier({ ...base, jwtRequireExp: false }).verify(eternal)).toMatchObject({ exp: null })
  })

  test('that was accepted once still expires', async () => {
    let now = Date.now()
    const verifier = createVerifier(base, { now: () => now })
    const token = tokenFor(rajesh, { expiresIn: 10 })
    expect(verifier.verify(token)).toBe(verifier.verify(token))
    now += 11_000
    expect(await codeOf(verifier, token)).toBe('TOKEN_EXPIRED')
  })

  test('of another issuer or audience is refused', async () => {
    const verifier = createVerifier({ ...base, jwtIssuer: 'idp', jwtAudience: ['chat', 'app'] })
    expect(await codeOf(verifier, tokenFor(rajesh, { issuer: 'idp', audience: 'app' }))).toBe('accepted')
    expect(await codeOf(verifier, tokenFor(rajesh, { issuer: 'other', audience: 'app' }))).toBe('UNAUTHENTICATED')
    expect(await codeOf(verifier, tokenFor(rajesh, { issuer: 'idp', audience: 'shop' }))).toBe('UNAUTHENTICATED')
    expect(await codeOf(verifier, tokenFor(rajesh))).toBe('UNAUTHENTICATED')
  })

  test('of any secret in the list is accepted while they rotate', async () => {
    const verifier = createVerifier({ ...base, jwtSecrets: ['the-new-secret', testSecret] })
    expect(await codeOf(verifier, tokenFor(rajesh))).toBe('accepted')
    expect(await codeOf(verifier, tokenFor(rajesh, { secret: 'the-new-secret' }))).toBe('accepted')
    expect(await codeOf(verifier, tokenFor(rajesh, { secret: 'another' }))).toBe('UNAUTHENTICATED')
    expect(await codeOf(verifier, tokenFor(rajesh, { expiresIn: -1 }))).toBe('TOKEN_EXPIRED')
  })

  test('that is huge, broken or needs an unknown extension is refused', async () => {
    const verifier = createVerifier(base)
    const critical = jwt.sign({ sub: 'rajesh', role: 'User' }, testSecret, {
      expiresIn: 60,
      header: { alg: 'HS256', crit: ['x'], x: 1 } as unknown as jwt.JwtHeader,
    })
    for (const token of [
      tokenFor(rajesh, { claims: { padding: 'x'.repeat(9_000) } }),
      '',
      'a.b',
      'a.b.c',
      'é.é.é',
      `${part(null)}.${part(1)}.x`,
      critical,
    ]) {
      expect(await codeOf(verifier, token)).toBe('UNAUTHENTICATED')
    }
  })

  test('of a service is no person’s, even where both secrets are the same', async () => {
    const inner = createInternalTokens({ secrets: [testSecret], name: 'media' }).issue()
    expect(await codeOf(createVerifier(base), inner)).toBe('UNAUTHENTICATED')
    const dressed = tokenFor(rajesh, { audience: 'fieldline-internal' })
    expect(await codeOf(createVerifier(base), dressed)).toBe('UNAUTHENTICATED')
  })

  test('names its person by sub, id, _id or userId, in this order, never by an object or a control character', async () => {
    const verifier = createVerifier(base)
    const sign = (claims: object) => jwt.sign({ role: 'User', ...claims }, testSecret, { expiresIn: 60 })
    expect(verifier.verify(sign({ userId: 'd', _id: 'c', id: 'b', sub: 'a' }))).toMatchObject({ id: 'a' })
    expect(verifier.verify(sign({ userId: 'd', _id: 'c' }))).toMatchObject({ id: 'c' })
    expect(verifier.verify(sign({ userId: 'd' }))).toMatchObject({ id: 'd' })
    for (const claims of [{}, { id: { $ne: null } }, { id: 7 }, { id: 'x'.repeat(129) }, { id: 'a\nb' }, { id: 'a\ud800' }])
      expect(await codeOf(verifier, sign(claims))).toBe('UNAUTHENTICATED')
  })

  test('may call claims and roles by other names', async () => {
    const verifier = createVerifier({
      ...base,
      jwtClaims: ['sub=uid', 'role=realm.roles', 'first_name=https://x.example/given'],
      jwtRoles: ['User=farmer|customer', 'Support=agent'],
    })
    const sign = (claims: object) => jwt.sign(claims, testSecret, { expiresIn: 60 })
    expect(
      verifier.verify(sign({ uid: 'u', realm: { roles: ['viewer', 'farmer', 'agent'] }, 'https://x.example/given': 'Gita' })),
    ).toMatchObject({ id: 'u', role: 'Support', firstName: 'Gita' })
    expect(await codeOf(verifier, sign({ sub: 'u', realm: { roles: ['farmer'] } }))).toBe('UNAUTHENTICATED')
    expect(await codeOf(verifier, sign({ uid: 'u', realm: { roles: ['User'] } }))).toBe('UNAUTHENTICATED')
    expect(await codeOf(createVerifier(base), tokenFor(rajesh, { claims: { role: '__proto__' } }))).toBe('UNAUTHENTICATED')
  })
})

describe('keys of an identity provider (JWKS)', () => {
  let server: Server | undefined
  afterEach(() => {
    server?.close()
    server?.closeAllConnections()
  })

  async function serve(
    keys: () => { status: number; body: unknown },
  ): Promise<{ url: string; asked: () => number; close: () => Promise<void> }> {
    let asked = 0
    const made = createServer((_req, res) => {
      asked += 1
      const { status, body } = keys()
      res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    })
    server = made
    await new Promise<void>((resolve) => made.listen(0, '127.0.0.1', resolve))
    const close = () =>
      new Promise<void>((resolve) => {
        made.close(() => resolve())
        made.closeAllConnections()
      })
    return { url: `http://127.0.0.1:${(made.address() as AddressInfo).port}/`, asked: () => asked, close }
  }
  const sign = (key: KeyObject, kid: string | undefined, sub = 'meena') =>
    new SignJWT({ role: 'Support' })
      .setProtectedHeader({ alg: 'RS256', ...(kid === undefined ? {} : { kid }) })
      .setSubject(sub)
      .setExpirationTime('5m')
      .sign(key)
  const jwk = async (key: KeyObject, kid: string | undefined) => ({
    ...(await exportJWK(key)),
    ...(kid === undefined ? {} : { kid }),
    alg: 'RS256',
  })

  test.each([
    ['under another key id', 'one', 'two'],
    ['under the same key id', 'one', 'one'],
    ['without a key id', undefined, undefined],
  ])('a key rotated %s is fetched when it shows up', async (_how, before, after) => {
    const next = generateKeyPairSync('rsa', { modulusLength: 2048 })
    let keys = [await jwk(rsa.publicKey, before)]
    const provider = await serve(() => ({ status: 200, body: { keys } }))
    const verifier = createVerifier({ ...base, jwtSecrets: [], jwtJwksUrl: provider.url }, { jwks: { cooldownMs: 0 } })
    expect(await codeOf(verifier, await sign(rsa.privateKey, before))).toBe('accepted')
    keys = [await jwk(next.publicKey, after)]
    expect(await codeOf(verifier, await sign(next.privateKey, after))).toBe('accepted')
    expect(await codeOf(verifier, await sign(rsa.privateKey, before, 'asha'))).toBe('UNAUTHENTICATED')
  })

  test('while two keys without an id are published, a third that takes their place is fetched too', async () => {
    const [second, third] = [generateKeyPairSync('rsa', { modulusLength: 2048 }), generateKeyPairSync('rsa', { modulusLength: 2048 })]
    let keys = [await jwk(rsa.publicKey, undefined), await jwk(second.publicKey, undefined)]
    const provider = await serve(() => ({ status: 200, body: { keys } }))
    const verifier = createVerifier({ ...base, jwtSecrets: [], jwtJwksUrl: provider.url }, { jwks: { cooldownMs: 0 } })
    expect(await codeOf(verifier, await sign(second.privateKey, undefined))).toBe('accepted')
    keys = [await jwk(second.publicKey, undefined), await jwk(third.publicKey, undefined)]
    expect(await codeOf(verifier, await sign(third.privateKey, undefined))).toBe('accepted')
  })

  test('everybody who comes with a new key at once is accepted, by one fetch', async () => {
    const next = generateKeyPairSync('rsa', { modulusLength: 2048 })
    let keys = [await jwk(rsa.publicKey, undefined)]
    const provider = await serve(() => ({ status: 200, body: { keys } }))
    const verifier = createVerifier({ ...base, jwtSecrets: [], jwtJwksUrl: provider.url }, { jwks: { cooldownMs: 0 } })
    expect(await codeOf(verifier, await sign(rsa.privateKey, undefined))).toBe('accepted')
    keys = [await jwk(next.publicKey, undefined)]
    const tokens = await Promise.all(Array.from({ length: 20 }, (_, n) => sign(next.privateKey, undefined, `agent-${n}`)))
    expect(await Promise.all(tokens.map((token) => codeOf(verifier, token)))).toEqual(Array(20).fill('accepted'))
    expect(provider.asked()).toBe(2)
  })

  test.each([
    ['unknown key ids', (n: number) => `unknown-${n}`],
    ['wrong signatures', () => 'one'],
    ['wrong signatures of no key id', () => undefined],
  ])('%s are no flood on the provider', async (_what, kidOf) => {
    const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const keys = [await jwk(rsa.publicKey, 'one')]
    const provider = await serve(() => ({ status: 200, body: { keys } }))
    const verifier = createVerifier({ ...base, jwtSecrets: [], jwtJwksUrl: provider.url })
    for (let n = 0; n < 20; n += 1) expect(await codeOf(verifier, await sign(stranger.privateKey, kidOf(n)))).toBe('UNAUTHENTICATED')
    expect(provider.asked()).toBe(1)
  })

  test('known keys serve on while the provider is away; without any, it is our fault and passing', async () => {
    const keys = [await jwk(rsa.publicKey, 'one')]
    const provider = await serve(() => ({ status: 200, body: { keys } }))
    const verifier = createVerifier({ ...base, jwtSecrets: [], jwtJwksUrl: provider.url }, { jwks: { maxAgeMs: 0, cooldownMs: 0 } })
    expect(await codeOf(verifier, await sign(rsa.privateKey, 'one'))).toBe('accepted')
    await provider.close()
    expect(await codeOf(verifier, await sign(rsa.privateKey, 'one', 'asha'))).toBe('accepted')
    const cold = createVerifier({ ...base, jwtSecrets: [], jwtJwksUrl: provider.url })
    expect(await codeOf(cold, await sign(rsa.privateKey, 'one'))).toBe('UNAVAILABLE')
  })

  test('while two keys are published, a token that names neither is checked against both', async () => {
    const next = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const provider = await serve(() => ({ status: 200, body: { keys } }))
    const keys = [await jwk(rsa.publicKey, 'one'), await jwk(next.publicKey, 'two')]
    const verifier = createVerifier({ ...base, jwtSecrets: [], jwtJwksUrl: provider.url })
    for (const { privateKey } of [rsa, next]) expect(await codeOf(verifier, await sign(privateKey, undefined))).toBe('accepted')
    const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 })
    expect(await codeOf(verifier, await sign(stranger.privateKey, undefined))).toBe('UNAUTHENTICATED')
  })

  test('a provider that cannot be asked is told in the log, with the reason', async () => {
    const lines: string[] = []
    const log = createLogger({ logLevel: 'warn' }, 'test', { write: (line: string) => void lines.push(line) })
    const verifier = createVerifier({ ...base, jwtSecrets: [], jwtJwksUrl: 'http://127.0.0.1:9/' }, { jwks: { log } })
    expect(await codeOf(verifier, await sign(rsa.privateKey, 'one'))).toBe('UNAVAILABLE')
    expect(lines.join('')).toMatch(/no keys from the identity provider.*ECONNREFUSED|ECONNREFUSED.*no keys from the identity provider/)
  })

  test('a symmetric key in the public set signs nothing', async () => {
    const provider = await serve(() => ({
      status: 200,
      body: { keys: [{ kty: 'oct', k: Buffer.from(testSecret).toString('base64url'), kid: 'one', alg: 'HS256' }] },
    }))
    const verifier = createVerifier({ ...base, jwtSecrets: [], jwtJwksUrl: provider.url })
    expect(await codeOf(verifier, jwt.sign({ sub: 'x', role: 'Admin' }, testSecret, { keyid: 'one', expiresIn: 60 }))).toBe(
      'UNAUTHENTICATED',
    )
  })
})

describe('a service’s own token', () => {
  const tokens = createInternalTokens({ secrets: [testInternalSecret], name: 'realtime' })
  test('is known by every service with the secret, also an older one', () => {
    expect(createInternalTokens({ secrets: ['newer', testInternalSecret], name: 'media' }).verify(tokens.issue())).toBe('realtime')
    expect(tokens.issue()).toBe(tokens.issue())
  })

  test('is nothing that a person has, an expired one, or one of another secret', () => {
    const wrong = [
      tokenFor(meena, { secret: testInternalSecret }),
      tokenFor(meena),
      jwt.sign({}, testInternalSecret, { audience: 'fieldline-internal', issuer: 'x', expiresIn: -60 }),
      jwt.sign({}, testInternalSecret, { audience: 'fieldline-internal', issuer: 'x' }),
      createInternalTokens({ secrets: ['another'], name: 'x' }).issue(),
    ]
    for (const token of wrong) expect(() => tokens.verify(token)).toThrow(AppError)
  })
})
