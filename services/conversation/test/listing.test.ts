// A list read page by page while it moves: with a cursor, nothing is skipped and nothing comes twice (spec 2).
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { ConversationStore } from '../src/conversations/conversation.store.ts'
import { onEachDatabase, type Service, startService, tokenOf } from './service.ts'

await onEachDatabase((database) => {
  let service: Service
  let counts = 0
  const admin = tokenOf('Admin', 'meena')
  const farmers: { token: string; id: string }[] = []
  beforeAll(async () => {
    const counting = (store: ConversationStore): ConversationStore => ({
      ...store,
      count(filter) {
        counts += 1
        return store.count(filter)
      },
    })
    service = await startService(database, { deps: { store: counting } })
    for (let n = 0; n < 12; n += 1) {
      const token = tokenOf('User', `farmer-${n}`)
      const id = (await service.as(token)('POST', '/conversations')).body.data._id
      await service.as(token)('POST', '/messages', { conversationId: id, content: 'hello' })
      farmers.push({ token, id })
    }
  })
  afterAll(() => service.stop())

  const story = fc.record({
    limit: fc.integer({ min: 1, max: 5 }),
    moves: fc.array(fc.array(fc.nat({ max: 11 }), { maxLength: 4 }), { minLength: 12, maxLength: 12 }),
  })

  test('by activity, whoever writes in between', async () => {
    await fc.assert(
      fc.asyncProperty(story, async ({ limit, moves }) => {
        const before = (await service.as(admin)('GET', '/support/conversations?limit=100')).body.data.map(({ _id }: { _id: string }) => _id)
        const seen: string[] = []
        let cursor = ''
        for (let page = 0; ; page += 1) {
          const { body } = await service.as(admin)('GET', `/support/conversations?limit=${limit}${cursor && `&cursor=${cursor}`}`)
          seen.push(...body.data.map(({ _id }: { _id: string }) => _id))
          expect(body.pagination.totalItems).toBe(12)
          if (!body.pagination.hasNextPage) break
          cursor = body.pagination.nextCursor
          for (const n of moves[page] ?? []) {
            const { token, id } = farmers[n] as (typeof farmers)[number]
            await service.as(token)('POST', '/messages', { conversationId: id, content: 'again' })
          }
        }
        expect(seen).toEqual(before)
      }),
      { numRuns: 8 },
    )
  })

  test('a cursor goes on from a page by number, and shows nothing of the pages before it', async () => {
    const list = async (query: string) => (await service.as(admin)('GET', `/support/conversations?${query}`)).body
    const idsOf = ({ data }: { data: { _id: string }[] }) => data.map(({ _id }) => _id)
    for (const content of ['one', 'two'])
      for (const { token, id } of farmers) await service.as(token)('POST', '/messages', { conversationId: id, content })
    const whole = idsOf(await list('limit=100'))
    const seen = idsOf(await list('limit=3&page=1'))
    let page = await list('limit=3&page=2')
    // Of those below page 2 one moves up before it is reached.
    const last = farmers.find(({ id }) => id === whole.at(-1))
    await service.as(last?.token ?? '')('POST', '/messages', { conversationId: last?.id, content: 'again' })
    seen.push(...idsOf(page))
    while (page.pagination.nextCursor) {
      page = await list(`limit=3&cursor=${page.pagination.nextCursor}`)
      seen.push(...idsOf(page))
    }
    expect(seen).toEqual(whole)
  })

  test('by waiting time, who waits longest first', async () => {
    const first = await service.as(admin)('GET', '/support/conversations?sort=waitingSince&limit=5')
    const second = await service.as(admin)(
      'GET',
      `/support/conversations?sort=waitingSince&limit=50&cursor=${first.body.pagination.nextCursor}`,
    )
    expect([...first.body.data, ...second.body.data].map(({ _id }) => _id)).toEqual(farmers.map(({ id }) => id))
    expect((await service.as(admin)('GET', `/support/conversations?limit=5&cursor=${first.body.pagination.nextCursor}`)).status).toBe(400)
  })

  test('pages by number say how many there are', async () => {
    const { body } = await service.as(admin)('GET', '/support/conversations?limit=5&page=3')
    expect(body.data).toHaveLength(2)
    expect(body.pagination).toEqual({ currentPage: 3, totalPages: 3, totalItems: 12, limit: 5, hasNextPage: false })
    expect((await service.as(admin)('GET', '/support/conversations?limit=5&page=4')).body).toMatchObject({
      data: [],
      pagination: { hasNextPage: false },
    })
  })

  test('pages by number are the list cut, in either order, and a far one is refused without a look at it', async () => {
    for (const sort of ['activity', 'waitingSince']) {
      const list = async (query: string) => (await service.as(admin)('GET', `/support/conversations?sort=${sort}&${query}`)).body.data
      const pages = await Promise.all([1, 2, 3].map((page) => list(`limit=5&page=${page}`)))
      expect(pages.flat()).toEqual(await list('limit=100'))
    }
    counts = 0
    const far = await service.as(admin)('GET', '/support/conversations?limit=100&page=900000')
    expect(far).toMatchObject({ status: 400, body: { code: 'VALIDATION_FAILED', details: [{ field: 'page' }] } })
    expect(far.body.message).toContain('cursor')
    expect(counts).toBe(0)
    expect((await service.as(farmers[0]?.token ?? '')('GET', '/conversations?page=502')).status).toBe(400)
    expect((await service.as(farmers[0]?.token ?? '')('GET', '/conversations?page=501')).body.data).toEqual([])
  })

  test('a list of one status has that one’s total beside the counts of all, counted once', async () => {
    counts = 0
    const { body } = await service.as(admin)('GET', '/support/conversations?status=closed')
    expect(body).toMatchObject({ data: [], pagination: { totalItems: 0 }, counts: { waiting: 12, open: 0, resolved: 0, closed: 0 } })
    expect(counts).toBe(1)
  })
})
