import { expect, test } from '@jest/globals'
import { createLogger, scrub } from '../src/logger.ts'
import { withRequestId } from '../src/request-context.ts'

function logged(write: (log: ReturnType<typeof createLogger>) => void): string {
  const lines: string[] = []
  write(createLogger({ logLevel: 'info' }, 'test', { write: (line: string) => void lines.push(line) }))
  return lines.join('')
}

test('what must not be written down is not, wherever it stands', () => {
  const hidden = 'hunter2'
  const error = Object.assign(new Error(`connect to amqp://guest:${hidden}@broker failed with Bearer ${hidden}`), {
    config: { headers: { authorization: hidden } },
  })
  const text = logged((log) => {
    log.info(
      {
        authorization: hidden,
        req: { headers: { Cookie: hidden, 'x-api-key': hidden } },
        list: [{ token: hidden }],
        jwtSecrets: [hidden],
        password: hidden,
        phone: hidden,
      },
      'one',
    )
    log.error({ err: error, cause: { deep: { access_token: hidden } } }, 'two')
    log.error(error)
    log.warn({ url: `mongodb://root:${hidden}@host/`, jwt: `eyJhbGciOiJIUzI1NiJ9.${hidden}.${hidden}` }, 'three')
  })
  expect(text).not.toContain(hidden)
  expect(text).toContain('broker failed')
  expect(text.trim().split('\n')).toHaveLength(4)
})

test.each([
  ['alone', 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln', '[redacted]'],
  ['in a query', '/x?token=eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln&y=1', '/x?token=[redacted]&y=1'],
  ['behind a dash and dots', 'a.b.my-eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln.txt', 'a.b.my-[redacted].txt'],
  ['with its signature cut off', 'got eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0. of them', 'got [redacted] of them'],
  ['twice', 'eyJhbGci.eyJz.a.eyJhbGci.eyJz.b', '[redacted].[redacted]'],
  ['no token', 'fieldline.conversation.service eyJhbGci.x', 'fieldline.conversation.service eyJhbGci.x'],
])('of a text that holds a token the rest stays: %s', (_where, text, scrubbed) => {
  expect(scrub(text)).toBe(scrubbed)
})

test.each(['-eyJa', '-eyJaaaa.a', 'eyJ.', 'Bearer ', 'a://b', 'a://:', '.', '-a.'])(
  'a text made of %j a hundred thousand times is scrubbed in no time (ReDoS)',
  (part) => {
    const began = performance.now()
    scrub(part.repeat(100_000))
    expect(performance.now() - began).toBeLessThan(500)
  },
)

test('a line names the request it belongs to', () => {
  const text = logged((log) => withRequestId('r-1', () => log.info({ attempts: 2 }, 'tried')))
  expect(JSON.parse(text)).toMatchObject({ name: 'test', level: 'info', requestId: 'r-1', attempts: 2, msg: 'tried' })
})

test('a cycle, a big value and an error as a cause do no harm', () => {
  const cycle: Record<string, unknown> = {}
  cycle.self = cycle
  const text = logged((log) => log.info({ cycle, buffer: Buffer.alloc(1_000_000), err: new Error('a', { cause: new Error('b') }) }, 'x'))
  expect(text.length).toBeLessThan(10_000)
  expect(JSON.parse(text)).toMatchObject({ err: { message: 'a', cause: { message: 'b' } } })
})
