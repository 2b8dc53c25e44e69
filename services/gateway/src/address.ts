// Whose request it is by address: what stands before us is believed as far as it is configured (`TRUSTED_PROXIES`), no further.
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'

/** As the services behind us are told: client address, scheme and host the client used. */
export interface Origin {
  address: string
  proto: 'http' | 'https'
  host: string
}

/** The client's address: the socket's with no trusted proxy, else the entry of `X-Forwarded-For` that the farthest trusted one wrote. */
export function originOf(req: IncomingMessage, trustedProxies: number): Origin {
  const direct = plain(req.socket.remoteAddress ?? '')
  const own: Origin = {
    address: direct,
    proto: 'encrypted' in req.socket && req.socket.encrypted ? 'https' : 'http',
    host: req.headers.host ?? '',
  }
  if (trustedProxies === 0) return own
  const chain = hops(req.headers['x-forwarded-for'])
  const address = plain(withoutPort(chain[Math.max(0, chain.length - trustedProxies)] ?? ''))
  const [proto] = hops(req.headers['x-forwarded-proto']).slice(-1)
  const [host] = hops(req.headers['x-forwarded-host']).slice(-1)
  return {
    address: isIP(address) ? address : direct,
    proto: proto === 'https' || proto === 'http' ? proto : own.proto,
    host: host ?? own.host,
  }
}

/** Some proxies write the client's port too (`203.0.113.7:4711`, `[2001:db8::1]:4711`): it would make each connection another client. */
function withoutPort(hop: string): string {
  const [, v6, v4] = /^(?:\[([^\]]+)\](?::\d{1,5})?|([\d.]+):\d{1,5})$/.exec(hop) ?? []
  return v6 ?? v4 ?? hop
}

function hops(header: string | string[] | undefined): string[] {
  const all = Array.isArray(header) ? header.join(',') : (header ?? '')
  return all
    .split(',')
    .map((hop) => hop.trim())
    .filter((hop) => hop !== '')
}

/** IPv4 addresses seen through an IPv6 socket are the same addresses. */
function plain(address: string): string {
  return address.startsWith('::ffff:') ? address.slice(7) : address
}

/** What a limit counts by: an IPv6 client has a whole /64 to itself. */
export function limitKey(address: string): string {
  if (!address.includes(':')) return address
  const [head = '', tail] = address.split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? [] : Array<string>(Math.max(0, 8 - before.length - after.length)).fill('0')
  return [...before, ...zeros, ...after].slice(0, 4).join(':')
}
