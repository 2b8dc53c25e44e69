// How services recognise one another on `/internal/*`: short-lived HS256 tokens of an audience that people's tokens never have.
import { createSecretKey } from 'node:crypto'
import { AppError } from '@fieldline/contracts/errors'
import type { RequestHandler } from 'express'
import jwt from 'jsonwebtoken'
import { bearerOf } from './bearer.ts'

export const internalAudience = 'fieldline-internal'

declare module 'express-serve-static-core' {
  interface Request {
    /** The service that calls; set by `requireInternal`. */
    caller: string
  }
}

export interface InternalTokens {
  /** A token of this service, good for a minute at least. */
  issue(): string
  /** The name of the calling service. @throws AppError UNAUTHENTICATED */
  verify(token: string): string
}

const lifeSeconds = 120
/** Machines' clocks differ a little. */
const toleranceSeconds = 30

/** @param secrets newest first: the first signs, all verify */
export function createInternalTokens({ secrets, name }: { secrets: readonly string[]; name: string }): InternalTokens {
  const keys = secrets.map((secret) => createSecretKey(Buffer.from(secret, 'utf8')))
  const [newest] = keys
  if (!newest) throw new Error('Internal tokens need a secret')
  let current = { token: '', renewAt: 0 }
  return {
    issue() {
      const now = Date.now()
      if (now >= current.renewAt || now < current.renewAt - (lifeSeconds * 1_000) / 2) {
        const token = jwt.sign({}, newest, { algorithm: 'HS256', audience: internalAudience, issuer: name, expiresIn: lifeSeconds })
        current = { token, renewAt: now + (lifeSeconds * 1_000) / 2 }
      }
      return current.token
    },
    verify(token) {
      for (const key of keys) {
        try {
          const claims = jwt.verify(token, key, { algorithms: ['HS256'], audience: internalAudience, clockTolerance: toleranceSeconds })
          if (typeof claims === 'object' && typeof claims.exp === 'number' && typeof claims.iss === 'string') return claims.iss
        } catch {
          // Another secret may fit.
        }
      }
      throw new AppError('UNAUTHENTICATED', 'This is for services only')
    },
  }
}

/** Lets services through, by their token, as `req.caller`; everybody else gets 401. */
export function requireInternal(tokens: InternalTokens): RequestHandler {
  return (req, _res, next) => {
    req.caller = tokens.verify(bearerOf(req.headers.authorization))
    next()
  }
}
