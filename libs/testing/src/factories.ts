// The people of our tests, and tokens that name them.
import type { Person, Role } from '@fieldline/contracts/people'
import jwt from 'jsonwebtoken'

export const testSecret = 'the-secret-that-only-tests-know-0123456789'
export const testInternalSecret = 'the-inner-secret-only-tests-know-0123456789'

export function person(role: Role, id: string, more: Partial<Person> = {}): Person {
  return {
    id,
    role,
    firstName: id.charAt(0).toUpperCase() + id.slice(1),
    lastName: '',
    phone: null,
    iat: 1_700_000_000,
    exp: null,
    ...more,
  }
}

/** Farmers. */
export const rajesh = person('User', 'rajesh', { lastName: 'Kumar', phone: '+919876543210' })
export const sunita = person('User', 'sunita', { lastName: 'Devi', phone: '+919876543211' })
/** Agents. */
export const meena = person('Support', 'meena', { lastName: 'Iyer' })
export const asha = person('Support', 'asha', { lastName: 'Rao' })
export const admin = person('Admin', 'admin', { firstName: 'Anil' })

export interface TokenOptions {
  secret?: string
  /** As jsonwebtoken reads it: seconds or `5m`; negative for one that has expired. Default 1 h. */
  expiresIn?: number | '5m' | '1h' | '1d'
  /** Claims beside or instead of the person's. */
  claims?: Record<string, unknown>
  issuer?: string
  audience?: string
}

/** A token of the seed's claims, HS256. */
export function tokenFor(who: Person, { secret = testSecret, expiresIn = '1h', claims = {}, issuer, audience }: TokenOptions = {}): string {
  const { id, role, firstName, lastName, phone } = who
  return jwt.sign({ sub: id, role, first_name: firstName, last_name: lastName, ...(phone === null ? {} : { phone }), ...claims }, secret, {
    algorithm: 'HS256',
    ...('exp' in claims ? {} : { expiresIn }),
    ...(issuer === undefined ? {} : { issuer }),
    ...(audience === undefined ? {} : { audience }),
  })
}
