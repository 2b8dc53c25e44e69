// What goes wrong between the service and its store, on both databases: lost answers, conflicts, a log that can't be written (architecture, "How nothing gets lost").
import { AppError } from '@fieldline/contracts/errors'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { ConversationStore } from '../src/conversations/conversation.store.ts'
import { type Database, eventually, onEachDatabase, type Service, startService, tokenOf } from './service.ts'

const away = () => new AppError('UNAVAILABLE', 'The database is not available now')

type Fault = 'lost-answer' | 'not-written' | 'late' | 'no-log'

/** A store whose next commit goes wrong in one of these ways. */
function faulty(): {
  wrap(store: ConversationStore): ConversationStore
  next: Fault[]
  logless: boolean
  noInsert: boolean
  late: Promise<unknown>[]
} {
  const faults = {
    next: [] as Fault[],
    logless: false,
    noInsert: false,
    late: [] as Promise<unknown>[],
    wrap: (store: ConversationStore): ConversationStore => ({
      ...store,
      async commit(...given) {
        const fault = faults.next.shift()
        if (fault === 'not-written') throw away()
        if (fault === 'late') {
          // The answer gives up before the write arrives: it may land between the next tries.
          faults.late.push(new Promise((resolve) => setTimeout(resolve, 3)).then(() => store.commit(...given)))
          throw away()
        }
        const outcome = await store.commit(...given)
        if (fault === 'lost-answer') throw away()
        return outcome
      },
      async insert(next, entries) {
        if (faults.noInsert) throw away()
        return store.insert(next, entries)
      },
      async append(entries) {
        if (faults.logless) throw away()
        return store.append(entries)
      },
    }),
  }
  return faults
}

await onEachDatabase((database: Database) => {
  const faults = faulty()
  let service: Service
  const databaseUrl = database.url()
  beforeAll(async () => {
    service = await startService(database, {
      databaseUrl,
      deps: { store: faults.wrap },
      env: { RELAY_SWEEP_MS: '50', RELAY_ORPHANED_AFTER_MS: '150' },
    })
  })
  afterAll(async () => {
    await service.stop()
    await database.remove(databaseUrl)
  })

  let people = 0
  async function farmer() {
    people += 1
    const ask = service.as(tokenOf('User', `farmer-${people}`))
    const conversationId = (await ask('POST', '/conversations')).body.data._id as string
    return {
      ask,
      conversationId,
      say: (content: string, more: object = {}) => ask('POST', '/messages', { conversationId, content, ...more }),
    }
  }
  async function everything({ ask, conversationId }: { ask: ReturnType<Service['as']>; conversationId: string }) {
    const messages = (await ask('GET', `/messages/${conversationId}?limit=100`)).body.data as {
      seq: number
      content: string
      _id: string
    }[]
    const { events, head } = (await service.internal('GET', `/conversations/${conversationId}/events?limit=1000`)).body
    expect(messages.map(({ seq }) => seq)).toEqual(messages.map((_, n) => n + 1))
    expect(events.map(({ eventno }: { eventno: number }) => eventno)).toEqual(Array.from({ length: head }, (_, n) => n + 1))
    return messages
  }

  test.each([
    ['lost-answer'],
    ['not-written'],
    ['late'],
    ['lost-answer', 'lost-answer'],
    ['late', 'late', 'not-written', 'lost-answer'],
  ] as Fault[][])('a write that ends in %s, %s … sends once, without a hole', async (...sequence: Fault[]) => {
    const it = await farmer()
    await it.say('before')
    faults.next.push(...sequence)
    const answers = [await it.say('during'), await it.say('after')]
    faults.next.splice(0)
    expect(answers.map(({ status }) => status)).toEqual([201, 201])
    await Promise.all(faults.late.splice(0))
    const messages = await everything(it)
    expect(messages.map(({ content }) => content)).toEqual(['before', 'during', 'after'])
    expect(messages[1]?._id).toBe(answers[0]?.body.data._id)
  })

  test('a store that stays away is 503 after a bounded time, and nothing is in', async () => {
    const it = await farmer()
    faults.next.push(...Array<Fault>(50).fill('not-written'))
    const answer = await it.say('never', { clientMessageId: 'k' })
    faults.next.splice(0)
    expect([answer.status, answer.body.code]).toEqual([503, 'UNAVAILABLE'])
    expect(answer.headers['retry-after']).toBeDefined()
    expect(await everything(it)).toEqual([])
    expect((await it.say('never', { clientMessageId: 'k' })).status).toBe(201)
  })

  describe('between the commit and the log', () => {
    test('a message is answered, shown at once, known by its key, and published when the log is there again', async () => {
      const it = await farmer()
      faults.logless = true
      const sent = await it.say('committed', { clientMessageId: 'k1' })
      const again = await it.say('committed', { clientMessageId: 'k1' })
      expect([sent.status, again.status, again.body.data._id]).toEqual([201, 200, sent.body.data._id])
      expect((await it.say('other', { clientMessageId: 'k1' })).status).toBe(409)
      await it.say('the next')
      expect((await everything(it)).map(({ content }) => content)).toEqual(['committed', 'the next'])
      const snapshot = (await service.internal('GET', `/conversations/${it.conversationId}/snapshot?afterSeq=1`)).body
      expect(snapshot).toMatchObject({ lastSeq: 2, messages: [{ seq: 2 }] })
      expect(
        (
          await service.internal('POST', '/messages/committed', {
            messages: [{ messageId: sent.body.data._id, conversationId: it.conversationId }],
          })
        ).body,
      ).toEqual({
        messageIds: [sent.body.data._id],
      })
      faults.logless = false
      const ours = () => service.published.filter((event) => event.conversationid === it.conversationId)
      await eventually(() => ours().length === 3, 'publishing')
      expect(ours().map(({ eventno }) => eventno)).toEqual([1, 2, 3])
    })

    test('a key that reached the index before its message reached the log still finds it', async () => {
      const it = await farmer()
      const looks: string[] = []
      const late = (store: ConversationStore): ConversationStore => ({
        ...store,
        async message(id, messageId) {
          looks.push(messageId)
          return looks.length === 1 ? null : store.message(id, messageId)
        },
      })
      const other = await startService(database, { databaseUrl, namespace: service.namespace, deps: { store: late } })
      try {
        const sent = await it.say('half logged', { clientMessageId: 'k3' })
        const ask = other.as(tokenOf('User', `farmer-${people}`))
        const retry = { conversationId: it.conversationId, content: 'half logged', clientMessageId: 'k3' }
        await eventually(async () => (await ask('GET', `/conversations/${it.conversationId}`)).body.data.lastSeq === 1)
        expect((await ask('POST', '/messages', retry)).body.data._id).toBe(sent.body.data._id)
      } finally {
        await other.stop()
      }
    })

    test('another replica takes over what a dead one left: history, keys, events', async () => {
      const it = await farmer()
      faults.logless = true
      const sent = await it.say('last words', { clientMessageId: 'k2' })
      const heir = await startService(database, {
        databaseUrl,
        namespace: service.namespace,
        bus: 'heir',
        env: { RELAY_SWEEP_MS: '50', RELAY_ORPHANED_AFTER_MS: '100' },
      })
      try {
        const ask = heir.as(tokenOf('User', `farmer-${people}`))
        const again = await ask('POST', '/messages', { conversationId: it.conversationId, content: 'last words', clientMessageId: 'k2' })
        expect([again.status, again.body.data._id]).toEqual([200, sent.body.data._id])
        await eventually(
          () => heir.published.find((event) => event.conversationid === it.conversationId && event.type === 'message.created'),
          'the event',
        )
        await ask('POST', '/messages', { conversationId: it.conversationId, content: 'and on' })
        const seqs = (await ask('GET', `/messages/${it.conversationId}`)).body.data.map(({ seq }: { seq: number }) => seq)
        expect(seqs).toEqual([1, 2])
      } finally {
        faults.logless = false
        await heir.stop()
      }
    })
  })

  test('a conversation whose maker died between its slot and its write is finished by the next call', async () => {
    const ask = service.as(tokenOf('User', 'unlucky'))
    faults.noInsert = true
    expect((await ask('POST', '/conversations')).status).toBe(503)
    faults.noInsert = false
    const { body } = await ask('POST', '/conversations')
    expect(body).toMatchObject({ created: true, data: { previousConversationId: null } })
    expect((await ask('GET', '/conversations')).body.pagination.totalItems).toBe(1)
  })

  test('two replicas that write the same conversation conflict, and neither loses or doubles', async () => {
    const it = await farmer()
    const other = await startService(database, { databaseUrl, namespace: service.namespace })
    try {
      const asks = [it.ask, other.as(tokenOf('User', `farmer-${people}`))]
      const sent = await Promise.all(
        Array.from({ length: 30 }, (_, n) =>
          asks[n % 2]?.('POST', '/messages', { conversationId: it.conversationId, content: `m${n}`, clientMessageId: `c${n}` }),
        ),
      )
      expect(sent.map((answer) => answer?.status)).toEqual(Array(30).fill(201))
      const messages = await everything(it)
      expect(new Set(messages.map(({ content }) => content)).size).toBe(30)
      expect(messages).toHaveLength(30)
    } finally {
      await other.stop()
    }
  })
})
