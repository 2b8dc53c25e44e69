// The polling transport's door: each request goes to the replica its session id names, a new one to whoever is least loaded.
import { AppError } from '@fieldline/contracts/errors'
import type { Part } from '@fieldline/service/lifecycle'
import type { RequestHandler, Response } from 'express'
import { originOf } from './address.ts'
import { checkDeclaredSize, discardRest, hasBody, readBody } from './body.ts'
import { ClientLeft } from './breaker.ts'
import type { GatewayConfig } from './config.ts'
import type { Outgoing } from './exchange.ts'
import { headersIn } from './headers.ts'
import type { Replicas } from './replicas.ts'
import { badHandshake, sessionOf, unknownSession } from './session.ts'

export interface Polling extends Part {
  door: RequestHandler
}

const polls = ['GET', 'POST']

export function createPolling(config: GatewayConfig, replicas: Replicas): Polling {
  const waiting = new Set<Response>()
  let stopping = false

  async function shakeHands(outgoing: Outgoing, res: Response): Promise<void> {
    const candidates = replicas.forHandshake()
    for (const [index, replica] of candidates.entries()) {
      try {
        await replica.upstream.pass(outgoing, res)
        return
      } catch (error) {
        // No session was made where nobody answered, so the next may be asked.
        const last = index === candidates.length - 1
        if (last || res.headersSent || !(error instanceof AppError && error.code === 'UNAVAILABLE')) throw error
      }
    }
    throw new AppError('UNAVAILABLE', 'realtime is not available now')
  }

  return {
    name: 'polling',
    async door(req, res) {
      if (stopping) return void res.destroy()
      waiting.add(res)
      res.once('close', () => waiting.delete(res))
      const carriesBody = hasBody(req)
      if (carriesBody) res.once('finish', () => discardRest(req))
      try {
        const sid = sessionOf(req.originalUrl)
        if (!polls.includes(req.method)) throw new AppError('METHOD_NOT_ALLOWED', 'Socket.IO polls by GET and POST', { allow: polls })
        // Nothing of a body is taken in for a session that nobody has.
        if (sid === undefined && req.method !== 'GET') return void res.status(400).json(badHandshake)
        const owner = sid === undefined ? undefined : await replicas.ownerOf(sid)
        if (sid !== undefined && !owner) return void res.status(400).json(unknownSession)
        checkDeclaredSize(req, config.pollLimitBytes)
        const takesBody = owner !== undefined && carriesBody
        const outgoing: Outgoing = {
          method: req.method,
          path: req.originalUrl,
          headers: headersIn(req, 'realtime', originOf(req, config.trustedProxies), req.requestId),
          body: takesBody ? await readBody(req, { limit: config.pollLimitBytes, withinMs: config.bodyTimeoutMs }) : null,
          timeoutMs: config.pollTimeoutMs,
          idleMs: config.idleTimeoutMs,
          // What a cut poll carried is lost: the client must notice.
          retry: false,
          answer: {},
        }
        await (owner ? owner.upstream.pass(outgoing, res) : shakeHands(outgoing, res))
      } catch (error) {
        if (!(error instanceof ClientLeft)) throw error
        res.destroy()
      }
    },
    async stop() {
      // Waiting polls are cut: a client that loses its transport comes back by itself, elsewhere.
      stopping = true
      for (const res of waiting) res.destroy()
    },
  }
}
