// Tokens for trying things, as this run's services accept them.
import type { Role } from '@fieldline/contracts/people'
import jwt from 'jsonwebtoken'

export interface Named {
  role: Role
  sub: string
  firstName: string
  lastName?: string | undefined
  phone?: string | undefined
}

/** @param env `JWT_SECRET` (the newest signs), and `JWT_ISSUER`, `JWT_AUDIENCE` where tokens must have them @param expiresIn a span such as 12h */
export function tokenFor(named: Named, env: Readonly<Record<string, string | undefined>>, expiresIn = '12h'): string {
  const { role, sub, firstName, lastName = '', phone } = named
  const first = (list: string | undefined) => list?.split(',')[0]?.trim()
  const audience = first(env.JWT_AUDIENCE)
  const claims = { role, first_name: firstName, last_name: lastName, ...(phone === undefined ? {} : { phone }) }
  return jwt.sign(claims, first(env.JWT_SECRET) ?? '', {
    subject: sub,
    algorithm: 'HS256',
    expiresIn: expiresIn as jwt.SignOptions['expiresIn'] & string,
    ...(env.JWT_ISSUER ? { issuer: env.JWT_ISSUER } : {}),
    ...(audience ? { audience } : {}),
  })
}
