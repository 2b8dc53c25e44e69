// Closed: input made to break in: operators, prototypes, bombs, odd encodings, foreign fields (OWASP API3:2023, API4:2023, API8:2023).
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from '@jest/globals'
import { raw } from './raw.ts'
import { type Door, type Name, onTheWhole, type Scene, tokenOf } from './stage.ts'

/** JSON texts, as `JSON.stringify` would not write them: each a value that harms where it is believed. */
const operators: readonly (readonly [string, string])[] = [
  ['$ne', '{"$ne":null}'],
  ['$gt', '{"$gt":""}'],
  ['$regex', '{"$regex":".*"}'],
  ['$where', '{"$where":"sleep(5000)"}'],
  ['an operator deeper down', '{"a":[{"$ne":null}]}'],
  ['__proto__', '{"__proto__":{"role":"Admin"}}'],
  ['constructor.prototype', '{"constructor":{"prototype":{"role":"Admin"}}}'],
  ['a dotted key', '{"a.b":1}'],
  ['an array', '["a"]'],
  ['a number', '12'],
  ['a boolean', 'true'],
  ['an object', '{}'],
]
/** The first are refused wherever they stand, even in a field nobody asked for. */
const harmful = operators.slice(0, 8)

interface Place {
  name: string
  who: Name
  /** The body, with `poison` in the place meant. */
  body(scene: Scene, poison: string): string
  method?: 'POST' | 'PATCH'
  path(scene: Scene): string
}
const messages = (name: string, body: Place['body']): Place => ({ name, who: 'rajesh', body, path: () => '/messages' })
const places: readonly Place[] = [
  messages('POST /messages conversationId', (_scene, poison) => `{"conversationId":${poison},"content":"x"}`),
  messages('POST /messages content', ({ rajeshs }, poison) => `{"conversationId":"${rajeshs}","content":${poison}}`),
  messages('POST /messages messageType', ({ rajeshs }, poison) => `{"conversationId":"${rajeshs}","content":"x","messageType":${poison}}`),
  messages('POST /messages mediaId', ({ rajeshs }, poison) => `{"conversationId":"${rajeshs}","messageType":"image","mediaId":${poison}}`),
  messages(
    'POST /messages clientMessageId',
    ({ rajeshs }, poison) => `{"conversationId":"${rajeshs}","content":"x","clientMessageId":${poison}}`,
  ),
  messages('POST /messages, the whole body', (_scene, poison) => poison),
  {
    name: 'PATCH status',
    who: 'asha',
    method: 'PATCH',
    path: ({ rajeshs }) => `/conversations/${rajeshs}/status`,
    body: (_scene, poison) => `{"status":${poison}}`,
  },
  {
    name: 'PATCH status reason',
    who: 'asha',
    method: 'PATCH',
    path: ({ rajeshs }) => `/conversations/${rajeshs}/status`,
    body: (_scene, poison) => `{"status":"open","reason":${poison}}`,
  },
  {
    name: 'PATCH availability',
    who: 'asha',
    method: 'PATCH',
    path: () => '/support/availability',
    body: (_scene, poison) => `{"available":${poison === 'true' ? '"true"' : poison}}`,
  },
  {
    name: 'reassign conversationId',
    who: 'meena',
    path: () => '/support/reassign',
    body: (_scene, poison) => `{"conversationId":${poison},"supportId":"asha"}`,
  },
  {
    name: 'reassign supportId',
    who: 'meena',
    path: () => '/support/reassign',
    body: ({ rajeshs }, poison) => `{"conversationId":"${rajeshs}","supportId":${poison}}`,
  },
  {
    name: 'reassign assignedSupportId',
    who: 'meena',
    path: () => '/support/reassign',
    body: ({ rajeshs }, poison) => `{"conversationId":"${rajeshs}","assignedSupportId":${poison}}`,
  },
]
const unread: readonly Place[] = [
  {
    name: 'POST /conversations, in a field nobody reads',
    who: 'rajesh',
    path: () => '/conversations',
    body: (_scene, poison) => `{"x":${poison}}`,
  },
  {
    name: 'PATCH read, in a field nobody reads',
    who: 'asha',
    method: 'PATCH',
    path: ({ rajeshs }) => `/conversations/${rajeshs}/read`,
    body: (_scene, poison) => `{"x":${poison}}`,
  },
  {
    name: 'claim, in a field nobody reads',
    who: 'asha',
    path: ({ rajeshs }) => `/support/conversations/${rajeshs}/claim`,
    body: (_scene, poison) => `{"x":${poison}}`,
  },
  messages(
    'POST /messages, in a field nobody reads',
    ({ rajeshs }, poison) => `{"conversationId":"${rajeshs}","content":"x","x":${poison}}`,
  ),
]

type Query = readonly [who: Name, path: (scene: Scene) => string, at?: Door]
const queries: readonly Query[] = [
  ['rajesh', () => '/conversations?status[$ne]=open'],
  ['rajesh', () => '/conversations?status=open&status=closed'],
  ['rajesh', () => '/conversations?status=deleted'],
  ['rajesh', () => '/conversations?page=0'],
  ['rajesh', () => '/conversations?page=-1'],
  ['rajesh', () => '/conversations?page=1.5'],
  ['rajesh', () => '/conversations?page=1e3'],
  ['rajesh', () => '/conversations?page=NaN'],
  ['rajesh', () => '/conversations?page=9007199254740993'],
  ['meena', () => '/support/conversations?page=900000'],
  ['rajesh', () => '/conversations?limit=0'],
  ['rajesh', () => '/conversations?limit[$gt]=1'],
  ['rajesh', () => '/conversations?limit=0x10'],
  ['rajesh', () => '/conversations?cursor[$ne]=x'],
  ['rajesh', () => '/conversations?cursor=%7B%22%24ne%22%3Anull%7D'],
  ['rajesh', () => `/conversations?cursor=${Buffer.from('{"$ne":null}').toString('base64url')}`],
  ['rajesh', () => '/conversations?__proto__[status]=open'],
  ['rajesh', () => '/conversations?constructor[prototype][status]=open'],
  ['rajesh', ({ rajeshs }) => `/messages/${rajeshs}?afterSeq=-1`],
  ['rajesh', ({ rajeshs }) => `/messages/${rajeshs}?afterSeq[$gt]=0`],
  ['rajesh', ({ rajeshs }) => `/messages/${rajeshs}?beforeSeq=9999999999999999`],
  ['rajesh', ({ rajeshs }) => `/messages/${rajeshs}?page=1&afterSeq=0`],
  ['rajesh', () => '/conversations/%24ne'],
  ['rajesh', () => '/conversations/%7B%22%24ne%22%3Anull%7D'],
  ['rajesh', () => '/conversations/undefined'],
  ['rajesh', () => '/conversations/__proto__'],
  ['rajesh', () => `/messages/${'f'.repeat(23)}`],
  ['rajesh', () => `/messages/${'f'.repeat(24)}%00`],
  ['rajesh', () => `/messages/${'f'.repeat(5_000)}`],
  ['meena', () => '/support/conversations?assignedTo[$ne]=x'],
  ['meena', () => '/support/conversations?assignedTo=x&assignedTo=y'],
  ['meena', () => '/support/conversations?sort=$where'],
  ['meena', () => '/support/conversations?sort=__proto__'],
  ['meena', () => `/support/conversations?assignedTo=${'x'.repeat(129)}`],
  ['meena', () => '/support/stats?from[$gt]=0', 'stats'],
  ['meena', () => '/support/stats?from=yesterday', 'stats'],
  ['meena', () => '/support/stats?tz=../../etc/passwd', 'stats'],
  ['meena', () => '/support/stats?tz=constructor', 'stats'],
  ['meena', () => '/support/stats?agentId[$ne]=x', 'stats'],
  ['meena', () => '/support/stats?from=2026-02-01&to=2026-01-01', 'stats'],
  ['meena', () => '/support/stats?from=0001-01-01&to=9999-12-31', 'stats'],
]

const events: readonly (readonly [string, (scene: Scene) => readonly unknown[]])[] = [
  [
    'conversation:join',
    ({ rajeshs }) => [
      undefined,
      null,
      12,
      true,
      [],
      ['x'],
      {},
      { conversationId: { $ne: null } },
      { conversationId: ['x'] },
      { conversationId: rajeshs, afterSeq: -1 },
      { conversationId: rajeshs, afterSeq: '1' },
      { conversationId: rajeshs, afterSeq: 1.5 },
      { conversationId: rajeshs, afterSeq: 2 ** 53 + 2 },
      { conversationId: rajeshs, afterSeq: { $gt: 0 } },
      '../..',
      '$ne',
      '__proto__',
      'constructor',
    ],
  ],
  [
    'message:send',
    ({ rajeshs: conversationId }) => [
      undefined,
      null,
      'x',
      {},
      { conversationId },
      { conversationId, content: '' },
      { conversationId, content: '  \u2028 ' },
      { conversationId, content: { $ne: null } },
      { conversationId, content: 12 },
      { conversationId, content: 'x', messageType: '__proto__' },
      { conversationId, content: 'x', messageType: { $ne: 1 } },
      { conversationId, content: 'x'.repeat(4_001) },
      { conversationId, content: '😀'.repeat(4_001) },
      { conversationId, messageType: 'image' },
      { conversationId, messageType: 'image', mediaId: { $ne: null } },
      { conversationId, content: 'x', clientMessageId: { $ne: null } },
      { conversationId, content: 'x', clientMessageId: 'a\r\nb' },
      { conversationId, content: 'x', 'a.b': 1 },
      { conversationId, content: 'x', a: { $set: 1 } },
      JSON.parse(`{"conversationId":"${conversationId}","content":"x","__proto__":{"role":"Admin"}}`),
    ],
  ],
  [
    'message:read',
    ({ rajeshs: conversationId }) => [
      undefined,
      'x',
      {},
      { conversationId },
      { conversationId, messageId: { $ne: null } },
      { conversationId: { $ne: null }, messageId: 'f'.repeat(24) },
    ],
  ],
  ['conversation:mark-all-read', () => [undefined, null, {}, 7, { conversationId: { $ne: null } }, '$ne']],
  ['auth:refresh', () => [undefined, {}, { token: { $ne: null } }, { token: ['x'] }, 12]],
]

onTheWhole(
  {},
  (stage) => {
    for (const door of stage.doors.filter((each) => each === 'gateway' || each === 'conversation')) {
      const post = (who: Name, method: string, path: string, body: string, headers: Record<string, string> = {}) =>
        stage.as(who, door)(method, path, body, { raw: true, headers })
      const send = (body: string, headers?: Record<string, string>) => post('rajesh', 'POST', '/messages', body, headers)

      describe(`${door}: bodies`, () => {
        for (const place of places) {
          test(`${place.name} takes no operator, no prototype, no other type`, async () => {
            const { scene } = stage
            for (const [name, poison] of operators) {
              const { status, body } = await post(place.who, place.method ?? 'POST', place.path(scene), place.body(scene, poison))
              expect({ name, status, code: body.code }).toEqual({ name, status: 400, code: 'VALIDATION_FAILED' })
              expect(body.details[0].message).toEqual(expect.any(String))
            }
          })
        }
        for (const place of unread) {
          test(`${place.name}: refused too`, async () => {
            for (const [name, poison] of harmful) {
              const { status, body } = await post(
                place.who,
                place.method ?? 'POST',
                place.path(stage.scene),
                place.body(stage.scene, poison),
              )
              expect({ name, status, code: body.code }).toEqual({ name, status: 400, code: 'VALIDATION_FAILED' })
            }
          })
        }
        test('the same calls done right succeed', async () => {
          const { scene } = stage
          expect((await send(`{"conversationId":"${scene.rajeshs}","content":"x","x":{"y":[1,null]}}`)).status).toBe(201)
          expect((await post('rajesh', 'POST', '/conversations', 'null')).status).toBe(200)
          expect((await post('asha', 'PATCH', `/conversations/${scene.rajeshs}/status`, '{"status":"open","reason":"x"}')).status).toBe(200)
          expect((await post('asha', 'PATCH', '/support/availability', '{"available":false}')).status).toBe(200)
          expect(
            (await post('meena', 'POST', '/support/reassign', `{"conversationId":"${scene.rajeshs}","supportId":"asha","force":true}`))
              .status,
          ).toBe(200)
        })

        test('prototypes are what they were: nobody became an admin by pollution', async () => {
          for (const [, poison] of operators)
            await send(`{"conversationId":"${stage.scene.rajeshs}","content":"x","constructor":${poison}}`)
          expect((await stage.as('sunita', door)('GET', '/support/conversations')).status).toBe(403)
          expect((await stage.as('sunita', door)('GET', `/messages/${stage.scene.rajeshs}`)).status).toBe(403)
        })

        test('fields a client must not set are ignored and never stored', async () => {
          const { scene } = stage
          const forged = {
            _id: 'f'.repeat(24),
            id: 'f'.repeat(24),
            seq: 4_711,
            senderId: 'asha',
            sender: { id: 'asha', role: 'Admin' },
            role: 'Admin',
            isRead: true,
            readAt: '2020-01-01T00:00:00.000Z',
            createdAt: '2020-01-01T00:00:00.000Z',
            media: { url: 'http://evil.example' },
            version: 99,
            outbox: [],
            person: { role: 'Admin' },
          }
          const sent = await send(JSON.stringify({ ...forged, conversationId: scene.rajeshs, content: 'who am I' }))
          expect(sent.status).toBe(201)
          const { body } = await stage.as('asha', door)('GET', `/messages/${scene.rajeshs}?limit=1`)
          for (const message of [sent.body.data, body.data.at(-1)]) {
            expect(message).toMatchObject({
              content: 'who am I',
              senderId: { _id: 'rajesh', role: 'User' },
              isRead: false,
              readAt: null,
              media: null,
            })
            expect(message._id).not.toBe(forged._id)
            expect(message.seq).toBeLessThan(4_711)
            expect(message.createdAt > '2026').toBe(true)
            expect(JSON.stringify(message)).not.toMatch(/evil|outbox|version/)
          }
          const mine = await post(
            'rajesh',
            'POST',
            '/conversations',
            JSON.stringify({ userId: 'sunita', status: 'closed', assignedSupportId: 'vikram', lastSeq: 0, _id: scene.sunitas }),
          )
          expect(mine.body.data).toMatchObject({
            _id: scene.rajeshs,
            userId: { _id: 'rajesh' },
            assignedSupportId: { _id: 'asha' },
            status: 'open',
          })
          const same = await post(
            'asha',
            'PATCH',
            `/conversations/${scene.rajeshs}/status`,
            JSON.stringify({ status: 'open', assignedSupportId: 'vikram', userId: 'sunita' }),
          )
          expect(same.body.data).toMatchObject({ userId: { _id: 'rajesh' }, assignedSupportId: { _id: 'asha' } })
          await post(
            'asha',
            'PATCH',
            '/support/availability',
            JSON.stringify({ available: false, capacity: 9_999, active: -5, role: 'Admin' }),
          )
          const agents = await stage.as('meena', door)('GET', '/support/agents')
          const asha = agents.body.data.find(({ _id }: { _id: string }) => _id === 'asha')
          expect(asha.role).toBe('Support')
          expect(asha.capacity).toBeLessThan(9_999)
        })

        test('of duplicate keys one counts, for the check as for the deed', async () => {
          const { rajeshs, sunitas } = stage.scene
          expect((await send(`{"conversationId":"${rajeshs}","content":"x","conversationId":"${sunitas}"}`)).status).toBe(403)
          expect((await send(`{"conversationId":"${sunitas}","content":"x","conversationId":"${rajeshs}"}`)).body.data.conversationId).toBe(
            rajeshs,
          )
        })

        const bombs: readonly (readonly [string, (scene: Scene) => string, number, Record<string, string>?])[] = [
          ['100,000 brackets deep', () => `${'['.repeat(60_000)}${']'.repeat(60_000)}`, 400],
          [
            '33 objects deep',
            ({ rajeshs }) => `{"conversationId":"${rajeshs}","content":"x","a":${'{"a":'.repeat(33)}1${'}'.repeat(33)}}`,
            400,
          ],
          [
            '10,001 keys',
            ({ rajeshs }) =>
              `{"conversationId":"${rajeshs}","content":"x",${Array.from({ length: 10_001 }, (_, index) => `"k${index}":1`).join(',')}}`,
            400,
          ],
          ['2 MB', ({ rajeshs }) => `{"conversationId":"${rajeshs}","content":"${'x'.repeat(2_000_000)}"}`, 413],
          ['a number beyond all', ({ rajeshs }) => `{"conversationId":"${rajeshs}","content":1e999}`, 400],
          ['a lone surrogate', ({ rajeshs }) => `{"conversationId":"${rajeshs}","content":"\\ud800"}`, 400],
          ['no JSON', () => '{"conversationId": ', 400],
          ['JSON with a comment', ({ rajeshs }) => `{"conversationId":"${rajeshs}",/* */"content":"x"}`, 400],
          ['NaN', () => '{"conversationId":NaN}', 400],
          ['two documents', ({ rajeshs }) => `{"conversationId":"${rajeshs}","content":"x"}{}`, 400],
          ['text/plain', ({ rajeshs }) => `{"conversationId":"${rajeshs}","content":"x"}`, 415, { 'content-type': 'text/plain' }],
          ['a form', () => 'conversationId[$ne]=1&content=x', 415, { 'content-type': 'application/x-www-form-urlencoded' }],
          ['XML', () => '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>', 415, { 'content-type': 'application/xml' }],
          [
            'an unknown charset',
            ({ rajeshs }) => `{"conversationId":"${rajeshs}","content":"x"}`,
            415,
            { 'content-type': 'application/json; charset=x-none' },
          ],
          ['an unknown encoding', ({ rajeshs }) => `{"conversationId":"${rajeshs}","content":"x"}`, 415, { 'content-encoding': 'x-bomb' }],
        ]
        test.each(bombs)('%s', async (_name, make, status, headers = {}) => {
          const began = performance.now()
          const answer = await send(make(stage.scene), headers)
          expect(answer).toMatchObject({ status, body: { success: false } })
          expect(performance.now() - began).toBeLessThan(2_000)
        })
        test('a gzip bomb is refused by what it unfolds to', async () => {
          const bomb = gzipSync(`{"content":"${'x'.repeat(20_000_000)}"}`)
          const { hostname, port } = new URL(stage.url(door))
          const answer = await raw(
            stage.url(door),
            [
              'POST /api/v1/chat/messages HTTP/1.1',
              `Host: ${hostname}:${port}`,
              `Authorization: Bearer ${tokenOf('rajesh')}`,
              'Content-Type: application/json',
              'Content-Encoding: gzip',
              `Content-Length: ${bomb.length}`,
              'Connection: close',
            ],
            bomb,
          )
          expect([413, 415]).toContain(answer.status)
        })
        test('invalid UTF-8 is refused or repaired, never stored as it came', async () => {
          const body = Buffer.concat([
            Buffer.from(`{"conversationId":"${stage.scene.rajeshs}","content":"a`),
            Buffer.from([0xff, 0xc0, 0x80, 0xed, 0xa0, 0x80]),
            Buffer.from('"}'),
          ])
          const answer = await raw(
            stage.url(door),
            [
              'POST /api/v1/chat/messages HTTP/1.1',
              'Host: x',
              `Authorization: Bearer ${tokenOf('rajesh')}`,
              'Content-Type: application/json',
              `Content-Length: ${body.length}`,
              'Connection: close',
            ],
            body,
          )
          expect([201, 400]).toContain(answer.status)
          if (answer.status === 201) expect(Buffer.from(answer.text, 'latin1').toString('utf8')).toMatch(/"content":"a\ufffd+"/)
        })
      })

      describe(`${door}: keys of idempotency and other headers`, () => {
        test.each([
          ['an idempotency key with spaces', { 'idempotency-key': 'a b' }, 400],
          ['an idempotency key of 129 characters', { 'idempotency-key': 'x'.repeat(129) }, 400],
          ['an idempotency key of no ASCII', { 'idempotency-key': 'ключ' }, 400],
        ])('%s', async (_name, headers, status) => {
          const { rajeshs } = stage.scene
          const body = Buffer.from(`{"conversationId":"${rajeshs}","content":"x"}`)
          const lines = Object.entries(headers).map(([name, value]) => `${name}: ${Buffer.from(value).toString('latin1')}`)
          const answer = await raw(
            stage.url(door),
            [
              'POST /api/v1/chat/messages HTTP/1.1',
              'Host: x',
              `Authorization: Bearer ${tokenOf('rajesh')}`,
              'Content-Type: application/json',
              ...lines,
              `Content-Length: ${body.length}`,
              'Connection: close',
            ],
            body,
          )
          expect(answer.status).toBe(status)
        })
        test('a request id is echoed only where it is harmless', async () => {
          const good = await stage.as('rajesh', door)('GET', '/conversations', undefined, { headers: { 'x-request-id': 'trace-4711' } })
          expect(good.headers['x-request-id']).toBe('trace-4711')
          for (const bad of ['a%0d%0aset-cookie:x=1', '<script>', 'x'.repeat(5_000), '{"$ne":1}']) {
            const { headers } = await stage.as('rajesh', door)('GET', '/conversations', undefined, { headers: { 'x-request-id': bad } })
            expect(headers['x-request-id']).not.toContain(bad)
            expect(headers['set-cookie']).toBeUndefined()
          }
        })
      })
    }

    for (const door of stage.doors.filter((each) => each !== 'realtime' && each !== 'media')) {
      test.each(
        queries
          .filter(([, , at = 'conversation']) => door === 'gateway' || door === at)
          .map(([who, path]) => [path({ rajeshs: ':id' } as Scene).slice(0, 90), who, path] as const),
      )(`${door}: GET %s is a bad request`, async (_name, who, path) => {
        const { status, body } = await stage.as(who, door)('GET', path(stage.scene))
        expect({ status, success: body.success }).toEqual({ status: 400, success: false })
      })
    }

    for (const door of stage.doors.filter((each) => each === 'gateway' || each === 'realtime')) {
      test.each(events)(`${door}: %s takes nothing but what it should`, async (event, payloads) => {
        const socket = stage.connect(tokenOf('rajesh'), door)
        await socket.next('connect')
        for (const payload of payloads(stage.scene)) {
          const answer = await socket.ask(event, payload)
          expect({ payload, ok: answer.ok, code: answer.error?.code }).toEqual({
            payload,
            ok: false,
            code: event === 'auth:refresh' ? expect.stringMatching(/VALIDATION_FAILED|UNAUTHENTICATED/) : 'VALIDATION_FAILED',
          })
        }
        expect(await socket.ask('conversation:join', { conversationId: stage.scene.rajeshs })).toMatchObject({ ok: true })
        socket.close()
      })
    }

    describe('requests two readers might read differently', () => {
      const head = (path = '/api/v1/chat/conversations', method = 'POST') => [
        `${method} ${path} HTTP/1.1`,
        'Host: x',
        `Authorization: Bearer ${tokenOf('rajesh')}`,
        'Content-Type: application/json',
      ]
      const smuggled = 'GET /internal/conversations HTTP/1.1\r\nHost: x\r\n\r\n'
      const tricks: readonly (readonly [string, () => readonly string[], string])[] = [
        [
          'Content-Length and Transfer-Encoding',
          () => [...head(), 'Content-Length: 4', 'Transfer-Encoding: chunked'],
          `0\r\n\r\n${smuggled}`,
        ],
        ['two Content-Lengths', () => [...head(), 'Content-Length: 0', `Content-Length: ${smuggled.length}`], smuggled],
        ['a Content-Length with a sign', () => [...head(), 'Content-Length: +2'], '{}'],
        ['a Transfer-Encoding nobody knows', () => [...head(), 'Transfer-Encoding: xchunked'], `0\r\n\r\n${smuggled}`],
        ['chunked, then identity', () => [...head(), 'Transfer-Encoding: chunked, identity'], `0\r\n\r\n${smuggled}`],
        ['a chunk size that overflows', () => [...head(), 'Transfer-Encoding: chunked'], 'ffffffffffffffff1\r\n{}\r\n0\r\n\r\n'],
        ['a header name with a space', () => [...head(), 'Transfer-Encoding : chunked'], '0\r\n\r\n'],
        ['a bare line feed inside a header', () => [...head(), 'X-A: b\nX-Role: Admin'], ''],
        ['a NUL in a header', () => [...head(), 'X-A: b\0c', 'Content-Length: 0'], ''],
        ['no Host', () => head().filter((line) => !line.startsWith('Host')), ''],
        ['40 KB of headers', () => [...head(), `X-A: ${'x'.repeat(40_000)}`], ''],
        ['a method nobody knows', () => ['BREW /api/v1/chat/conversations HTTP/1.1', 'Host: x'], ''],
        ['CONNECT', () => ['CONNECT 127.0.0.1:27017 HTTP/1.1', 'Host: 127.0.0.1:27017'], ''],
        ['no HTTP at all', () => ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'], ''],
      ]
      for (const door of stage.doors) {
        test.each(tricks)(`${door}: %s is refused`, async (_name, lines, body) => {
          const answer = await raw(stage.url(door), lines(), body, 2_000)
          // A connection ended without a word is a refusal too; an answer must be one of the client’s faults, and only one.
          expect([0, 400, 404, 405, 431, 501]).toContain(answer.status)
          expect(answer.text.match(/HTTP\/1\.1 2/g)).toBeNull()
        })
      }
    })

    test('texts made for our own patterns take no longer than others (ReDoS)', async () => {
      const took = async (act: () => Promise<unknown>): Promise<number> => {
        const began = performance.now()
        await act()
        return performance.now() - began
      }
      const long = 15_000
      const shapes = [
        'a'.repeat(long),
        ' '.repeat(long),
        `${'a '.repeat(long / 2)}!`,
        '\t'.repeat(long),
        '-'.repeat(long),
        `${'.a'.repeat(long / 2)}$`,
        '%20'.repeat(long / 3),
        'A='.repeat(long / 2),
        '0'.repeat(long),
      ]
      const as = stage.as('rajesh')
      for (const shape of shapes) {
        // One header a request: together they would be too large to get past the HTTP parser.
        const headers = {
          accept: shape,
          'accept-encoding': shape,
          origin: `http://${shape}`,
          range: `bytes=${shape}`,
          'x-forwarded-for': shape,
          'if-none-match': shape,
          traceparent: shape,
        }
        const times = []
        for (const [name, value] of Object.entries(headers))
          times.push(await took(() => as('GET', '/conversations', undefined, { headers: { [name]: value } })))
        times.push(
          await took(() => as('GET', `/conversations?cursor=${encodeURIComponent(shape).slice(0, long)}`)),
          await took(() => as('GET', '/conversations', undefined, { headers: { 'x-request-id': shape.trim() || '-' } })),
          await took(() => stage.as(undefined)('GET', '/conversations', undefined, { headers: { authorization: `Bearer x${shape}y` } })),
          await took(() => as('POST', '/messages', { conversationId: stage.scene.rajeshs, content: `${shape}`.repeat(6) })),
          await took(() => as('GET', `/uploads/chat/${encodeURIComponent(shape).slice(0, 10_000)}`)),
        )
        expect(Math.max(...times)).toBeLessThan(1_500)
      }
    })
  },
  true,
)
