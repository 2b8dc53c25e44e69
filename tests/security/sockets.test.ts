// Closed: what a socket could be abused for: packets, origins, tokens that run out, other people's sessions (OWASP WebSocket security).
import { describe, expect, test } from '@jest/globals'
import { request, WebSocket } from 'undici'
import { eventually, rest } from '../support/client.ts'
import { token } from '../support/whole.ts'
import { onTheWhole, type people, type Stage, tokenOf } from './stage.ts'

type SocketDoor = 'gateway' | 'realtime'
const engine = (url: string, query = '') => `${url}/socket.io/?EIO=4&transport=websocket${query}`.replace('http', 'ws')

/** A bare WebSocket: what it heard, and its end. */
function bare(url: string, headers: Record<string, string> = {}) {
  const socket = new WebSocket(engine(url), { headers })
  const heard: string[] = []
  let ended: number | undefined
  socket.addEventListener('message', ({ data }) => heard.push(String(data)))
  socket.addEventListener('close', ({ code }) => {
    ended = code
  })
  socket.addEventListener('error', () => undefined)
  return {
    heard,
    send: (packet: string | Uint8Array<ArrayBuffer>) => socket.send(packet),
    /** Resolves once something heard fits, or the end came. */
    until: (fits: (packet: string) => boolean, withinMs = 5_000) =>
      eventually(() => heard.find(fits) ?? (ended === undefined ? false : 'ended'), withinMs),
    closed: (withinMs = 5_000) => eventually(() => ended !== undefined, withinMs),
    close: () => socket.close(),
  }
}

async function connected(stage: Stage, door: SocketDoor, who: keyof typeof people) {
  const socket = bare(stage.url(door))
  await socket.until((packet) => packet.startsWith('0'))
  socket.send(`40${JSON.stringify({ token: tokenOf(who) })}`)
  await socket.until((packet) => packet.startsWith('40'))
  return socket
}

onTheWhole(
  { CONNECT_TIMEOUT_MS: '1500', SOCKETS_PER_PERSON: '6' },
  (stage) => {
    const alive = async (door: SocketDoor): Promise<void> => {
      const honest = stage.connect(tokenOf('lata'), door)
      expect(await honest.ask('conversation:join', { conversationId: stage.scene.latas })).toMatchObject({ ok: true })
      honest.close()
    }
    const pidOf = (door: SocketDoor): number => (stage.doors.length === 1 ? stage.whole.started[0] : stage.whole.processOf(door))?.pid ?? 0
    for (const door of stage.doors.filter((each): each is SocketDoor => each === 'gateway' || each === 'realtime')) {
      describe(door, () => {
        test.each([
          [
            'a text packet of 100 KB',
            (conversationId: string) => `42${JSON.stringify(['message:send', { conversationId, content: 'x'.repeat(100_000) }])}`,
          ],
          ['a binary packet of 100 KB', () => new Uint8Array(100_000)],
        ])('%s disconnects its sender; the process lives on', async (_name, packet) => {
          const pid = pidOf(door)
          const sender = await connected(stage, door, 'rajesh')
          sender.send(packet(stage.scene.rajeshs))
          await sender.closed()
          await alive(door)
          expect(pidOf(door)).toBe(pid)
        })
        test('a packet of 60 KB is none too large: it is answered', async () => {
          const sender = await connected(stage, door, 'rajesh')
          sender.send(`420${JSON.stringify(['message:send', { conversationId: stage.scene.rajeshs, content: 'x'.repeat(60_000) }])}`)
          expect(await sender.until((heard) => heard.startsWith('430'))).toContain('VALIDATION_FAILED')
          sender.close()
        })
        test('100 KB by polling are refused or end the session; the process lives on', async () => {
          const open = await request(`${stage.url(door)}/socket.io/?EIO=4&transport=polling`)
          const { sid } = JSON.parse((await open.body.text()).slice(1)) as { sid: string }
          const posted = await request(`${stage.url(door)}/socket.io/?EIO=4&transport=polling&sid=${sid}`, {
            method: 'POST',
            body: `40${'x'.repeat(2_000_000)}`,
            headers: { 'content-type': 'text/plain' },
          }).then(
            ({ statusCode, body }) => body.dump().then(() => statusCode),
            () => 0,
          )
          expect([0, 400, 413]).toContain(posted)
          await alive(door)
        })

        const oddities: readonly (readonly [string, string])[] = [
          ['no payload', '42["conversation:join"]'],
          ['payload null', '42["message:send",null]'],
          ['an acknowledgement id beyond numbers', '4299999999999999999999["conversation:join",{}]'],
          ['an event named __proto__', '42["__proto__",{}]'],
          ['an event named constructor', '42["constructor",{}]'],
          ['an event named hasOwnProperty', '42["hasOwnProperty","x"]'],
          ['an event named toString', '420["toString"]'],
          ['a reserved event, disconnect', '42["disconnect","transport close"]'],
          ['a reserved event, connect_error', '42["connect_error",{}]'],
          ['a reserved event, newListener', '42["newListener","x"]'],
          ['a reserved event, disconnecting', '42["disconnecting","x"]'],
          ['an event nobody knows', '420["admin:become",{"role":"Admin"}]'],
          ['a server’s event', '42["message:new",{"message":{},"conversationId":"x"}]'],
          ['an event that is a number', '42[7,{}]'],
          ['an event that is an object', '42[{"$ne":null},{}]'],
          ['no array', '42{"event":"message:send"}'],
          ['broken JSON', '42["message:send",{'],
          ['no JSON', '4😀'],
          ['an acknowledgement nobody asked for', '437[{"ok":true}]'],
          ['a billion attachments', '45999999999-["message:send",{"_placeholder":true,"num":0}]'],
          ['an attachment that never comes', '451-["message:send",{"_placeholder":true,"num":0}]'],
          ['an attachment of negative number', '451-["message:send",{"_placeholder":true,"num":-1}]'],
          ['another namespace', '40/admin,'],
          ['a namespace from a prototype', '40/__proto__,{"token":"x"}'],
          ['CONNECT twice', '40{"token":"x"}'],
          ['a packet type nobody knows', '9whatever'],
          ['JSON 10,000 deep', `42["message:send",${'['.repeat(10_000)}${']'.repeat(10_000)}]`],
          ['__proto__ in a payload', '420["message:send",{"__proto__":{"role":"Admin"},"conversationId":"x"}]'],
        ]
        test.each(oddities)('%s: at most its sender is disconnected', async (_name, packet) => {
          const pid = pidOf(door)
          const sender = await connected(stage, door, 'sunita')
          sender.send(packet)
          // Its session still answers a ping of Socket.IO's own, or it was ended: both within a moment.
          sender.send(`4277${JSON.stringify(['conversation:mark-all-read', { conversationId: stage.scene.rajeshs }])}`)
          const answer = await sender.until((heard) => heard.startsWith('4377'))
          if (answer !== 'ended') expect(answer).toContain('FORBIDDEN')
          sender.close()
          await alive(door)
          expect(pidOf(door)).toBe(pid)
        })
        test('frames of 60 KB and a billion attachments announced leave memory where it was', async () => {
          const sender = await connected(stage, door, 'sunita')
          for (let index = 0; index < 50; index += 1) sender.send(`45${index + 2}-["x",{"_placeholder":true,"num":0}]`)
          sender.close()
          await alive(door)
        })

        test('events before a token are not listened to', async () => {
          const nobody = bare(stage.url(door))
          await nobody.until((packet) => packet.startsWith('0'))
          nobody.send(`420${JSON.stringify(['message:send', { conversationId: stage.scene.rajeshs, content: 'from nobody' }])}`)
          await nobody.closed()
          const { body } = await stage.as('asha')('GET', `/messages/${stage.scene.rajeshs}`)
          expect(JSON.stringify(body.data)).not.toContain('from nobody')
        })
        test('a connection that has left its session is closed: it would count in no limit', async () => {
          const leaver = await connected(stage, door, 'sunita')
          leaver.send('41')
          await leaver.closed()
        })
        test('a connection that shows no token is closed', async () => {
          const silent = bare(stage.url(door))
          await silent.until((packet) => packet.startsWith('0'))
          await silent.closed(6_000)
        })

        test.each([
          ['a foreign origin', 'https://evil.example', false],
          ['an origin that begins like ours', 'http://localhost.evil.example', false],
          ['origin null (a sandboxed frame, a file)', 'null', false],
          ['localhost, in development', 'http://localhost:3000', true],
        ])('%s', async (_name, origin, lets) => {
          const socket = bare(stage.url(door), { origin })
          expect((await socket.until((packet) => packet.startsWith('0'))) !== 'ended').toBe(lets)
          socket.close()
          const polling = await request(`${stage.url(door)}/socket.io/?EIO=4&transport=polling`, { headers: { origin } })
          await polling.body.dump()
          expect(polling.statusCode === 200).toBe(lets)
          if (!lets) expect(polling.headers['access-control-allow-origin']).toBeUndefined()
        })

        test('when the token runs out the socket is told and disconnected for good', async () => {
          const brief = stage.connect(token('User', 'sunita', { expiresIn: 3 }), door)
          await brief.next('connect')
          await brief.next('error', ({ code }) => code === 'TOKEN_EXPIRED', 20_000)
          expect(await brief.next('disconnect', undefined, 20_000)).toBe('io server disconnect')
          expect(brief.socket.active).toBe(false)
        })
        test('a refreshed token keeps the socket; another person’s, an expired or a forged one does not change who it is', async () => {
          const socket = stage.connect(token('User', 'sunita', { expiresIn: 4 }), door)
          await socket.next('connect')
          const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from('{"sub":"sunita","role":"Admin","exp":9999999999}').toString('base64url')}.`
          for (const bad of [tokenOf('meena'), token('User', 'rajesh'), token('User', 'sunita', { expiresIn: -60 }), none, 'x']) {
            expect(await socket.ask('auth:refresh', { token: bad })).toMatchObject({ ok: false })
          }
          expect(await socket.ask('conversation:join', { conversationId: stage.scene.rajeshs })).toMatchObject({
            ok: false,
            error: { code: 'FORBIDDEN' },
          })
          expect(await socket.ask('auth:refresh', { token: tokenOf('sunita') })).toMatchObject({ ok: true })
          // Past the first token's end, it is still there.
          const witness = stage.connect(token('User', 'sunita', { expiresIn: 5 }), door)
          await witness.next('error', ({ code }) => code === 'TOKEN_EXPIRED', 20_000)
          expect(await socket.ask('conversation:join', { conversationId: stage.scene.sunitas })).toMatchObject({ ok: true })
          expect(socket.all('disconnect')).toEqual([])
          socket.close()
        })

        test('a session id nobody has is a bad request, by polling and as an upgrade', async () => {
          for (const sid of ['x'.repeat(20), '../../internal/presence', '__proto__', `${'a'.repeat(300)}`, '%00']) {
            const answer = await request(`${stage.url(door)}/socket.io/?EIO=4&transport=polling&sid=${encodeURIComponent(sid)}`)
            await answer.body.dump()
            expect(answer.statusCode).toBe(400)
            const socket = new WebSocket(engine(stage.url(door), `&sid=${encodeURIComponent(sid)}`))
            await new Promise((resolve) => {
              socket.addEventListener('error', resolve)
              socket.addEventListener('close', resolve)
            })
            expect(socket.readyState).toBe(WebSocket.CLOSED)
          }
        })

        test('a person’s sockets beyond the limit push out the oldest, nobody else’s', async () => {
          const other = stage.connect(tokenOf('sunita'), door)
          await other.next('connect')
          const person = token('User', `crowd-${door}`)
          const own = []
          for (let index = 0; index < 7; index += 1) {
            const socket = stage.connect(person, door, { reconnection: false })
            await socket.next('connect')
            own.push(socket)
          }
          await own[0]?.next('disconnect')
          expect(own.slice(1).flatMap((each) => each.all('disconnect'))).toEqual([])
          expect(other.all('disconnect')).toEqual([])
          for (const each of [...own, other]) each.close()
        })
      })
    }

    test('a web page of a foreign origin may not read REST answers either', async () => {
      for (const origin of ['https://evil.example', 'null', 'http://localhost.evil.example']) {
        const { headers } = await rest(stage.url(), tokenOf('asha'))('GET', '/conversations', undefined, { headers: { origin } })
        expect(headers['access-control-allow-origin']).toBeUndefined()
      }
      const { headers } = await rest(stage.url(), tokenOf('asha'))('GET', '/conversations', undefined, {
        headers: { origin: 'http://localhost:3000' },
      })
      expect(headers['access-control-allow-origin']).toBe('http://localhost:3000')
    })
  },
  true,
)
