// Who sees what over REST and inside, on both databases: one rule for reads, lists, totals and joins (spec 2).
import { newId } from '@fieldline/service/ids'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { onEachDatabase, type Service, startService, tokenOf } from './service.ts'

await onEachDatabase((database) => {
  let service: Service
  const asha = tokenOf('Support', 'asha')
  const vikram = tokenOf('Support', 'vikram')
  const admin = tokenOf('Admin', 'meena')
  const rajesh = tokenOf('User', 'rajesh')
  const sita = tokenOf('User', 'sita')
  let open: string
  let waiting: string

  beforeAll(async () => {
    service = await startService(database, { env: { AGENT_CAPACITY: '1' } })
    await service.online(asha, 'asha')
    await service.as(vikram)('GET', '/conversations')
    open = (await service.as(rajesh)('POST', '/conversations')).body.data._id
    waiting = (await service.as(sita)('POST', '/conversations')).body.data._id
    await service.as(rajesh)('POST', '/messages', { conversationId: open, content: 'secret of rajesh' })
    await service.as(sita)('POST', '/messages', { conversationId: waiting, content: 'secret of sita' })
  })
  afterAll(() => service.stop())

  const statuses = (tokens: string[], method: string, path: string, body?: unknown) =>
    Promise.all(tokens.map(async (token) => (await service.as(token)(method, path, body)).status))

  test('a conversation and its messages are read by the farmer, the assigned agent and an admin; what waits, by every agent', async () => {
    const everyone = [rajesh, asha, admin, vikram, sita]
    for (const path of [`/conversations/${open}`, `/messages/${open}`])
      expect(await statuses(everyone, 'GET', path)).toEqual([200, 200, 200, 403, 403])
    for (const path of [`/conversations/${waiting}`, `/messages/${waiting}`])
      expect(await statuses(everyone, 'GET', path)).toEqual([403, 200, 200, 200, 200])
  })

  test('writing, reading marks and statuses are for those whom it concerns', async () => {
    const say = { conversationId: open, content: 'hi' }
    expect(await statuses([vikram, sita], 'POST', '/messages', say)).toEqual([403, 403])
    expect(await statuses([asha, vikram], 'POST', '/messages', { ...say, conversationId: waiting })).toEqual([403, 403])
    expect(await statuses([rajesh, asha, admin, vikram, sita], 'PATCH', `/conversations/${open}/read`)).toEqual([200, 200, 200, 403, 403])
    expect(await statuses([rajesh, vikram, sita], 'PATCH', `/conversations/${open}/status`, { status: 'resolved' })).toEqual([
      403, 403, 403,
    ])
  })

  test('an admin’s reading moves no mark', async () => {
    const before = (await service.internal('GET', `/conversations/${open}/snapshot`)).body
    await service.as(admin)('PATCH', `/conversations/${open}/read`)
    expect((await service.internal('GET', `/conversations/${open}/snapshot`)).body.eventNo).toBe(before.eventNo)
  })

  test('lists and totals hold what their reader may see', async () => {
    const list = async (token: string, path: string) => {
      const { body } = await service.as(token)('GET', path)
      return { ids: body.data.map(({ _id }: { _id: string }) => _id), total: body.pagination.totalItems, counts: body.counts }
    }
    expect(await list(rajesh, '/conversations')).toMatchObject({ ids: [open], total: 1 })
    expect(await list(asha, '/conversations')).toMatchObject({ ids: [open], total: 1 })
    expect(await list(vikram, '/conversations')).toMatchObject({ ids: [], total: 0 })
    expect(await list(asha, '/support/conversations')).toMatchObject({
      ids: expect.arrayContaining([open, waiting]),
      total: 2,
      counts: { open: 1, waiting: 1 },
    })
    expect(await list(vikram, '/support/conversations')).toEqual({
      ids: [waiting],
      total: 1,
      counts: { waiting: 1, open: 0, resolved: 0, closed: 0 },
    })
    expect(await list(vikram, '/support/conversations?assignedTo=asha')).toMatchObject({ ids: [], total: 0 })
    expect(await list(admin, '/support/conversations?assignedTo=asha')).toMatchObject({ ids: [open], total: 1 })
    expect(await list(admin, '/support/conversations?assignedTo=none&sort=waitingSince')).toMatchObject({ ids: [waiting], total: 1 })
    expect(await list(asha, '/support/conversations?assignedTo=me')).toMatchObject({ ids: [open], total: 1 })
    expect(await statuses([rajesh], 'GET', '/support/conversations')).toEqual([403])
  })

  test('agents and admins don’t open conversations of their own', async () => {
    expect(await statuses([asha, admin], 'POST', '/conversations')).toEqual([403, 403])
  })

  test('unknown is 404, a wrong shape 400', async () => {
    const unknown = newId()
    for (const path of [`/conversations/${unknown}`, `/messages/${unknown}`, `/conversations/${unknown}/assignments`]) {
      expect(await statuses([admin], 'GET', path)).toEqual([404])
    }
    expect(await statuses([rajesh], 'POST', '/messages', { conversationId: unknown, content: 'hi' })).toEqual([404])
    expect(await statuses([rajesh], 'PATCH', `/conversations/${open}/read`, { messageId: unknown })).toEqual([404])
    for (const path of ['/conversations/123', '/messages/123']) expect(await statuses([admin], 'GET', path)).toEqual([400])
  })

  test('services ask the same rule, with the role that counts', async () => {
    const access = async (personId: string, role: string, iat = 1) =>
      (await service.internal('GET', `/conversations/${open}/access?personId=${personId}&role=${role}&iat=${iat}`)).body
    expect(await access('rajesh', 'User')).toEqual({ mayRead: true, mayWrite: true })
    expect(await access('sita', 'User')).toEqual({ mayRead: false, mayWrite: false })
    expect(await access('stranger', 'Support')).toEqual({ mayRead: false, mayWrite: false })
    // Known as a farmer by a newer token: an old admin's token of hers is worth no more.
    expect(await access('sita', 'Admin')).toEqual({ mayRead: false, mayWrite: false })
    expect((await service.internal('GET', `/conversations/${open}/snapshot?personId=sita&role=User&iat=1`)).status).toBe(403)
    expect((await service.internal('GET', `/conversations/${newId()}/access?personId=a&role=User&iat=1`)).status).toBe(404)
  })

  test('people’s tokens open no inner door, a service’s no outer one', async () => {
    const { statusCode } = await import('undici').then(({ request }) =>
      request(`${service.url}/internal/conversations`, { headers: { authorization: `Bearer ${admin}` } }),
    )
    expect(statusCode).toBe(401)
  })

  test('who has the farmer now reads the earlier conversations too; who had them keeps only their own', async () => {
    await service.as(admin)('PATCH', `/conversations/${waiting}/status`, { status: 'closed' })
    await service.as(admin)('PATCH', `/conversations/${open}/status`, { status: 'closed' })
    await service.online(asha, 'asha', false)
    await service.online(vikram, 'vikram')
    const next = (await service.as(rajesh)('POST', '/conversations')).body.data
    expect(next.assignedSupportId._id).toBe('vikram')
    expect(await statuses([vikram, asha], 'GET', `/messages/${open}`)).toEqual([200, 200])
    expect(await statuses([vikram, asha], 'GET', `/messages/${next._id}`)).toEqual([200, 403])
    expect(await statuses([vikram, asha], 'GET', `/messages/${waiting}`)).toEqual([403, 403])
  })

  test('a name changed in a newer token appears everywhere', async () => {
    const soon = Math.floor(Date.now() / 1_000) + 5
    await service.as(tokenOf('User', 'rajesh', { iat: soon, first_name: 'Rajeshwar' }))('GET', '/conversations')
    expect((await service.as(admin)('GET', `/conversations/${open}`)).body.data.userId.first_name).toBe('Rajeshwar')
    expect((await service.as(admin)('GET', `/messages/${open}`)).body.data[0].senderId.first_name).toBe('Rajeshwar')
  })
})
