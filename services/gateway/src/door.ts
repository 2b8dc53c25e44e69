// The REST door: who asks, how much, how large; then the request is passed on to its service.
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import { AppError } from '@fieldline/contracts/errors'
import type { Person } from '@fieldline/contracts/people'
import type { Verifier } from '@fieldline/service/auth'
import { bearerOf } from '@fieldline/service/bearer'
import { limitKey, originOf } from './address.ts'
import { checkDeclaredSize, discardRest, hasBody, readBody, streamBody } from './body.ts'
import type { GatewayConfig } from './config.ts'
import type { Door } from './front.ts'
import { headersIn } from './headers.ts'
import type { LimitClass, Limits } from './limits.ts'
import { type RestUpstream, type Route, type RouteClass, routeOf } from './routes.ts'
import type { Upstream } from './upstream.ts'

export interface DoorDeps {
  config: GatewayConfig
  verifier: Verifier
  limits: Limits
  upstreams: Readonly<Record<RestUpstream, Upstream>>
}

/** Everything under `/api/v1/chat` and `/uploads/chat`. */
export function restDoor({ config, verifier, limits, upstreams }: DoorDeps): Door {
  const timeouts: Record<RouteClass, number> = {
    read: config.readTimeoutMs,
    write: config.writeTimeoutMs,
    upload: config.idleTimeoutMs,
    delivery: config.readTimeoutMs,
  }

  /** The request's route. Where there is none nobody's token is read, so it counts against the address before it is refused. */
  async function routeFor(method: string, url: string, address: string, answer: OutgoingHttpHeaders): Promise<Route> {
    try {
      return routeOf(method, url.split('?', 1)[0] ?? '')
    } catch (error) {
      await take('anonymous', limitKey(address), answer)
      throw error
    }
  }

  /** Whom a valid token names. A bad token counts against its address before it is refused. */
  async function whoAsks(req: IncomingMessage, route: Route, address: string, answer: OutgoingHttpHeaders): Promise<Person | undefined> {
    try {
      if (!route.needsToken && req.headers.authorization === undefined) return undefined
      return await verifier.verify(bearerOf(req.headers.authorization))
    } catch (error) {
      if (!(error instanceof AppError && error.status === 401)) throw error
      // A good link is good whatever token comes with it: media looks at both.
      if (!route.needsToken) return undefined
      await take('anonymous', limitKey(address), answer)
      throw error
    }
  }

  function take(limit: LimitClass, key: string, answer: OutgoingHttpHeaders): Promise<void> {
    return limits.take(limit, key, (standing) => Object.assign(answer, standing))
  }

  return async (req, res, answer, requestId) => {
    const { method = '', url = '' } = req
    const carriesBody = hasBody(req)
    if (carriesBody) res.once('finish', () => discardRest(req))
    const origin = originOf(req, config.trustedProxies)
    const route = await routeFor(method, url, origin.address, answer)
    const person = await whoAsks(req, route, origin.address, answer)
    const [limitClass, key] = limitOf(route, person, origin.address)
    await take(limitClass, key, answer)

    const streamed = route.class === 'upload'
    const limit = streamed ? config.uploadLimitBytes : config.jsonLimitBytes
    checkDeclaredSize(req, limit)
    const headers = headersIn(req, 'rest', origin, requestId)
    // The length is known to whoever counts the files, before they have arrived.
    const length = req.headers['content-length']
    if (streamed && carriesBody && length !== undefined) headers.push('content-length', length)
    const body = !carriesBody
      ? null
      : streamed
        ? streamBody(req, { limit, idleMs: config.idleTimeoutMs })
        : await readBody(req, { limit, withinMs: config.bodyTimeoutMs })
    const { [route.class]: timeoutMs } = timeouts
    const outgoing = { method, path: url, headers, body, timeoutMs, idleMs: config.idleTimeoutMs, retry: !carriesBody, answer }
    await upstreams[route.upstream].pass(outgoing, res)
  }
}

/** A person is counted by id, wherever they are; an address counts only for who names nobody. */
function limitOf(route: Route, person: Person | undefined, address: string): [LimitClass, string] {
  if (!person) return [route.class === 'delivery' ? 'delivery' : 'anonymous', limitKey(address)]
  return [route.class === 'delivery' ? 'read' : route.class, person.id]
}
