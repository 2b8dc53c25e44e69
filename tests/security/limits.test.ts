// Closed: floods, by one person and by one address: 429 for the flooder, nothing for anybody else (OWASP API4:2023).
import { describe, expect, test } from '@jest/globals'
import { Agent, request, WebSocket } from 'undici'
import { eventually, rest } from '../support/client.ts'
import { token } from '../support/whole.ts'
import { onTheWhole, tokenOf } from './stage.ts'

const env = {
  RATE_LIMIT_ENABLED: 'true',
  RATE_LIMIT_WINDOW_MS: '60000',
  RATE_LIMIT_READ: '40',
  RATE_LIMIT_WRITE: '40',
  RATE_LIMIT_UPLOAD: '5',
  RATE_LIMIT_ANONYMOUS: '60',
  RATE_LIMIT_SEND: '1',
  RATE_LIMIT_SEND_BURST: '10',
  RATE_LIMIT_JOIN_BURST: '10',
  RATE_LIMIT_JOIN: '1',
  UNAUTHENTICATED_PER_ADDRESS: '5',
}
const times = <T>(count: number, act: (index: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, index) => act(index)))
const tally = (answers: readonly { status: number }[]): Record<number, number> => {
  const found: Record<number, number> = {}
  for (const { status } of answers) found[status] = (found[status] ?? 0) + 1
  return found
}

/** A bare WebSocket from one of this machine's addresses that never shows a token: whether it was let in. */
async function stranger(url: string, localAddress: string, headers: Record<string, string> = {}) {
  const dispatcher = new Agent({ localAddress })
  const socket = new WebSocket(`${url}/socket.io/?EIO=4&transport=websocket`.replace('http', 'ws'), { headers, dispatcher })
  const isIn = await new Promise<boolean>((resolve) => {
    socket.addEventListener('message', () => resolve(true))
    socket.addEventListener('error', () => resolve(false))
  })
  return { isIn, close: () => socket.close() }
}

onTheWhole(
  env,
  (stage) => {
    describe('over REST', () => {
      test('a person who floods reads gets 429 with Retry-After; others from the same address read on', async () => {
        const flooder = rest(stage.url(), token('User', 'flooder-reads'))
        const answers = await times(100, () => flooder('GET', '/conversations'))
        expect(tally(answers)).toEqual({ 200: 40, 429: 60 })
        const refused = answers.find(({ status }) => status === 429)
        expect(refused?.body).toMatchObject({ success: false, code: 'RATE_LIMITED' })
        expect(Number(refused?.headers['retry-after'])).toBeGreaterThan(0)
        expect(Object.keys(refused?.headers ?? {}).filter((name) => name.startsWith('ratelimit'))).not.toEqual([])
        expect((await rest(stage.url(), token('User', 'bystander'))('GET', '/conversations')).status).toBe(200)
      })
      test('another token of the same person is the same person', async () => {
        const answers = await times(60, (index) =>
          rest(stage.url(), token('User', 'flooder-tokens', { expiresIn: 600 + index }))('GET', '/conversations'),
        )
        expect(tally(answers)).toEqual({ 200: 40, 429: 20 })
      })
      test('reads, writes and uploads are counted apart: a flood of reads leaves writing possible', async () => {
        const person = rest(stage.url(), token('User', 'flooder-writes'))
        await times(60, () => person('GET', '/conversations'))
        const writes = await times(60, () => person('POST', '/conversations'))
        expect(tally(writes)).toEqual({ 200: 40, 429: 20 })
        const uploads = await times(10, () => person('POST', '/media', {}))
        expect(tally(uploads)[429]).toBe(5)
      })
      test('who shows no token is counted by address, and invented X-Forwarded-For make no new address', async () => {
        const answers = await times(150, (index) =>
          rest(stage.url(), index % 2 ? undefined : 'a.b.c')('GET', '/conversations', undefined, {
            headers: {
              'x-forwarded-for': `10.0.${index}.1`,
              'x-real-ip': `10.1.${index}.1`,
              forwarded: `for=10.2.${index}.1`,
              'x-client-ip': `10.3.${index}.1`,
              'cf-connecting-ip': `10.4.${index}.1`,
            },
          }),
        )
        expect(tally(answers)).toEqual({ 401: 60, 429: 90 })
        // The same address, but a token: people are counted by themselves, as carriers put thousands behind one address.
        expect((await rest(stage.url(), token('User', 'same-address'))('GET', '/conversations')).status).toBe(200)
      })
      test('health stays open while others are limited', async () => {
        expect((await request(`${stage.url()}/health/live`)).statusCode).toBe(200)
      })
    })

    for (const door of stage.doors.filter((each) => each === 'gateway' || each === 'realtime')) {
      describe(`${door}, over a socket`, () => {
        test('connections without a token fill the places of their own address only, and give them back', async () => {
          // Only the gateway's word about an address counts, so there a client's own must not.
          const forged = (index: number) =>
            door === 'gateway' ? { 'x-forwarded-for': `10.0.${index}.1`, forwarded: `for=10.0.${index}.1` } : {}
          const crowd = []
          for (let index = 0; index < 8; index += 1) crowd.push(await stranger(stage.url(door), '127.0.0.3', forged(index)))
          expect(crowd.map(({ isIn }) => isIn)).toEqual([true, true, true, true, true, false, false, false])
          const elsewhere = await stranger(stage.url(door), '127.0.0.4')
          expect(elsewhere.isIn).toBe(true)
          const person = stage.connect(token('User', 'same-machine'), door)
          await person.next('connect')
          for (const each of [...crowd, elsewhere, person]) each.close()
          await eventually(async () => {
            const again = await stranger(stage.url(door), '127.0.0.3')
            again.close()
            return again.isIn
          })
        })
        test('a person who floods messages is told so, retryable; the socket stays, and another person’s message passes', async () => {
          const flooder = stage.connect(tokenOf('lata'), door)
          const { latas: conversationId } = stage.scene
          await flooder.next('connect')
          const answers = await times(40, (index) => flooder.ask('message:send', { conversationId, content: `flood ${index}` }))
          const refused = answers.filter(({ ok }) => !ok)
          expect(refused.length).toBeGreaterThanOrEqual(20)
          expect(new Set(refused.map(({ error }) => error.code))).toEqual(new Set(['RATE_LIMITED']))
          expect(refused.every(({ error }) => error.retryable)).toBe(true)
          expect(flooder.all('disconnect')).toEqual([])
          const other = stage.connect(tokenOf('sunita'), door)
          expect(await other.ask('message:send', { conversationId: stage.scene.sunitas, content: `calm ${door}` })).toMatchObject({
            ok: true,
          })
          for (const each of [flooder, other]) each.close()
        })
        test('a second socket of the same person does not double what it may', async () => {
          const who = token('User', 'rajesh')
          const [first, second] = [stage.connect(who, door), stage.connect(who, door)]
          const conversationId = stage.scene.rajeshs
          const answers = await times(60, (index) =>
            (index % 2 ? first : second).ask('message:send', { conversationId, content: `two ${index}` }),
          )
          expect(answers.filter(({ ok }) => ok).length).toBeLessThanOrEqual(30)
          for (const each of [first, second]) each.close()
        })
        test('typing floods nobody: heard seldom, never an error, and messages are not counted with it', async () => {
          const { sunitas: conversationId } = stage.scene
          const typist = stage.connect(tokenOf('vikram'), door)
          const heard = stage.scene.ears.vikram
          await typist.ask('conversation:join', { conversationId })
          const before = heard.all('typing:user-typing').length
          for (let index = 0; index < 300; index += 1) typist.socket.emit('typing:start', { conversationId })
          expect(await typist.ask('conversation:mark-all-read', { conversationId })).toMatchObject({ ok: true })
          expect(typist.all('error')).toEqual([])
          expect(heard.all('typing:user-typing').length - before).toBeLessThanOrEqual(5)
          typist.close()
        })
      })
    }
  },
  true,
)
