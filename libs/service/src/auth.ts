// Who is asking: verifies the caller's token (RFC 8725: algorithms pinned, each kind of key for its own algorithms only).
import { createPublicKey, createSecretKey, type KeyObject } from 'node:crypto'
import { AppError } from '@fieldline/contracts/errors'
import type { Person, Role } from '@fieldline/contracts/people'
import type { RequestHandler } from 'express'
import { errors, type JWTPayload, type JWTVerifyGetKey, type JWTVerifyOptions, jwtVerify } from 'jose'
import jwt from 'jsonwebtoken'
import { LRUCache } from 'lru-cache'
import { bearerOf } from './bearer.ts'
import { type Claims, personReader } from './claims.ts'
import { pemBlocks } from './config.ts'
import { internalAudience } from './internal.ts'
import { createJwks, type Jwks, type JwksOptions } from './jwks.ts'

declare module 'express-serve-static-core' {
  interface Request {
    /** Whom the verified token names; set by `authenticate`. */
    person: Person
    /** The token itself, to be handed on to another service. */
    token: string
  }
}

export interface AuthConfig {
  jwtSecrets: readonly string[]
  jwtPublicKey?: string | undefined
  jwtJwksUrl?: string | undefined
  /** Empty: what fits the keys (HS256; the PEM's own kind; RS256, ES256 and EdDSA with a JWKS). */
  jwtAlgorithms: readonly string[]
  jwtIssuer?: string | undefined
  jwtAudience: readonly string[]
  jwtRequireExp: boolean
  jwtClaims: readonly string[]
  jwtRoles: readonly string[]
}

export interface Verifier {
  /** The person a token names; at once where the key is at hand. @throws AppError UNAUTHENTICATED, TOKEN_EXPIRED, UNAVAILABLE */
  verify(token: string): Person | Promise<Person>
}

const longestToken = 8_192
/** Keys of a set tried for a token that names none. */
const mostKeysTried = 8
const cachedCharacters = 16 * 1_024 * 1_024
/** A key taken out of a JWKS stops counting for cached tokens too after this. */
const cachedMs = 300_000

export function createVerifier(config: AuthConfig, options: { now?: () => number; jwks?: JwksOptions } = {}): Verifier {
  const now = options.now ?? Date.now
  const secrets = config.jwtSecrets.map((secret) => createSecretKey(Buffer.from(secret, 'utf8')))
  const publicKeys = pemBlocks(config.jwtPublicKey ?? '').map((pem) => createPublicKey(pem))
  const jwks = config.jwtJwksUrl === undefined ? undefined : createJwks(config.jwtJwksUrl, options.jwks)
  const algorithms = config.jwtAlgorithms.length > 0 ? [...config.jwtAlgorithms] : fitting(secrets, publicKeys, jwks)
  const symmetric = new Set(secrets.length > 0 ? algorithms.filter((one) => one.startsWith('HS')) : [])
  const asymmetric = new Set(publicKeys.length > 0 || jwks ? algorithms.filter((one) => !one.startsWith('HS')) : [])
  if (symmetric.size + asymmetric.size === 0) throw new Error('No key fits the allowed JWT algorithms')
  const readPerson = personReader(config.jwtClaims, config.jwtRoles)
  const known = new LRUCache<string, { person: Person; until: number }>({
    maxSize: cachedCharacters,
    sizeCalculation: (_entry, token) => token.length + 512,
  })

  function accept(token: string, claims: Claims): Person {
    if (config.jwtRequireExp && typeof claims.exp !== 'number') throw refused('The token never expires')
    const { aud } = claims
    if (aud === internalAudience || (Array.isArray(aud) && aud.includes(internalAudience))) throw refused()
    const person = readPerson(claims)
    if (person.exp !== null && now() >= person.exp * 1_000) throw expired()
    known.set(token, { person, until: now() + cachedMs })
    return person
  }

  const issuer = config.jwtIssuer
  const audience = config.jwtAudience.length > 0 ? [...config.jwtAudience] : undefined

  function bySecret(token: string, algorithm: string): Claims {
    for (const secret of secrets) {
      try {
        const claims = jwt.verify(token, secret, {
          algorithms: [algorithm as jwt.Algorithm],
          clockTimestamp: Math.floor(now() / 1_000),
          ...(issuer === undefined ? {} : { issuer }),
          ...(audience ? { audience: audience as [string, ...string[]] } : {}),
        })
        if (typeof claims === 'string') throw refused()
        return claims
      } catch (error) {
        if (error instanceof jwt.TokenExpiredError) throw expired()
        if (!(error instanceof jwt.JsonWebTokenError && error.message === 'invalid signature')) throw refused()
      }
    }
    throw refused()
  }

  async function byPublicKey(token: string, algorithm: string): Promise<Claims> {
    const checks = {
      algorithms: [algorithm],
      currentDate: new Date(now()),
      ...(issuer === undefined ? {} : { issuer }),
      ...(audience ? { audience } : {}),
    }
    for (const key of publicKeys) {
      const claims = await checkedBy(() => jwtVerify(token, key, checks))
      if (claims) return claims
    }
    if (jwks) {
      const claims = await checkedBy(() => byKeySet(token, jwks, checks))
      if (claims) return claims
    }
    throw refused()
  }

  return {
    verify(token) {
      const cached = known.get(token)
      if (cached) {
        if (cached.person.exp !== null && now() >= cached.person.exp * 1_000) throw expired()
        if (now() < cached.until) return cached.person
      }
      const algorithm = algorithmOf(token)
      if (symmetric.has(algorithm)) return accept(token, bySecret(token, algorithm))
      if (asymmetric.has(algorithm)) return byPublicKey(token, algorithm).then((claims) => accept(token, claims))
      throw refused()
    },
  }
}

/** The token of `Authorization: Bearer`, verified, as `req.person` and `req.token`. Tokens are taken from nowhere else. */
export function authenticate(verifier: Verifier): RequestHandler {
  return (req, _res, next) => {
    const token = bearerOf(req.headers.authorization)
    const person = verifier.verify(token)
    if (person instanceof Promise) return person.then((it) => admit(it))
    admit(person)
    function admit(it: Person): void {
      req.person = it
      req.token = token
      next()
    }
  }
}

export function requireRole(...allowed: readonly Role[]): RequestHandler {
  return (req, _res, next) => {
    if (!allowed.includes(req.person.role)) throw new AppError('FORBIDDEN', `This is for ${allowed.join(' and ')} only`)
    next()
  }
}

/** Read only to choose among the pinned algorithms. */
function algorithmOf(token: string): string {
  if (typeof token !== 'string' || token.length > longestToken || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) throw refused()
  try {
    const header: unknown = JSON.parse(Buffer.from(token.slice(0, token.indexOf('.')), 'base64url').toString('utf8'))
    // We understand no critical extension, so a token that needs one is not for us (RFC 7515, 4.1.11).
    if (typeof header === 'object' && header !== null && !('crit' in header) && 'alg' in header && typeof header.alg === 'string')
      return header.alg
  } catch {
    // Not JSON: refused like the rest.
  }
  throw refused()
}

/** Keys may be rotated without a `kid`, or under the same one: then only the signature tells that the set at hand is an old one. */
async function byKeySet(token: string, jwks: Jwks, checks: JWTVerifyOptions): Promise<{ payload: JWTPayload }> {
  const used = await jwks.current()
  try {
    return await byKeys(token, used, checks)
  } catch (error) {
    const newer = fitsNoKey(error) ? await jwks.newerThan(used) : undefined
    if (!newer) throw error
    return await byKeys(token, newer, checks)
  }
}

function fitsNoKey(error: unknown): boolean {
  return (
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys ||
    error instanceof errors.JWSSignatureVerificationFailed
  )
}

/** While an issuer rotates its keys, a token without a `kid` may be of either: the few that could have signed it are tried. */
async function byKeys(token: string, keys: JWTVerifyGetKey, checks: JWTVerifyOptions): Promise<{ payload: JWTPayload }> {
  try {
    return await jwtVerify(token, keys, checks)
  } catch (several) {
    if (!(several instanceof errors.JWKSMultipleMatchingKeys)) throw several
    let tried = 0
    for await (const key of several) {
      tried += 1
      if (tried > mostKeysTried) break
      try {
        return await jwtVerify(token, key, checks)
      } catch (error) {
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error
      }
    }
    throw several
  }
}

/** Claims, or undefined where another key may still fit. */
async function checkedBy(verification: () => Promise<{ payload: JWTPayload }>): Promise<Claims | undefined> {
  try {
    return (await verification()).payload
  } catch (error) {
    if (error instanceof AppError) throw error
    if (error instanceof errors.JWTExpired) throw expired()
    if (error instanceof errors.JWTClaimValidationFailed) throw refused()
    return undefined
  }
}

function fitting(secrets: readonly KeyObject[], publicKeys: readonly KeyObject[], jwks: Jwks | undefined): string[] {
  const fit = publicKeys.map((key) => {
    if (key.asymmetricKeyType === 'rsa') return 'RS256'
    if (key.asymmetricKeyType === 'ed25519') return 'EdDSA'
    return { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' }[key.asymmetricKeyDetails?.namedCurve ?? ''] ?? 'none'
  })
  return [...(secrets.length > 0 ? ['HS256'] : []), ...fit.filter((one) => one !== 'none'), ...(jwks ? ['RS256', 'ES256', 'EdDSA'] : [])]
}

function refused(message = 'The token is not valid'): AppError {
  return new AppError('UNAUTHENTICATED', message)
}

function expired(): AppError {
  return new AppError('TOKEN_EXPIRED', 'The token has expired')
}
