// Closed: what is somebody else's, by every route and every event, for every role (OWASP API1:2023 object level, API5:2023 function level).
import { describe, expect, test } from '@jest/globals'
import { eventually, rest } from '../support/client.ts'
import { token } from '../support/whole.ts'
import { type Door, type Name, onTheWhole, type Scene, tokenOf } from './stage.ts'

type Path = (scene: Scene) => string
interface Call {
  who: Name
  /** What the caller wants; with `who` it names the test. */
  wants: string
  method: 'GET' | 'POST' | 'PATCH'
  path: Path
  body?: (scene: Scene) => object
  gets: number
  code?: string
  at?: Door
}
const unknown = 'f'.repeat(24)
const of =
  (id: (scene: Scene) => string, before: string, after = ''): Path =>
  (scene) =>
    `${before}${id(scene)}${after}`
const rajeshs = (scene: Scene) => scene.rajeshs
const latas = (scene: Scene) => scene.latas

/** Every route that names a conversation, as someone to whom it is foreign. */
function foreign(who: Name): Call[] {
  const call = (wants: string, method: Call['method'], path: Path, body?: Call['body']): Call => ({
    who,
    wants: `${wants} a foreign conversation`,
    method,
    path,
    gets: 403,
    code: 'FORBIDDEN',
    ...(body ? { body } : {}),
  })
  return [
    call('read', 'GET', of(rajeshs, '/conversations/')),
    call('read the assignments of', 'GET', of(rajeshs, '/conversations/', '/assignments')),
    call('read the messages of', 'GET', of(rajeshs, '/messages/')),
    call('read the messages after 0 of', 'GET', of(rajeshs, '/messages/', '?afterSeq=0')),
    call('read the messages before 9 of', 'GET', of(rajeshs, '/messages/', '?beforeSeq=9')),
    call(
      'write to',
      'POST',
      () => '/messages',
      (scene) => ({ conversationId: scene.rajeshs, content: 'let me in' }),
    ),
    call('mark as read', 'PATCH', of(rajeshs, '/conversations/', '/read')),
    call('close', 'PATCH', of(rajeshs, '/conversations/', '/status'), () => ({ status: 'closed' })),
  ]
}
const may = (who: Name, wants: string, method: Call['method'], path: Path | string, gets = 200, body?: Call['body'], at?: Door): Call => ({
  who,
  wants,
  method,
  path: typeof path === 'string' ? () => path : path,
  gets,
  ...(body ? { body } : {}),
  ...(at ? { at } : {}),
})
const not = (who: Name, wants: string, method: Call['method'], path: Path | string, body?: Call['body'], at?: Door): Call => ({
  ...may(who, wants, method, path, 403, body, at),
  code: 'FORBIDDEN',
})

const calls: readonly Call[] = [
  // Object level, and that the right ones do get in.
  ...foreign('sunita'),
  ...foreign('vikram'),
  may('rajesh', 'read his own conversation', 'GET', of(rajeshs, '/conversations/')),
  may('asha', 'read the conversation she has', 'GET', of(rajeshs, '/messages/')),
  may('meena', 'read any conversation', 'GET', of(rajeshs, '/messages/')),
  may('vikram', 'read a conversation that waits', 'GET', of(latas, '/messages/')),
  not('sunita', 'read another farmer’s that waits', 'GET', of(latas, '/messages/')),
  not(
    'vikram',
    'write to one that waits',
    'POST',
    () => '/messages',
    (scene) => ({ conversationId: scene.latas, content: 'hi' }),
  ),
  not('vikram', 'mark one that waits as read', 'PATCH', of(latas, '/conversations/', '/read')),
  not('vikram', 'close one that waits', 'PATCH', of(latas, '/conversations/', '/status'), () => ({ status: 'closed' })),
  // Property and function level.
  not('rajesh', 'resolve his own conversation', 'PATCH', of(rajeshs, '/conversations/', '/status'), () => ({ status: 'resolved' })),
  not('rajesh', 'see who was assigned to him and why', 'GET', of(rajeshs, '/conversations/', '/assignments')),
  not('rajesh', 'list the desk', 'GET', '/support/conversations'),
  not('rajesh', 'list agents', 'GET', '/support/agents'),
  not('rajesh', 'see statistics', 'GET', '/support/stats', undefined, 'stats'),
  not('rajesh', 'claim', 'POST', of(latas, '/support/conversations/', '/claim')),
  not('rajesh', 'reassign', 'POST', '/support/reassign', (scene) => ({ conversationId: scene.rajeshs, supportId: 'vikram' })),
  not('rajesh', 'be available', 'PATCH', '/support/availability', () => ({ available: true })),
  not('asha', 'reassign', 'POST', '/support/reassign', (scene) => ({ conversationId: scene.rajeshs, supportId: 'vikram' })),
  not('asha', 'open a farmer’s conversation', 'POST', '/conversations'),
  not('meena', 'open a farmer’s conversation', 'POST', '/conversations'),
  not('meena', 'claim', 'POST', of(latas, '/support/conversations/', '/claim')),
  not('meena', 'be available', 'PATCH', '/support/availability', () => ({ available: true })),
  {
    who: 'vikram',
    wants: 'claim what Asha has',
    method: 'POST',
    path: of(rajeshs, '/support/conversations/', '/claim'),
    gets: 409,
    code: 'ALREADY_ASSIGNED',
  },
  may('asha', 'list the desk', 'GET', '/support/conversations'),
  may('asha', 'list agents', 'GET', '/support/agents'),
  may('asha', 'see statistics', 'GET', '/support/stats', 200, undefined, 'stats'),
  // What doesn't exist is 404 to everybody, so that 403 tells nothing but itself.
  ...(['rajesh', 'asha', 'meena'] as const).flatMap((who): Call[] => [
    {
      who,
      wants: 'read one that does not exist',
      method: 'GET',
      path: () => `/conversations/${unknown}`,
      gets: 404,
      code: 'CONVERSATION_NOT_FOUND',
    },
    {
      who,
      wants: 'write to one that does not exist',
      method: 'POST',
      path: () => '/messages',
      body: () => ({ conversationId: unknown, content: 'x' }),
      gets: 404,
      code: 'CONVERSATION_NOT_FOUND',
    },
  ]),
]

const events: readonly { event: string; payload: (scene: Scene) => unknown }[] = [
  { event: 'conversation:join', payload: ({ rajeshs: conversationId }) => ({ conversationId }) },
  { event: 'conversation:join', payload: ({ rajeshs: conversationId }) => ({ conversationId, afterSeq: 0 }) },
  { event: 'conversation:join', payload: ({ rajeshs: conversationId }) => conversationId },
  { event: 'message:send', payload: ({ rajeshs: conversationId }) => ({ conversationId, content: 'let me in' }) },
  { event: 'message:read', payload: ({ rajeshs: conversationId, messageId }) => ({ conversationId, messageId }) },
  { event: 'conversation:mark-all-read', payload: ({ rajeshs: conversationId }) => ({ conversationId }) },
  { event: 'conversation:mark-all-read', payload: ({ rajeshs: conversationId }) => conversationId },
]

onTheWhole(
  {},
  (stage) => {
    for (const door of stage.doors.filter((each) => each !== 'realtime' && each !== 'media')) {
      describe(`${door}, over REST`, () => {
        const here = calls.filter(({ at = 'conversation' }) => door === 'gateway' || door === at)
        test.each(here.map((call) => [`${call.who} wants to ${call.wants}`, call.gets, call] as const))(
          '%s: %i',
          async (_name, _gets, { who, method, path, body, gets, code }) => {
            const answer = await stage.as(who, door)(method, path(stage.scene), body?.(stage.scene))
            expect(answer).toMatchObject({ status: gets, ...(code ? { body: { success: false, code } } : {}) })
          },
        )
      })
    }

    describe('lists and figures show nothing foreign', () => {
      for (const door of stage.doors.filter((each) => each === 'gateway' || each === 'conversation')) {
        const idsOf = (body: { data: { _id: string }[] }) => body.data.map(({ _id }) => _id)
        test(`${door}: a farmer’s list holds the farmer’s own, whatever is asked`, async () => {
          for (const query of ['', '?userId=rajesh', '?assignedTo=asha', '?status=open', '?limit=100']) {
            const { body } = await stage.as('sunita', door)('GET', `/conversations${query}`)
            expect({ query, ids: idsOf(body), total: body.pagination.totalItems }).toEqual({ query, ids: [stage.scene.sunitas], total: 1 })
          }
        })
        test(`${door}: an agent’s desk holds its own and the queue, in ids, totals and counts`, async () => {
          const { body } = await stage.as('vikram', door)('GET', '/support/conversations?limit=100')
          expect(new Set(idsOf(body))).toEqual(new Set([stage.scene.sunitas, stage.scene.latas]))
          expect(body.pagination.totalItems).toBe(2)
          expect(body.counts).toMatchObject({ open: 1, waiting: 1 })
          const hers = await stage.as('vikram', door)('GET', '/support/conversations?assignedTo=asha')
          expect({ ids: idsOf(hers.body), total: hers.body.pagination.totalItems }).toEqual({ ids: [], total: 0 })
          const all = await stage.as('meena', door)('GET', '/support/conversations?limit=100')
          expect(all.body.pagination.totalItems).toBe(3)
        })
        test(`${door}: a cursor of one person’s list is of no use to another`, async () => {
          const { body } = await stage.as('meena', door)('GET', '/support/conversations?limit=1')
          const next = await stage.as('vikram', door)('GET', `/support/conversations?limit=100&cursor=${body.pagination.nextCursor}`)
          expect([200, 400]).toContain(next.status)
          if (next.status === 200) expect(idsOf(next.body)).not.toContain(stage.scene.rajeshs)
          const farmers = await stage.as('sunita', door)('GET', `/conversations?limit=100&cursor=${body.pagination.nextCursor}`)
          expect([200, 400]).toContain(farmers.status)
          if (farmers.status === 200) expect(idsOf(farmers.body).filter((id) => id !== stage.scene.sunitas)).toEqual([])
        })
      }
      for (const door of stage.doors.filter((each) => each === 'gateway' || each === 'stats')) {
        test(`${door}: an agent asking for another agent’s figures gets none of them`, async () => {
          await eventually(async () => (await stage.as('meena', door)('GET', '/support/stats')).body.data.conversations.total >= 3)
          const { status, body } = await stage.as('vikram', door)('GET', '/support/stats?agentId=asha')
          expect([200, 403]).toContain(status)
          if (status === 200) expect(body.data.agents.map(({ agent }: { agent: { _id: string } }) => agent._id)).not.toContain('asha')
          const own = await stage.as('vikram', door)('GET', '/support/stats')
          expect(own.body.data.agents.map(({ agent }: { agent: { _id: string } }) => agent._id)).not.toContain('asha')
        })
      }
    })

    for (const door of stage.doors.filter((each) => each === 'gateway' || each === 'realtime')) {
      describe(`${door}, over a socket`, () => {
        test.each((['sunita', 'vikram'] as const).flatMap((who) => events.map(({ event, payload }) => [who, event, payload] as const)))(
          '%s: %s on a foreign conversation is FORBIDDEN',
          async (who, event, payload) => {
            const socket = stage.connect(tokenOf(who), door)
            expect(await socket.ask(event, payload(stage.scene))).toMatchObject({
              ok: false,
              error: { code: 'FORBIDDEN', retryable: false },
            })
            await socket.next('error', (error) => error.code === 'FORBIDDEN' && error.event === event)
            socket.close()
          },
        )
        test('typing in a foreign conversation is heard by nobody, and a refused join hears nothing', async () => {
          const { rajeshs: conversationId, ears } = stage.scene
          const intruder = stage.connect(tokenOf('sunita'), door)
          await intruder.next('connect')
          await intruder.ask('conversation:join', { conversationId })
          intruder.socket.emit('typing:start', { conversationId })
          intruder.socket.emit('message:send', { conversationId, content: 'psst' })
          const marker = `after ${door} ${Date.now()}`
          // The intruder's events were handled before this one is acknowledged: one socket's events keep their order.
          await intruder.ask('conversation:join', { conversationId: stage.scene.sunitas })
          await stage.as('rajesh')('POST', '/messages', { conversationId, content: marker })
          for (const ear of [ears.asha, ears.rajesh]) {
            await ear.next('message:new', ({ message }) => message.content === marker)
            expect(ear.all('message:new').filter(({ message }) => message.senderId._id === 'sunita')).toEqual([])
            expect(ear.all('typing:user-typing')).toEqual([])
            expect(
              ear.all('notification:new-message').filter((note) => note.sender.id === 'sunita' && note.conversationId === conversationId),
            ).toEqual([])
          }
          // Something of the intruder's own arrives last: what was foreign would have come before it.
          await stage.as('sunita')('POST', '/messages', { conversationId: stage.scene.sunitas, content: marker })
          await intruder.next('message:new', ({ message }) => message.content === marker && message.conversationId === stage.scene.sunitas)
          const foreignToThem = intruder.told.filter(
            ({ payload }) => JSON.stringify(payload ?? null).includes(conversationId) && !JSON.stringify(payload).includes('FORBIDDEN'),
          )
          expect(foreignToThem).toEqual([])
          intruder.close()
        })
        test('the former agent’s socket hears nothing more once the conversation was taken away', async () => {
          const { sunitas: conversationId, ears } = stage.scene
          const reassign = (supportId: string) => stage.as('meena')('POST', '/support/reassign', { conversationId, supportId, force: true })
          expect((await reassign('asha')).status).toBe(200)
          await eventually(
            async () => (await ears.vikram.ask('conversation:mark-all-read', { conversationId })).error?.code === 'FORBIDDEN',
          )
          const marker = `for Asha only ${door} ${Date.now()}`
          await stage.as('sunita')('POST', '/messages', { conversationId, content: marker })
          await ears.asha.next('notification:new-message', ({ message }) => message.content === marker)
          expect((await reassign('vikram')).status).toBe(200)
          await eventually(async () => (await ears.vikram.ask('conversation:join', { conversationId })).ok)
          expect(ears.vikram.all('message:new').filter(({ message }) => message.content === marker)).toEqual([])
          expect(ears.vikram.all('notification:new-message').filter(({ message }) => message.content === marker)).toEqual([])
        })
      })
    }

    test('a role that was lowered counts at once, for the older, higher token too', async () => {
      const now = Math.floor(Date.now() / 1_000)
      const older = token('Admin', 'kiran', { claims: { iat: now - 60 } })
      const newer = token('User', 'kiran', { claims: { iat: now - 1 } })
      const read = `/messages/${stage.scene.rajeshs}`
      expect((await rest(stage.whole.url, older)('GET', read)).status).toBe(200)
      const ear = stage.connect(older)
      expect((await ear.ask('conversation:join', { conversationId: stage.scene.rajeshs })).ok).toBe(true)
      expect((await rest(stage.whole.url, newer)('GET', read)).status).toBe(403)
      expect((await rest(stage.whole.url, older)('GET', read)).status).toBe(403)
      expect(
        (await rest(stage.whole.url, older)('POST', '/support/reassign', { conversationId: stage.scene.rajeshs, supportId: 'vikram' }))
          .status,
      ).toBe(403)
      // The open connection learns of it by itself, though the newer token came by REST alone.
      let sent = 0
      await eventually(async () => {
        sent += 1
        const before = ear.all('message:new').length
        const farmer = stage.connect(tokenOf('rajesh'))
        expect((await farmer.ask('conversation:join', { conversationId: stage.scene.rajeshs })).ok).toBe(true)
        await stage.as('rajesh')('POST', '/messages', { conversationId: stage.scene.rajeshs, content: `still there? ${sent}` })
        await farmer.next('message:new', ({ message }) => message.content === `still there? ${sent}`)
        farmer.socket.disconnect()
        return ear.all('message:new').length === before
      })
      expect((await ear.ask('conversation:join', { conversationId: stage.scene.rajeshs })).ok).toBe(false)
    })
  },
  true,
)
