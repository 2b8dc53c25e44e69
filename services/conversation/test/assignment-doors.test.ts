// The doors of the support desk, over HTTP: who may ask what, what is refused and how, and what an answer holds.
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { AssignmentView, ConversationView, conversationView } from '@fieldline/contracts/conversations'
import type { ConversationId } from '@fieldline/contracts/ids'
import { AgentView, type Person } from '@fieldline/contracts/people'
import { errorHandler } from '@fieldline/service/http-errors'
import { silentLogger } from '@fieldline/service/logger'
import { openSqlite } from '@fieldline/service/sqlite'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import express from 'express'
import { supportDesk } from '../src/assignment/desk.ts'
import { sqlitePlaces } from '../src/assignment/places.store.sqlite.ts'
import { supportRoutes } from '../src/assignment/support.routes.ts'
import { sqliteConversations } from '../src/conversations/conversation.store.sqlite.ts'
import { stateOf } from '../src/conversations/conversation.ts'
import { changeStatus } from '../src/conversations/lifecycle.ts'
import { sqlitePeople } from '../src/people/people.store.sqlite.ts'
import { createWorld, person, type Replica } from './assignment-world.ts'

const [asha, meena, admin, farmer] = [person('asha', 'Support'), person('meena', 'Support'), person('boss', 'Admin'), person('farmer')]
const unknown = 'f'.repeat(24)

let server: Server
let here: Replica
beforeAll(async () => {
  const database = openSqlite(':memory:')
  const conversations = sqliteConversations(database, { outboxLimit: 1_000 })
  const world = createWorld(
    {
      people: sqlitePeople(database),
      places: sqlitePlaces(database),
      conversations,
      clear: async () => undefined,
      close: async () => undefined,
    },
    { capacity: 2 },
  )
  here = world.replica()
  for (const one of [asha, meena, admin]) await here.people.recognize(one)
  const desk = supportDesk({
    assignments: here.assignments,
    store: conversations,
    show: async (conversation, viewer) => conversationView(stateOf(conversation), viewer.id, false),
  })
  const app = express()
  app.use(express.json(), async (req, _res, next) => {
    // As the app's own edge leaves it.
    req.requestId = 'r1'
    req.person = await here.people.recognize(JSON.parse(String(req.get('x-test-person'))) as Person)
    next()
  })
  app.use(supportRoutes({ desk, agents: here.agents }), errorHandler(silentLogger))
  server = app.listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
})
afterAll(async () => {
  await here.stop()
  await new Promise((resolve) => server.close(resolve))
})

async function ask(by: Person, method: string, path: string, body?: unknown) {
  const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`, {
    method,
    headers: { 'x-test-person': JSON.stringify(by), 'content-type': 'application/json', connection: 'close' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return {
    status: answer.status,
    body: (await answer.json()) as { message: string; data: unknown; code?: string; details?: { field: string }[] },
  }
}
let farmers = 0
const create = () => here.create(`farmer ${++farmers}`)
const close = (id: ConversationId) =>
  here.commands.execute(id, { decide: (it, now) => changeStatus(it, { to: 'closed', by: admin, reason: null }, now) })

describe('roles', () => {
  test.each([
    ['POST', `/support/conversations/${unknown}/claim`, 'User'],
    ['POST', `/support/conversations/${unknown}/claim`, 'Admin'],
    ['POST', '/support/reassign', 'User'],
    ['POST', '/support/reassign', 'Support'],
    ['GET', '/support/agents', 'User'],
    ['PATCH', '/support/availability', 'User'],
    ['PATCH', '/support/availability', 'Admin'],
  ] as const)('%s %s is not for the role %s', async (method, path, role) => {
    const { status, body } = await ask({ User: farmer, Support: asha, Admin: admin }[role], method, path, method === 'GET' ? undefined : {})
    expect([status, body.code]).toEqual([403, 'FORBIDDEN'])
  })
  test('a role lowered in a newer token counts for the older one', async () => {
    const ravi = person('ravi', 'Support')
    expect((await ask(ravi, 'GET', '/support/agents')).status).toBe(200)
    await here.people.recognize(person('ravi', 'User', 200))
    expect((await ask(ravi, 'GET', '/support/agents')).status).toBe(403)
  })
})

describe('claiming', () => {
  test('answers with the conversation, now the claimer’s; a second claimer gets 409', async () => {
    const id = await create()
    const { status, body } = await ask(asha, 'POST', `/support/conversations/${id}/claim`)
    expect([status, body.message]).toEqual([200, 'Conversation claimed successfully'])
    expect(ConversationView.parse(body.data)).toMatchObject({
      _id: id,
      status: 'open',
      assignedSupportId: { _id: 'asha', role: 'Support' },
    })
    const second = await ask(meena, 'POST', `/support/conversations/${id}/claim`)
    expect([second.status, second.body.code]).toEqual([409, 'ALREADY_ASSIGNED'])
    await close(id)
  })
  test.each([
    [unknown, 404, 'CONVERSATION_NOT_FOUND'],
    ['conv123', 400, 'VALIDATION_FAILED'],
  ])('of %s: %d', async (id, status, code) => {
    const answer = await ask(asha, 'POST', `/support/conversations/${id}/claim`)
    expect([answer.status, answer.body.code]).toEqual([status, code])
  })
})

describe('reassigning', () => {
  test('takes supportId or assignedSupportId, keeps the reason with the decision, and null puts it back', async () => {
    const id = await create()
    const given = await ask(admin, 'POST', '/support/reassign', { conversationId: id, assignedSupportId: 'asha', reason: 'speaks Hindi' })
    expect(given.body.data).toMatchObject({ assignedSupportId: { _id: 'asha' } })
    const moved = await ask(admin, 'POST', '/support/reassign', { conversationId: id, supportId: 'meena' })
    expect(moved.body.data).toMatchObject({ assignedSupportId: { _id: 'meena' } })
    const back = await ask(admin, 'POST', '/support/reassign', { conversationId: id, supportId: null })
    expect(back.body.data).toMatchObject({ assignedSupportId: null, status: 'waiting' })

    const { status, body } = await ask(admin, 'GET', `/conversations/${id}/assignments`)
    expect(status).toBe(200)
    const views = AssignmentView.array().parse(body.data)
    expect(views.map(({ from, to, reason, note, by }) => [from?._id, to?._id, reason, note, by])).toEqual([
      [undefined, 'asha', 'reassigned', 'speaks Hindi', 'boss'],
      ['asha', 'meena', 'reassigned', null, 'boss'],
      ['meena', undefined, 'released-by-admin', null, 'boss'],
    ])
    await close(id)
  })
  test.each([null, ''])('a reason written as %j is none, and the name that is null gives way to the other', async (reason) => {
    const id = await create()
    await ask(admin, 'POST', '/support/reassign', { conversationId: id, supportId: null, assignedSupportId: 'asha', reason, force: null })
    await ask(admin, 'POST', '/support/reassign', { conversationId: id, supportId: null, assignedSupportId: null, reason })
    const views = AssignmentView.array().parse((await ask(admin, 'GET', `/conversations/${id}/assignments`)).body.data)
    expect(views.map(({ to, note }) => [to?._id, note])).toEqual([
      ['asha', null],
      [undefined, null],
    ])
    await close(id)
  })
  test('decisions are for the own agent and admins only', async () => {
    const id = await create()
    expect((await ask(asha, 'GET', `/conversations/${id}/assignments`)).status).toBe(403)
    expect((await ask(person(`farmer ${farmers}`), 'GET', `/conversations/${id}/assignments`)).status).toBe(403)
    await ask(asha, 'POST', `/support/conversations/${id}/claim`)
    expect((await ask(asha, 'GET', `/conversations/${id}/assignments`)).status).toBe(200)
    expect((await ask(admin, 'GET', `/conversations/${unknown}/assignments`)).status).toBe(404)
    await close(id)
  })
  test('at capacity 409, forced it goes', async () => {
    const ids = [await create(), await create(), await create()]
    for (const id of ids.slice(0, 2)) await ask(admin, 'POST', '/support/reassign', { conversationId: id, supportId: 'asha' })
    const refused = await ask(admin, 'POST', '/support/reassign', { conversationId: ids[2], supportId: 'asha' })
    expect([refused.status, refused.body.code]).toEqual([409, 'AT_CAPACITY'])
    const claimed = await ask(asha, 'POST', `/support/conversations/${ids[2]}/claim`)
    expect([claimed.status, claimed.body.code]).toEqual([409, 'AT_CAPACITY'])
    const forced = await ask(admin, 'POST', '/support/reassign', { conversationId: ids[2], supportId: 'asha', force: true })
    expect(forced.status).toBe(200)
    for (const id of ids) await close(id)
  })
  test.each([
    ['nothing', {}, 'conversationId'],
    ['no agent', { conversationId: unknown }, 'supportId'],
    ['an operator for an id', { conversationId: { $ne: null }, supportId: 'asha' }, 'conversationId.$ne'],
    ['a number for an agent', { conversationId: unknown, supportId: 7 }, 'supportId'],
    ['a word for force', { conversationId: unknown, supportId: 'asha', force: 'yes' }, 'force'],
    ['a reason too long', { conversationId: unknown, supportId: 'asha', reason: 'x'.repeat(501) }, 'reason'],
  ])('with %s: 400 naming the field', async (_, body, field) => {
    const answer = await ask(admin, 'POST', '/support/reassign', body)
    expect([answer.status, answer.body.code]).toEqual([400, 'VALIDATION_FAILED'])
    expect(answer.body.details?.map((one) => one.field)).toContain(field)
  })
  test('to somebody who is no agent: 400 naming the field', async () => {
    const id = await create()
    for (const supportId of ['nobody', 'boss', 'farmer']) {
      const answer = await ask(admin, 'POST', '/support/reassign', { conversationId: id, supportId })
      expect([answer.status, answer.body.details]).toMatchObject([400, [{ field: 'supportId' }]])
    }
    await close(id)
  })
})

describe('availability and agents', () => {
  test('a choice shows in the answer and in the list', async () => {
    const chosen = await ask(meena, 'PATCH', '/support/availability', { available: false })
    expect([chosen.status, chosen.body.message]).toEqual([200, 'Availability updated successfully'])
    expect(AgentView.parse(chosen.body.data)).toMatchObject({ _id: 'meena', available: false, isOnline: false, active: 0, capacity: 2 })
    const list = AgentView.array().parse((await ask(admin, 'GET', '/support/agents')).body.data)
    expect(list.map(({ _id, available }) => [_id, available])).toEqual([
      ['asha', true],
      ['meena', false],
    ])
  })
  test.each([{}, { available: 'no' }, { available: null }])('%j is 400', async (body) => {
    const answer = await ask(asha, 'PATCH', '/support/availability', body)
    expect([answer.status, answer.body.details]).toMatchObject([400, [{ field: 'available' }]])
  })
})
