// A gateway on a free port with real servers of its own behind it, and the people who ask it.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { loadConfig } from '@fieldline/service/config'
import { createInternalTokens } from '@fieldline/service/internal'
import type { App } from '@fieldline/service/lifecycle'
import { silentLogger } from '@fieldline/service/logger'
import jwt from 'jsonwebtoken'
import { createApp, type GatewayDeps } from '../../src/app.ts'
import { fields } from '../../src/config.ts'

export const jwtSecret = 'gateway-tests-jwt-secret-0123456789'
export const internalSecret = 'gateway-tests-internal-secret-01234'
export const internalTokens = createInternalTokens({ secrets: [internalSecret], name: 'tests' })

export function tokenOf(sub: string, role = 'User', options: jwt.SignOptions = {}): string {
  return jwt.sign({ role, first_name: 'Rajesh', last_name: 'Kumar' }, jwtSecret, { subject: sub, expiresIn: '1h', ...options })
}
export function bearer(sub: string, role = 'User'): { authorization: string } {
  return { authorization: `Bearer ${tokenOf(sub, role)}` }
}

export interface Behind {
  url: string
  server: Server
  /** Requests seen, oldest first. */
  seen: IncomingMessage[]
  stop(): Promise<void>
}
type Answer = (req: IncomingMessage, res: ServerResponse) => unknown

/** A service behind the gateway that answers as told. */
export async function behind(answer: Answer, port = 0): Promise<Behind> {
  const seen: IncomingMessage[] = []
  const server = createServer((req, res) => {
    seen.push(req)
    req.on('error', () => undefined)
    answer(req, res)
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    server,
    seen,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

export const answerJson: Answer = (req, res) => {
  req.resume()
  res.setHeader('Content-Type', 'application/json')
  res.end(JSON.stringify({ message: 'ok', data: { path: req.url } }))
}

/** A port where nobody listens. */
export async function deadUrl(): Promise<string> {
  const server = await behind(answerJson)
  await server.stop()
  return server.url
}

export interface Stage {
  url: string
  app: App
  stop(): Promise<void>
}

/** @param env what differs from: one service for everything, short times, no rate limits */
export async function gateway(env: Record<string, string>, deps: GatewayDeps = {}): Promise<Stage> {
  const everything = env.ALL_URL ?? 'http://127.0.0.1:9'
  const config = loadConfig(fields, {
    PORT: '0',
    JWT_SECRET: jwtSecret,
    INTERNAL_SECRET: internalSecret,
    CONVERSATION_URL: everything,
    MEDIA_URL: everything,
    STATS_URL: everything,
    REALTIME_URL: everything,
    RATE_LIMIT_ENABLED: 'false',
    DISCOVERY_MS: '200',
    DRAIN_MS: '2000',
    LOG_LEVEL: 'silent',
    ...env,
  })
  const app = await createApp(config, { log: silentLogger, ...deps })
  await app.start()
  if (app.url === undefined) throw new Error('the gateway does not listen')
  return { url: app.url, app, stop: () => app.stop() }
}
