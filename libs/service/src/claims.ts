// From a token's claims to the person it names (spec 1), with the renames an identity provider may need. Pure.
import { AppError } from '@fieldline/contracts/errors'
import { PersonId } from '@fieldline/contracts/ids'
import { type Person, type Role, roles } from '@fieldline/contracts/people'

export type Claims = Readonly<Record<string, unknown>>
export type ReadPerson = (claims: Claims) => Person

const idClaims = ['sub', 'id', '_id', 'userId']
const longestName = 256
const longestPhone = 64
/** When a token names several roles, the one that may most counts. */
const mostFirst: readonly Role[] = ['Admin', 'Support', 'User']

/** @param renames `['sub=uid', 'role=roles']` @param roleNames `['User=farmer|customer', 'Support=agent']`; a role named here has no other name */
export function personReader(renames: readonly string[], roleNames: readonly string[]): ReadPerson {
  const claimNames = new Map(renames.map(pair))
  const roleOf = new Map<string, Role>()
  const named = new Map(roleNames.map(pair))
  for (const role of roles) for (const name of (named.get(role) ?? role).split('|')) roleOf.set(name, role)
  const ids = claimNames.has('sub') ? [claimNames.get('sub') ?? 'sub'] : idClaims
  const get = (claims: Claims, name: string) => lookUp(claims, claimNames.get(name) ?? name)

  return (claims) => {
    const given = ids.map((name) => lookUp(claims, name)).find((value) => value !== undefined && value !== null && value !== '')
    const id = PersonId.safeParse(given)
    // Half a character is another one to each store that replaces it: two people would become one.
    if (!id.success || !id.data.isWellFormed()) throw new AppError('UNAUTHENTICATED', 'The token does not name a person')
    const roleClaim = get(claims, 'role')
    const held = (Array.isArray(roleClaim) ? roleClaim : [roleClaim]).map((name) =>
      typeof name === 'string' ? roleOf.get(name) : undefined,
    )
    const role = mostFirst.find((one) => held.includes(one))
    if (!role) throw new AppError('UNAUTHENTICATED', 'The token names no role that is known here')
    return Object.freeze({
      id: id.data,
      role,
      firstName: text(get(claims, 'first_name'), longestName),
      lastName: text(get(claims, 'last_name'), longestName),
      phone: text(get(claims, 'phone'), longestPhone) || null,
      iat: typeof claims.iat === 'number' && Number.isFinite(claims.iat) ? claims.iat : 0,
      exp: typeof claims.exp === 'number' ? claims.exp : null,
    })
  }
}

function pair(rename: string): [string, string] {
  const at = rename.indexOf('=')
  return [rename.slice(0, at), rename.slice(at + 1)]
}

/** A claim by its own name, dots and all (`https://example.com/roles`), else by a path into objects (`realm_access.roles`). */
function lookUp(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name]
  let value: unknown = claims
  for (const step of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined
    value = (value as Claims)[step]
  }
  return value
}

function text(value: unknown, longest: number): string {
  if (typeof value !== 'string') return ''
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are exactly what is taken out
  return [...value.replace(/[\u0000-\u001f\u007f]/g, ' ').trim()].slice(0, longest).join('')
}
