// WebSockets: the upgrade is asked of the replica that owns the session, then both sockets are joined until one ends.
import { type ClientRequest, request as httpRequest, type IncomingMessage, type Server, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { AppError } from '@fieldline/contracts/errors'
import { envelope, errorHeaders } from '@fieldline/service/http-errors'
import type { Part } from '@fieldline/service/lifecycle'
import type { Logger } from '@fieldline/service/logger'
import { requestIdFrom } from '@fieldline/service/request-context'
import { originOf } from './address.ts'
import type { GatewayConfig } from './config.ts'
import { headersIn } from './headers.ts'
import type { GatewayMetrics } from './metrics.ts'
import type { Replica, Replicas } from './replicas.ts'
import { sessionOf, socketPath, unknownSession } from './session.ts'

export interface Tunnels extends Part {
  attach(server: Server): void
  readonly open: number
}

interface TunnelsDeps {
  config: GatewayConfig
  replicas: Replicas
  log: Logger
  metrics: GatewayMetrics
}

const upgradeTimeoutMs = 10_000
const handshakeHeaders = ['sec-websocket-key', 'sec-websocket-version', 'sec-websocket-extensions', 'sec-websocket-protocol']

export function createTunnels({ config, replicas, log, metrics }: TunnelsDeps): Tunnels {
  const tunnels = new Set<Duplex>()

  async function onUpgrade(req: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
    const requestId = requestIdFrom(first(req.headers['x-request-id']))
    client.on('error', () => client.destroy())
    try {
      const sid = sessionOf(req.url ?? '')
      const owner = sid === undefined ? undefined : await replicas.ownerOf(sid)
      if (sid !== undefined && !owner) return refuse(client, 400, JSON.stringify(unknownSession))
      const candidates = owner ? [owner] : replicas.forHandshake()
      const headers = headersIn(req, 'realtime', originOf(req, config.trustedProxies), requestId)
      for (const name of handshakeHeaders) {
        const value = first(req.headers[name])
        if (value !== undefined) headers.push(name, value)
      }
      headers.push('connection', 'Upgrade', 'upgrade', 'websocket')
      for (const replica of candidates) {
        if (client.destroyed) return
        if (await tryReplica(replica, req.url ?? '', headers, client, head)) return
      }
      throw new AppError('UNAVAILABLE', 'realtime is not available now')
    } catch (error) {
      if (!(error instanceof AppError)) log.error({ err: error }, 'upgrade failed')
      const answer = error instanceof AppError ? error : new AppError('INTERNAL', 'Internal server error')
      refuse(client, answer.status, JSON.stringify(envelope(answer, requestId)), errorHeaders(answer))
    }
  }

  /** False when the replica gave no answer, so that another may be asked. */
  function tryReplica(replica: Replica, path: string, headers: string[], client: Duplex, head: Buffer): Promise<boolean> {
    return new Promise((resolve) => {
      const { hostname, port } = new URL(replica.url)
      const asked = httpRequest({
        host: hostname.replace(/^\[|\]$/g, ''),
        port: port === '' ? 80 : Number(port),
        path,
        method: 'GET',
        headers: asObject([...headers, 'host', new URL(replica.url).host]),
        agent: false,
        setHost: false,
        timeout: upgradeTimeoutMs,
      })
      const onLeave = (): void => {
        asked.destroy()
        resolve(true)
      }
      client.once('close', onLeave)
      const settle = (answered: boolean): void => {
        client.off('close', onLeave)
        resolve(answered)
      }
      asked.once('timeout', () => asked.destroy(new Error('no answer to the upgrade')))
      asked.once('error', () => settle(client.destroyed))
      asked.once('response', (answer) => {
        settle(true)
        relayRefusal(asked, answer, client)
      })
      asked.once('upgrade', (answer, upstream, upstreamHead) => {
        settle(true)
        open(replica, client, upstream, headOf(answer), upstreamHead, head)
      })
      asked.end()
    })
  }

  function open(replica: Replica, client: Duplex, upstream: Duplex, answer: string, upstreamHead: Buffer, clientHead: Buffer): void {
    upstream.on('error', () => upstream.destroy())
    if (client.destroyed) {
      upstream.destroy()
      return
    }
    tunnels.add(client)
    replica.tunnels += 1
    metrics.tunnelOpened()
    client.once('close', () => {
      tunnels.delete(client)
      replica.tunnels -= 1
      metrics.tunnelClosed()
      upstream.destroy()
    })
    upstream.once('close', () => client.destroy())
    unlimited(client)
    unlimited(upstream)
    client.write(answer)
    if (upstreamHead.length > 0) client.write(upstreamHead)
    if (clientHead.length > 0) upstream.write(clientHead)
    pour(client, upstream)
    pour(upstream, client)
  }

  return {
    name: 'websockets',
    get open() {
      return tunnels.size
    },
    attach(server) {
      // Only a WebSocket to Socket.IO leaves HTTP; any other wish to upgrade (`h2c`) is ignored, as RFC 9110 7.8 allows.
      Object.assign(server, {
        shouldUpgradeCallback: (req: IncomingMessage) => /^websocket$/i.test(req.headers.upgrade ?? '') && req.url?.startsWith(socketPath),
      })
      server.on('upgrade', (req, client, head) => void onUpgrade(req, client, head))
    },
    async stop() {
      // Spread out, so that not everybody comes back in the same instant.
      const all = [...tunnels]
      const windowMs = Math.min(config.drainMs / 2, all.length * 2)
      await Promise.all(all.map((client, index) => endAfter(client, (index / all.length) * windowMs)))
    },
  }
}

function endAfter(client: Duplex, ms: number): Promise<void> {
  return new Promise((resolve) => {
    if (client.destroyed) return resolve()
    const timer = setTimeout(() => client.destroy(), ms)
    client.once('close', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}

/** As `pipe` does, with less in between: what one side sends goes to the other, at the pace of the slower. */
function pour(from: Duplex, to: Duplex): void {
  const goOn = (): void => void from.resume()
  from.on('data', (chunk: Buffer) => {
    if (to.write(chunk)) return
    from.pause()
    to.once('drain', goOn)
  })
  from.once('end', () => to.end())
}

/** A tunnel is idle for as long as it likes: both ends ping. */
function unlimited(socket: Duplex): void {
  if ('setTimeout' in socket && typeof socket.setTimeout === 'function') socket.setTimeout(0)
  if ('setNoDelay' in socket && typeof socket.setNoDelay === 'function') socket.setNoDelay(true)
  if ('setKeepAlive' in socket && typeof socket.setKeepAlive === 'function') socket.setKeepAlive(true, 60_000)
}

function headOf(answer: IncomingMessage): string {
  const lines = [`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage || STATUS_CODES[answer.statusCode ?? 101]}`]
  for (let index = 0; index < answer.rawHeaders.length; index += 2)
    lines.push(`${answer.rawHeaders[index]}: ${answer.rawHeaders[index + 1]}`)
  return `${lines.join('\r\n')}\r\n\r\n`
}

/** Names and values in turn as an object: instrumentation that adds a header to a request takes a list apart. */
function asObject(headers: readonly string[]): Record<string, string> {
  const object: Record<string, string> = Object.create(null)
  for (let index = 0; index < headers.length; index += 2) {
    const name = String(headers[index]).toLowerCase()
    const value = String(headers[index + 1])
    object[name] = object[name] === undefined ? value : `${object[name]}, ${value}`
  }
  return object
}

const largestRefusal = 65_536

/** The replica said no: its words go to the client, and the connection ends, so that nothing sent after it reaches the replica. */
function relayRefusal(asked: ClientRequest, answer: IncomingMessage, client: Duplex): void {
  const chunks: Buffer[] = []
  let size = 0
  answer.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size <= largestRefusal) chunks.push(chunk)
    else asked.destroy()
  })
  answer.once('close', () => {
    refuse(client, answer.statusCode ?? 502, Buffer.concat(chunks).toString('utf8'))
    asked.destroy()
  })
  answer.on('error', () => undefined)
}

function refuse(client: Duplex, status: number, body: string, headers: Record<string, string> = { 'cache-control': 'no-store' }): void {
  if (client.destroyed) return
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    'Connection: close',
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ]
  client.end(`${lines.join('\r\n')}\r\n\r\n${body}`)
}

function first(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value
}
