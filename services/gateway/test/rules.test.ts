// The gateway's pure rules: which service a path belongs to, whose address a request has, which session it speaks of.
import type { IncomingMessage } from 'node:http'
import { describe, expect, test } from '@jest/globals'
import { limitKey, originOf } from '../src/address.ts'
import { originAllowed } from '../src/pages.ts'
import { routeOf } from '../src/routes.ts'
import { sessionOf } from '../src/session.ts'

function asked(remoteAddress: string, headers: Record<string, string> = {}): IncomingMessage {
  return { socket: { remoteAddress }, headers } as unknown as IncomingMessage
}

describe('a path', () => {
  test.each([
    ['POST', '/api/v1/chat/conversations', 'conversation', 'write'],
    ['GET', '/api/v1/chat/conversations/a/assignments', 'conversation', 'read'],
    ['GET', '/api/v1/chat/messages/a', 'conversation', 'read'],
    ['GET', '/api/v1/chat/support/agents', 'conversation', 'read'],
    ['GET', '/api/v1/chat/support/stats', 'stats', 'read'],
    ['GET', '/api/v1/chat/support/stats/', 'stats', 'read'],
    ['POST', '/api/v1/chat/media', 'media', 'upload'],
    ['HEAD', '/uploads/chat/a/b/c.jpg', 'media', 'delivery'],
  ])('%s %s belongs to %s as a %s', (method, path, upstream, routeClass) => {
    expect(routeOf(method, path)).toMatchObject({ upstream, class: routeClass })
  })

  test.each(['/api/v1/chat/conversationsx', '/api/v1/chat/supportx', '/api/v1/chat/internal', '/API/v1/chat/conversations', '/'])(
    '%s belongs to nobody',
    (path) => {
      expect(() => routeOf('GET', path)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }))
    },
  )

  test.each([
    '/uploads/chat/a/b/%zz',
    '/uploads/chat/a/%2e%2e/c',
    '/uploads/chat//c',
    '/uploads/chat/a\\b',
    '/uploads/chat/%00',
    '/uploads/chat/./c',
  ])('%s is malformed', (path) => {
    expect(() => routeOf('GET', path)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }))
  })

  test('a file’s name may hold what names hold', () => {
    expect(routeOf('GET', '/uploads/chat/a/b/ma%C3%AFs%20..%20%23%3F%25.jpg')).toMatchObject({ upstream: 'media' })
  })
})

describe('the address', () => {
  const chain = { 'x-forwarded-for': '9.9.9.9, 8.8.8.8, 7.7.7.7' }
  test.each([
    [0, '10.0.0.1'],
    [1, '7.7.7.7'],
    [2, '8.8.8.8'],
    [3, '9.9.9.9'],
    [9, '9.9.9.9'],
  ])('with %d trusted proxies is %s', (hops, address) => {
    expect(originOf(asked('10.0.0.1', chain), hops).address).toBe(address)
  })
  test.each(['evil\u0000, <script>', '1.2.3.4:5:6', '999.1.1.1', 'fade', '[::1', ':'])('%j holds no address to be taken', (header) => {
    expect(originOf(asked('10.0.0.1', { 'x-forwarded-for': header }), 1).address).toBe('10.0.0.1')
  })
  test.each([
    ['203.0.113.7:4711', '203.0.113.7'],
    ['[2001:db8::1]:4711', '2001:db8::1'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['::ffff:203.0.113.7', '203.0.113.7'],
  ])('a port that a proxy wrote makes nobody another: %s', (hop, address) => {
    expect(originOf(asked('10.0.0.1', { 'x-forwarded-for': hop }), 1).address).toBe(address)
  })
  test('IPv4 through an IPv6 socket is the same address', () => {
    expect(originOf(asked('::ffff:10.0.0.1'), 0).address).toBe('10.0.0.1')
  })
  test('an IPv6 client has one count for its whole /64', () => {
    expect(limitKey('2001:db8:1:2:3:4:5:6')).toBe(limitKey('2001:db8:1:2::1'))
    expect(limitKey('2001:db8:1:3::1')).not.toBe(limitKey('2001:db8:1:2::1'))
    expect(limitKey('::1')).toBe('0:0:0:0')
    expect(limitKey('10.0.0.1')).toBe('10.0.0.1')
  })
})

describe('the session', () => {
  test('is named by the query, once', () => {
    expect(sessionOf('/socket.io/?EIO=4&transport=polling')).toBeUndefined()
    expect(sessionOf('/socket.io/?EIO=4&sid=north.abc_-1')).toBe('north.abc_-1')
  })
  test.each(['/socket.io/?sid=a.b&sid=c.d', '/socket.io/?sid=a%0d%0ab', `/socket.io/?sid=${'a'.repeat(300)}`, '/socket.io/?sid='])(
    '%s is malformed',
    (url) => {
      expect(() => sessionOf(url)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }))
    },
  )
  test.each(['/socket.io/admin', '/socket.iox/', '/other'])('%s is nowhere', (url) => {
    expect(() => sessionOf(url)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }))
  })
})

describe('an origin', () => {
  test('is let in when it is configured, and no other', () => {
    const config = { corsOrigins: ['https://desk.example.org/'], nodeEnv: '' }
    expect(originAllowed('https://desk.example.org', config)).toBe(true)
    for (const other of ['https://desk.example.org.evil.net', 'http://desk.example.org', 'http://localhost:3000', 'null'])
      expect(originAllowed(other, config)).toBe(false)
  })
  test('of localhost is let in in development only', () => {
    expect(originAllowed('http://localhost:3000', { corsOrigins: [], nodeEnv: '' })).toBe(true)
    expect(originAllowed('http://localhost.evil.net', { corsOrigins: [], nodeEnv: '' })).toBe(false)
    expect(originAllowed('http://localhost:3000', { corsOrigins: [], nodeEnv: 'production' })).toBe(false)
  })
})
