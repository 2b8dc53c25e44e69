// What the fuzzer throws at a door: calls, bytes, packets and files, half right and half wrong, the same for the same seed.
import { clientEvents } from '@fieldline/contracts/socket'
import fc from 'fast-check'

export type Attack =
  | { kind: 'call'; method: string; path: string; headers: Record<string, string>; body: string | undefined }
  | { kind: 'bytes'; text: string }
  | { kind: 'event'; event: string; args: unknown[] }
  | { kind: 'packet'; packet: string }
  | { kind: 'upload'; type: string; name: string; file: Uint8Array<ArrayBuffer> }

/** What exists, so that attacks come past the first check: ids of conversations, messages and files, and files that are good. */
export interface World {
  ids: readonly string[]
  files: readonly Uint8Array<ArrayBuffer>[]
}

const nasty = [
  '',
  ' ',
  '\0',
  '$ne',
  '__proto__',
  'constructor',
  'a.b',
  '../..',
  '%00',
  '%',
  "' OR 1=1 --",
  '<script>',
  '\ud800',
  '\u202e',
  '😀'.repeat(40),
  'x'.repeat(5_000),
  'null',
  'undefined',
  'NaN',
  '-1',
  '0',
  '1e309',
  '9007199254740993',
  '\r\nx: y',
  '{{7*7}}',
  '#{7*7}',
  '2026-02-30',
  'Etc/../UTC',
  '[]',
  'true',
]
const keys = [
  'conversationId',
  'messageId',
  'content',
  'messageType',
  'mediaId',
  'clientMessageId',
  'status',
  'reason',
  'supportId',
  'assignedSupportId',
  'force',
  'available',
  'afterSeq',
  'token',
  'traceparent',
  'senderId',
  '__proto__',
  '$ne',
  'constructor',
  'x',
]
const parameters = [
  'page',
  'limit',
  'status',
  'cursor',
  'beforeSeq',
  'afterSeq',
  'sort',
  'assignedTo',
  'from',
  'to',
  'tz',
  'agentId',
  'after',
  'personId',
  'role',
  'iat',
  '__proto__',
  'status[$ne]',
  'x',
]
const words = [
  'text',
  'image',
  'audio',
  'video',
  'open',
  'waiting',
  'resolved',
  'closed',
  'me',
  'none',
  'activity',
  'waitingSince',
  'UTC',
  'Asia/Kolkata',
  '2026-11-01',
  'Hello',
  '1',
  '20',
  'User',
  'Support',
  'Admin',
]
const paths = [
  '/conversations',
  '/conversations/:id',
  '/conversations/:id/read',
  '/conversations/:id/status',
  '/conversations/:id/assignments',
  '/messages',
  '/messages/:id',
  '/support/conversations',
  '/support/conversations/:id/claim',
  '/support/reassign',
  '/support/agents',
  '/support/availability',
  '/support/stats',
  '/media',
  '/:id',
].map((path) => `/api/v1/chat${path}`)
const others = [
  '/uploads/chat/:id/:id/:id',
  '/internal/heads',
  '/internal/conversations',
  '/internal/conversations/:id/events',
  '/internal/conversations/:id/snapshot',
  '/internal/conversations/:id/access',
  '/internal/messages/committed',
  '/internal/media/:id/reserve',
  '/internal/presence',
  '/health/live',
  '/health/ready',
  '/metrics',
  '/docs/',
  '/openapi.json',
  '/socket.io/?EIO=4&transport=polling',
  '/',
]
const headers = [
  'idempotency-key',
  'x-request-id',
  'range',
  'if-none-match',
  'if-range',
  'accept-encoding',
  'content-encoding',
  'content-type',
  'origin',
  'x-forwarded-for',
  'traceparent',
  'tracestate',
  'cookie',
  'accept',
]

/** Header values may hold no line break and nothing beyond Latin-1: a client library refuses those, `bytes` sends them. */
const headerValue = (text: string): string => text.replace(/[^\x20-\x7e]/g, '').slice(0, 2_000)

export function attacks({ ids, files }: World): fc.Arbitrary<Attack> {
  const text = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...words) },
    { weight: 4, arbitrary: fc.constantFrom(...ids) },
    { weight: 3, arbitrary: fc.constantFrom(...nasty) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 60 }) },
  )
  const leaf = fc.oneof({ weight: 5, arbitrary: text }, fc.integer(), fc.double(), fc.boolean(), fc.constant(null))
  const value = fc.letrec<{ any: unknown }>((tie) => ({
    any: fc.oneof(
      { depthSize: 'small', withCrossShrink: false },
      { weight: 6, arbitrary: leaf },
      fc.array(tie('any'), { maxLength: 4 }),
      fc.dictionary(fc.constantFrom(...keys), tie('any'), { maxKeys: 5 }),
    ),
  })).any
  const payload = fc.oneof(
    { weight: 5, arbitrary: fc.dictionary(fc.constantFrom(...keys), value, { maxKeys: 6 }) },
    { weight: 1, arbitrary: value },
  )
  const json = payload.map((given) => JSON.stringify(given) ?? 'null')
  const body = fc.oneof(
    { weight: 6, arbitrary: json },
    { weight: 2, arbitrary: json.chain((good) => fc.nat(good.length).map((at) => good.slice(0, at))) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 300 }) },
    { weight: 1, arbitrary: fc.nat(400).map((depth) => `${'[{"a":'.repeat(depth)}1${'}]'.repeat(depth)}`) },
  )
  const query = fc
    .array(fc.tuple(fc.constantFrom(...parameters), text), { maxLength: 4 })
    .map((pairs) => pairs.map(([name, given]) => `${name}=${encodeURIComponent(given.toWellFormed())}`).join('&'))
  const path = fc
    .tuple(
      fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...paths) }, { weight: 2, arbitrary: fc.constantFrom(...others) }),
      fc.array(text, { minLength: 3, maxLength: 3 }),
      query,
    )
    .map(([pattern, fill, asked]) => {
      let next = 0
      const filled = pattern.replace(/:id/g, () => encodeURIComponent((fill[next++] ?? '').toWellFormed()))
      return asked === '' ? filled : `${filled}${filled.includes('?') ? '&' : '?'}${asked}`
    })
  const method = fc.constantFrom('GET', 'GET', 'POST', 'POST', 'PATCH', 'PUT', 'DELETE', 'HEAD', 'OPTIONS')
  const call: fc.Arbitrary<Attack> = fc.record({
    kind: fc.constant('call' as const),
    method,
    path,
    headers: fc.dictionary(fc.constantFrom(...headers), text.map(headerValue), { maxKeys: 2 }),
    body: fc.option(body, { nil: undefined }),
  })
  const lines = fc.array(
    fc.tuple(
      fc.constantFrom('Host', 'Content-Length', 'Transfer-Encoding', 'Connection', 'Upgrade', 'Expect', 'Content-Type', 'X'),
      fc.oneof(
        text,
        fc.constantFrom('chunked', 'close', 'websocket', '100-continue', '5', '-1', 'application/json', 'multipart/form-data; boundary=x'),
      ),
    ),
    { maxLength: 6 },
  )
  const bytes: fc.Arbitrary<Attack> = fc.tuple(method, path, lines, body).map(([verb, target, head, rest]) => ({
    kind: 'bytes',
    text: `${verb} ${target} HTTP/1.1\r\nConnection: close\r\n${head.map(([name, given]) => `${name}: ${given}\r\n`).join('')}\r\n${rest}`,
  }))
  const eventName = fc.oneof({ weight: 6, arbitrary: fc.constantFrom(...Object.keys(clientEvents)) }, { weight: 1, arbitrary: text })
  const event: fc.Arbitrary<Attack> = fc.record({
    kind: fc.constant('event' as const),
    event: eventName,
    args: fc.oneof({ weight: 5, arbitrary: fc.tuple(payload) }, { weight: 1, arbitrary: fc.array(value, { maxLength: 3 }) }),
  })
  const packet: fc.Arbitrary<Attack> = fc
    .tuple(
      fc.constantFrom(
        '42',
        '42',
        '420',
        '4299',
        '40',
        '41',
        '43',
        '430',
        '44',
        '451-',
        '452-',
        '46',
        '0',
        '1',
        '2probe',
        '3',
        '5',
        '6',
        '42/x,',
        '',
      ),
      fc.oneof(
        body,
        fc.tuple(fc.oneof(eventName, value), value).map((pair) => JSON.stringify(pair)),
      ),
    )
    .map(([head, rest]) => ({ kind: 'packet', packet: `${head}${rest}` }))
  const file = fc
    .tuple(fc.constantFrom(...files), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 12 }), fc.option(fc.nat(), { nil: undefined }))
    .map(([good, flips, cut]) => {
      const altered = good.slice()
      for (const [at, to] of flips) altered[at % altered.length] = to
      return cut === undefined ? altered : altered.slice(0, cut % altered.length)
    })
  const upload: fc.Arbitrary<Attack> = fc.record({
    kind: fc.constant('upload' as const),
    type: fc.oneof({ weight: 4, arbitrary: fc.constantFrom('image', 'audio', 'video') }, { weight: 1, arbitrary: text }),
    name: text,
    file,
  })
  return fc.oneof(
    { weight: 10, arbitrary: call },
    { weight: 3, arbitrary: bytes },
    { weight: 6, arbitrary: event },
    { weight: 4, arbitrary: packet },
    { weight: 2, arbitrary: upload },
  )
}

/** The attack of a seed: the same always, so that a finding can be repeated alone. */
export function attackOf(arbitrary: fc.Arbitrary<Attack>, seed: number): Attack {
  const [attack] = fc.sample(arbitrary, { seed, numRuns: 1 })
  if (!attack) throw new Error('fast-check gave no sample')
  return attack
}
