// Which service answers which path, and by which rules it is passed on. Pure.
import { apiBase } from '@fieldline/contracts/envelopes'
import { AppError } from '@fieldline/contracts/errors'

export type RestUpstream = 'conversation' | 'media' | 'stats'
export type RouteClass = 'read' | 'write' | 'upload' | 'delivery'

export interface Route {
  upstream: RestUpstream
  class: RouteClass
  /** False: signed media links carry their own proof. */
  needsToken: boolean
}

const owners: readonly (readonly [RegExp, RestUpstream])[] = [
  [/^\/(conversations|messages)(\/|$)/, 'conversation'],
  [/^\/support\/stats\/?$/, 'stats'],
  [/^\/support\//, 'conversation'],
  [/^\/media(\/|$)/, 'media'],
]
const reading = ['GET', 'HEAD']
const methods = [...reading, 'POST', 'PUT', 'PATCH', 'DELETE']

/** @param path without its query. @throws AppError NOT_FOUND, METHOD_NOT_ALLOWED, BAD_REQUEST */
export function routeOf(method: string, path: string): Route {
  refuseTricks(path)
  if (path.startsWith('/uploads/chat/')) {
    if (!reading.includes(method)) throw notAllowed(method, reading)
    return { upstream: 'media', class: 'delivery', needsToken: false }
  }
  const rest = path.startsWith(`${apiBase}/`) ? path.slice(apiBase.length) : ''
  const upstream = owners.find(([pattern]) => pattern.test(rest))?.[1]
  if (!upstream) throw new AppError('NOT_FOUND', `There is no ${method} ${path.slice(0, 200)}`)
  if (!methods.includes(method)) throw notAllowed(method, methods)
  return { upstream, class: reading.includes(method) ? 'read' : upstream === 'media' ? 'upload' : 'write', needsToken: true }
}

function notAllowed(method: string, allow: readonly string[]): AppError {
  return new AppError('METHOD_NOT_ALLOWED', `${method.slice(0, 20)} is not allowed here`, { allow })
}

/** A path is passed on as it came, so whatever two readers might read differently is refused. */
export function refuseTricks(path: string): void {
  const decoded = decode(path)
  const odd =
    decoded === undefined ||
    path.includes('//') ||
    path.includes('\\') ||
    /(^|\/)\.{1,2}(\/|$)/.test(decoded) ||
    decoded.includes('\\') ||
    decoded.includes('\0')
  if (odd) throw new AppError('BAD_REQUEST', 'The path is malformed')
}

function decode(path: string): string | undefined {
  if (!path.includes('%')) return path
  try {
    return decodeURIComponent(path)
  } catch {
    return undefined
  }
}
