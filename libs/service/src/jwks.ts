// An identity provider's public keys (JWKS): cached, refreshed when a token fits none of them, and served on while the provider is away.
import { AppError } from '@fieldline/contracts/errors'
import { createLocalJWKSet, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose'
import { request } from 'undici'
import type { Logger } from './logger.ts'

export interface JwksOptions {
  /** Refreshed in the background from this age on. Default 5 min. */
  maxAgeMs?: number
  /** Not trusted any more from this age on. Default 24 h. */
  staleMs?: number
  /** Least time between two fetches, whoever asks: tokens that fit no key must not become a flood. Default 10 s. */
  cooldownMs?: number
  timeoutMs?: number
  log?: Logger
}

export interface Jwks {
  /** The keys at hand. @throws AppError UNAVAILABLE while none could ever be had */
  current(): Promise<JWTVerifyGetKey>
  /** The keys that took the place of `used`, which a token did not fit; undefined where there are none. */
  newerThan(used: JWTVerifyGetKey): Promise<JWTVerifyGetKey | undefined>
}

const largest = 1_048_576

export function createJwks(url: string, options: JwksOptions = {}): Jwks {
  const { maxAgeMs = 300_000, staleMs = 86_400_000, cooldownMs = 10_000, timeoutMs = 5_000, log } = options
  let keys: JWTVerifyGetKey | undefined
  let fetchedAt = Number.NEGATIVE_INFINITY
  let triedAt = Number.NEGATIVE_INFINITY
  let fetching: Promise<void> | undefined

  /** Resolves when there was a try; whether it brought keys shows in `keys`. */
  function refresh(): Promise<void> {
    if (fetching) return fetching
    if (performance.now() - triedAt < cooldownMs) return Promise.resolve()
    triedAt = performance.now()
    fetching = fetchKeys(url, timeoutMs)
      .then(
        (fetched) => {
          keys = createLocalJWKSet(fetched)
          fetchedAt = performance.now()
        },
        (error: unknown) => log?.warn({ err: error }, 'no keys from the identity provider'),
      )
      .finally(() => {
        fetching = undefined
      })
    return fetching
  }

  return {
    async current() {
      const age = performance.now() - fetchedAt
      if (age > staleMs) keys = undefined
      if (!keys) await refresh()
      else if (age > maxAgeMs) void refresh()
      if (!keys) throw new AppError('UNAVAILABLE', 'Tokens cannot be verified now')
      return keys
    },
    async newerThan(used) {
      if (keys === used) await refresh()
      return keys === used ? undefined : keys
    },
  }
}

async function fetchKeys(url: string, timeoutMs: number): Promise<JSONWebKeySet> {
  const { statusCode, body } = await request(url, { headers: { accept: 'application/json' }, signal: AbortSignal.timeout(timeoutMs) })
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body) {
    size += (chunk as Buffer).length
    if (size > largest) throw new Error('the key set is too large')
    chunks.push(chunk as Buffer)
  }
  if (statusCode !== 200) throw new Error(`the key set's address answered ${statusCode}`)
  const set: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'))
  if (typeof set !== 'object' || set === null || !('keys' in set) || !Array.isArray(set.keys)) throw new Error('what came is no key set')
  // A symmetric key in a public set would let anyone sign.
  return { keys: set.keys.filter((key) => typeof key === 'object' && key !== null && key.kty !== 'oct') }
}
