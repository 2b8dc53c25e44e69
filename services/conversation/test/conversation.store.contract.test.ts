// The contract of ConversationStore, proved on each adapter: what is atomic, what conflicts, what is idempotent, and that no query walks a collection.
import { randomUUID } from 'node:crypto'
import { statuses } from '@fieldline/contracts/conversations'
import type { ConversationId } from '@fieldline/contracts/ids'
import { createHealth } from '@fieldline/service/health'
import { newId } from '@fieldline/service/ids'
import { silentLogger } from '@fieldline/service/logger'
import { connectMongo } from '@fieldline/service/mongo'
import { openSqlite } from '@fieldline/service/sqlite'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { Connection, mongo } from 'mongoose'
import { indexConversations } from '../src/conversations/conversation.documents.mongo.ts'
import { mongoConversations } from '../src/conversations/conversation.store.mongo.ts'
import { sqliteConversations } from '../src/conversations/conversation.store.sqlite.ts'
import type { ConversationStore } from '../src/conversations/conversation.store.ts'
import { type Conversation, type Decision, type Entry, numbered } from '../src/conversations/conversation.ts'
import { keyOf } from '../src/conversations/keys.ts'
import { assign, changeStatus, create } from '../src/conversations/lifecycle.ts'
import { positionOf } from '../src/conversations/list.ts'
import { say } from '../src/messages/message.ts'
import { asha, later, meena, noon, rajesh, saying, vikram } from './people-of-tests.ts'
import { mongoUrl, onEachDatabase } from './service.ts'

const outboxLimit = 20

await onEachDatabase(({ name }) => {
  let store: ConversationStore
  let close: () => Promise<void>
  /** Plans of all queries so far that walked a collection. */
  let scans: () => Promise<string[]>

  beforeAll(async () => {
    if (name === 'SQLite') {
      const database = openSqlite(':memory:')
      const prepare = database.prepare.bind(database)
      const found = new Set<string>()
      database.prepare = (sql, ...rest) => {
        if (/^\s*(SELECT|UPDATE|DELETE)/.test(sql)) {
          const plan = prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...Array((sql.match(/\?/g) ?? []).length).fill(null))
          for (const { detail } of plan)
            if (/^SCAN (?!.*(USING|CONSTANT|VIRTUAL))/.test(String(detail)) && !/json_each/.test(String(detail)))
              found.add(`${sql}: ${detail}`)
        }
        return prepare(sql, ...rest)
      }
      store = sqliteConversations(database, { outboxLimit })
      scans = async () => [...found]
      close = async () => database.close()
      return
    }
    const mongo = connectMongo(mongoUrl, `conv-store-${randomUUID().slice(0, 8)}`, { log: silentLogger, health: createHealth() })
    await mongo.start()
    await mongo.connected
    await indexConversations(mongo.connection)
    const { connection, scans: plans } = explained(mongo.connection)
    store = mongoConversations(connection, { outboxLimit })
    scans = plans
    close = async () => {
      await mongo.connection.dropDatabase()
      await mongo.stop()
    }
  })
  afterAll(() => close())

  const idOf = () => newId() as ConversationId
  async function put(decision: Decision, now = noon): Promise<Conversation> {
    const { next, entries } = numbered(decision, { commandId: newId(), now })
    expect(await store.insert(next, entries)).toBe(true)
    return next
  }
  const made = (farmer = { ...rajesh, id: randomUUID() }, now = noon) =>
    put(create({ id: idOf(), farmer, previousConversationId: null }, now), now)
  async function apply(
    before: Conversation,
    decision: Decision,
    now = noon,
  ): Promise<{ next: Conversation; entries: Entry[]; outcome: string }> {
    const { next, entries } = numbered(decision, { commandId: newId(), now })
    return { next, entries, outcome: await store.commit(before, next, entries) }
  }

  test('what was written is loaded as it was, outbox and all', async () => {
    const it = await made()
    const { next } = await apply(it, say(it, saying(it.farmer, 'hello', { clientMessageId: 'k' }), noon))
    expect(await store.load(it.id)).toEqual(next)
    expect(await store.load(idOf())).toBeNull()
  })

  test('an id is taken once', async () => {
    const it = await made()
    const again = numbered(create({ id: it.id, farmer: rajesh, previousConversationId: null }, noon), { commandId: newId(), now: noon })
    expect(await store.insert(again.next, again.entries)).toBe(false)
    expect((await store.load(it.id))?.outbox).toEqual(it.outbox)
  })

  test('of many writers who read the same, one gets in', async () => {
    const it = await made()
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, (_, n) => apply(it, say(it, saying(it.farmer, `m${n}`), noon)).then(({ outcome }) => outcome)),
    )
    expect(outcomes.toSorted()).toEqual(['committed', ...Array(19).fill('conflict')])
    expect(await store.load(it.id)).toMatchObject({ version: 2, eventNo: 2, lastSeq: 1 })
  })

  test('a full outbox takes no more, until something leaves it; that touches neither version nor eventNo', async () => {
    let it = await made()
    for (let n = 1; n < outboxLimit; n += 1) {
      const { next, outcome } = await apply(it, say(it, saying(it.farmer, `m${n}`), noon))
      expect(outcome).toBe('committed')
      it = next
    }
    expect((await apply(it, say(it, saying(it.farmer, 'too much'), noon))).outcome).toBe('full')
    await store.append(it.outbox)
    await store.forget(it.outbox.slice(0, 2))
    const stored = await store.load(it.id)
    expect(stored).toMatchObject({ version: it.version, eventNo: it.eventNo })
    expect(stored?.outbox).toEqual(it.outbox.slice(2))
    expect((await apply(it, say(it, saying(it.farmer, 'now'), noon))).outcome).toBe('committed')
  })

  test('what is done leaves its outbox with the next commit, and nothing else does', async () => {
    const it = await made()
    const first = (await apply(it, say(it, saying(it.farmer, 'one'), noon))).next
    const second = (await apply(first, say(first, saying(it.farmer, 'two'), noon))).next
    await store.append(second.outbox)
    const leaving = second.outbox.slice(0, 2)
    // One of them has left already, by a write of its own.
    await store.forget(leaving.slice(0, 1))
    const { next, entries } = numbered(say(second, saying(it.farmer, 'three'), noon), { commandId: newId(), now: noon })
    expect(await store.commit(second, next, entries, leaving)).toBe('committed')
    expect((await store.load(it.id))?.outbox).toEqual([...second.outbox.slice(2), ...entries])
    // A late `forget` of what left with the commit takes nothing more.
    await store.forget(leaving)
    expect((await store.load(it.id))?.outbox).toHaveLength(2)
  })

  test('what leaves makes room for what comes', async () => {
    let it = await made()
    for (let n = 1; n < outboxLimit; n += 1) it = (await apply(it, say(it, saying(it.farmer, `m${n}`), noon))).next
    const { next, entries } = numbered(say(it, saying(it.farmer, 'one more'), noon), { commandId: newId(), now: noon })
    expect(await store.commit(it, next, entries)).toBe('full')
    await store.append(it.outbox)
    expect(await store.commit(it, next, entries, it.outbox.slice(0, 3))).toBe('committed')
    expect((await store.load(it.id))?.outbox).toEqual([...it.outbox.slice(3), ...entries])
  })

  test('a late commit takes nothing along that would be missed', async () => {
    const it = await made()
    const { next } = await apply(it, say(it, saying(it.farmer, 'one'), noon))
    const late = numbered(say(it, saying(it.farmer, 'late'), noon), { commandId: newId(), now: noon })
    expect(await store.commit(it, late.next, late.entries, it.outbox)).toBe('conflict')
    expect((await store.load(it.id))?.outbox).toEqual(next.outbox)
  })

  test('of writes that go together each hears what became of its own', async () => {
    const [fresh, stale, brimming] = [await made(), await made(), await made()]
    await apply(stale, say(stale, saying(stale.farmer, 'first'), noon))
    let full = brimming
    for (let n = 1; n < outboxLimit; n += 1) full = (await apply(full, say(full, saying(full.farmer, `m${n}`), noon))).next
    const outcomes = await Promise.all(
      [fresh, stale, full].map((it) => apply(it, say(it, saying(it.farmer, 'second'), noon)).then(({ outcome }) => outcome)),
    )
    expect(outcomes).toEqual(['committed', 'conflict', 'full'])
  })

  test('keys that are looked up together are each found, or not', async () => {
    const it = await made()
    const hash = (key: string) => keyOf(it.farmer.id, key)
    const { next } = await apply(it, say(it, saying(it.farmer, 'hello', { clientMessageId: 'a' }), noon))
    await store.append(next.outbox)
    const found = await Promise.all([store.key(hash('b')), store.key(hash('a')), store.key(hash('a'))])
    expect(found.map((known) => known?.seq ?? null)).toEqual([null, 1, 1])
  })

  test('a bump makes who read before too late, and changes nothing else', async () => {
    const it = await made()
    expect(await store.bump(it.id, it.version)).toBe(true)
    expect(await store.bump(it.id, it.version)).toBe(false)
    expect((await apply(it, say(it, saying(it.farmer, 'late'), noon))).outcome).toBe('conflict')
    expect(await store.load(it.id)).toEqual({ ...it, version: it.version + 1 })
  })

  test('the log takes an entry once, and gives it back by number, by seq, by id and by side', async () => {
    let it = await made()
    const senders = [it.farmer, meena, it.farmer, meena, it.farmer]
    for (const [n, sender] of senders.entries()) it = (await apply(it, say(it, saying(sender, `m${n + 1}`), noon))).next
    await store.append(it.outbox)
    await store.append(it.outbox.slice(1, 3))
    expect(await store.entries(it.id, 0, 100)).toEqual(it.outbox)
    expect(await store.entries(it.id, 4, 1)).toEqual([it.outbox[4]])
    const seqs = (entries: readonly Entry[]) => entries.map(({ event }) => event.type === 'message.created' && event.data.message.seq)
    expect(seqs(await store.messages(it.id, 1, 1))).toEqual([1])
    expect(seqs(await store.messages(it.id, 2, 4))).toEqual([2, 3, 4])
    expect((await store.messagesOf(it.id, 'farmer', 1, 5, 10)).map(({ seq }) => seq)).toEqual([3, 5])
    expect((await store.messagesOf(it.id, 'farmer', 0, 4, 1)).map(({ seq }) => seq)).toEqual([3])
    expect((await store.messagesOf(it.id, 'support', 0, 5, 10)).map(({ seq }) => seq)).toEqual([2, 4])
    const [{ id: second = '' } = {}] = await store.messagesOf(it.id, 'support', 0, 2, 1)
    expect(seqs([(await store.message(it.id, second as never)) as Entry])).toEqual([2])
    expect(await store.message(idOf(), second as never)).toBeNull()
  })

  test('a sender’s key is known from the log on, and the first to use it keeps it', async () => {
    const it = await made()
    const first = await apply(it, say(it, saying(it.farmer, 'first', { clientMessageId: 'key-1' }), noon))
    await store.append(first.entries)
    const second = await apply(first.next, say(first.next, saying(it.farmer, 'second', { clientMessageId: 'key-1' }), noon))
    await store.append(second.entries)
    expect(await store.key(keyOf(it.farmer.id, 'key-1'))).toMatchObject({ named: it.id, conversationId: it.id, seq: 1 })
    expect(await store.key(keyOf('somebody', 'key-1'))).toBeNull()
  })

  test('a farmer’s slot is moved by one of many', async () => {
    const farmer = randomUUID()
    expect(await store.slot(farmer)).toBeNull()
    const ids = Array.from({ length: 10 }, idOf)
    const won = await Promise.all(ids.map((id) => store.moveSlot(farmer, null, id)))
    expect(won.filter(Boolean)).toHaveLength(1)
    const first = ids[won.indexOf(true)] as ConversationId
    expect(await store.slot(farmer)).toEqual({ conversationId: first, previousConversationId: null })
    const [next = first, other = first] = [idOf(), idOf()]
    expect(await store.moveSlot(farmer, first, next)).toBe(true)
    expect(await store.moveSlot(farmer, first, other)).toBe(false)
    expect(await store.slot(farmer)).toEqual({ conversationId: next, previousConversationId: first })
  })

  test('what stands in an outbox for long is found, and no more once it left', async () => {
    const old = await made(undefined, later(-600))
    expect(await store.unpublished(later(-500), 100)).toEqual([old.id])
    await store.append(old.outbox)
    await store.forget(old.outbox)
    expect(await store.unpublished(later(-500), 100)).toEqual([])
  })

  describe('lists', () => {
    const agent = { ...asha, id: randomUUID() }
    const farmer = { ...rajesh, id: randomUUID() }
    const all: Conversation[] = []

    beforeAll(async () => {
      for (let n = 0; n < 24; n += 1) {
        let it = await made(n % 2 === 0 ? farmer : { ...rajesh, id: randomUUID() }, later(n))
        const status = statuses[n % 4]
        if (status !== 'waiting') {
          it = (
            await apply(it, assign(it, { agent, placeToken: newId(), reason: 'least-busy', note: null, by: 'system' }, later(n)), later(n))
          ).next
          if (status !== 'open')
            it = (await apply(it, changeStatus(it, { to: status ?? 'open', by: meena, reason: null }, later(n)), later(n))).next
        }
        all.push(it)
      }
    })

    const ids = (conversations: readonly Conversation[]) => conversations.map(({ id }) => id)
    const newestFirst = (conversations: readonly Conversation[]) => ids(conversations.toReversed())

    test('show each scope its own, newest first, and count it', async () => {
      const ofFarmer = all.filter((it) => it.farmer.id === farmer.id)
      const ofAgent = all.filter((it) => it.assigned?.person.id === agent.id)
      expect(ids(await store.list({ scope: { kind: 'farmer', id: farmer.id } }, 'activity', { limit: 50 }))).toEqual(newestFirst(ofFarmer))
      expect(ids(await store.list({ scope: { kind: 'agent', id: agent.id } }, 'activity', { limit: 50 }))).toEqual(newestFirst(ofAgent))
      expect(await store.count({ scope: { kind: 'agent', id: agent.id } })).toEqual({ waiting: 0, open: 6, resolved: 6, closed: 6 })
      const desk = await store.list({ scope: { kind: 'desk', id: agent.id } }, 'activity', { limit: 500 })
      expect(ids(desk)).toEqual(expect.arrayContaining(ids(all)))
      expect(desk.every((it) => it.status === 'waiting' || it.assigned?.person.id === agent.id)).toBe(true)
      expect(await store.list({ scope: { kind: 'desk', id: vikram.id }, assignedTo: agent.id }, 'activity', { limit: 50 })).toEqual([])
      expect((await store.count({ scope: { kind: 'all' }, assignedTo: agent.id })).closed).toBe(6)
      expect(
        (await store.list({ scope: { kind: 'all' }, assignedTo: null }, 'activity', { limit: 500 })).every((it) => it.assigned === null),
      ).toBe(true)
    })

    test.each(['activity', 'waitingSince'] as const)('know where the nth stands, by %s, over all statuses and in one', async (order) => {
      const scope = { kind: 'agent', id: agent.id } as const
      for (const filter of [{ scope }, { scope, status: 'open' as const }, { scope: { kind: 'desk', id: agent.id } as const }]) {
        const whole = (await store.list(filter, order, { limit: 500 })).map((it) => positionOf(it, order))
        const found = await Promise.all([1, 2, 5, whole.length].map((n) => store.nth(filter, order, n)))
        expect(found).toEqual([whole[0], whole[1], whole[4], whole.at(-1)])
        expect(await store.nth(filter, order, whole.length + 1)).toBeNull()
      }
    })

    test('go on behind a position, and above an instant', async () => {
      const scope = { kind: 'agent', id: agent.id } as const
      const whole = await store.list({ scope }, 'activity', { limit: 50 })
      const fifth = whole[4] as Conversation
      expect(ids(await store.list({ scope }, 'activity', { limit: 50, after: { key: fifth.activityAt, id: fifth.id } }))).toEqual(
        ids(whole.slice(5)),
      )
      expect(ids(await store.list({ scope }, 'activity', { limit: 50, above: fifth.activityAt }))).toEqual(ids(whole.slice(0, 4)))
    })

    test('the queue shows who waits longest first, and can be walked', async () => {
      const queued = all.filter(({ status }) => status === 'waiting')
      const walked: Conversation[] = []
      for (let after = null as Parameters<ConversationStore['waiting']>[0]; ; ) {
        const found = await store.waiting(after, 2)
        walked.push(...found)
        const last = found.at(-1)
        if (!last?.waitingSince) break
        after = { at: last.waitingSince, id: last.id }
      }
      const ours = new Set(ids(all))
      expect(ids(walked.filter(({ id }) => ours.has(id)))).toEqual(ids(queued))
      expect(walked.map(({ waitingSince }) => waitingSince)).toEqual(walked.map(({ waitingSince }) => waitingSince).toSorted())
      const sorted = await store.list({ scope: { kind: 'all' } }, 'waitingSince', { limit: 500 })
      expect(sorted.findIndex(({ waitingSince }) => waitingSince === null)).toBe(
        sorted.filter(({ waitingSince }) => waitingSince !== null).length,
      )
    })

    test('heads, walks and what is due are found', async () => {
      const some = all.slice(0, 3)
      const heads = await store.heads([...ids(some), idOf()])
      expect(heads.toSorted((a, b) => (a.conversationId < b.conversationId ? -1 : 1))).toEqual(
        some
          .map(({ id, eventNo, lastSeq }) => ({ conversationId: id, eventNo, lastSeq }))
          .toSorted((a, b) => (a.conversationId < b.conversationId ? -1 : 1)),
      )
      const walked: string[] = []
      for (let after: ConversationId | null = null; ; after = walked.at(-1) as ConversationId) {
        const found = await store.walk(after, 7)
        walked.push(...found.map(({ conversationId }) => conversationId))
        if (found.length < 7) break
      }
      expect(walked).toEqual(walked.toSorted())
      expect(walked).toEqual(expect.arrayContaining(ids(all)))
      const open = all.filter(({ status }) => status === 'open')
      expect(ids(await store.openOf(agent.id, 100)).toSorted()).toEqual(ids(open).toSorted())
      const ours = new Set(ids(all))
      const empty = all.filter(
        (it) => (it.status === 'waiting' ? String(it.waitingSince) : it.status === 'open' ? String(it.assigned?.at) : '~') < later(10),
      )
      expect(
        ids(await store.emptySince(later(10), 100))
          .filter((one) => ours.has(one as ConversationId))
          .toSorted(),
      ).toEqual(ids(empty).toSorted())
      expect(ids(await store.resolvedSince(later(12), 100))).toEqual(
        ids(all.filter((it) => it.resolvedAt !== null && it.resolvedAt < later(12))),
      )
    })

    test('decisions about assignment are found in the log, newest last', async () => {
      const it = all.find(({ status }) => status === 'closed') as Conversation
      await store.append(it.outbox)
      expect((await store.assignments(it.id, 10)).map(({ event }) => event.type)).toEqual(['conversation.assigned'])
    })
  })

  test('none of these queries walked a whole collection', async () => expect(await scans()).toEqual([]), 30_000)
})

/** The connection, noting each query that is made through it; and those whose plan walks a collection. */
function explained(connection: Connection): { connection: Connection; scans(): Promise<string[]> } {
  const queries: { text: string; cursor: mongo.FindCursor }[] = []
  function noting(collection: mongo.Collection): mongo.Collection {
    const note = (filter: mongo.Document, cursor = collection.find(filter)) =>
      queries.push({ text: `${collection.collectionName} ${JSON.stringify(filter)}`, cursor })
    return new Proxy(collection, {
      get(target, name) {
        const method: unknown = Reflect.get(target, name)
        if (typeof method !== 'function') return method
        return (...given: mongo.Document[]) => {
          const made: unknown = method.apply(target, given)
          const [first = {}] = given
          // Sort and limit of a `find` are told to its cursor later.
          if (name === 'find') note(first, made as mongo.FindCursor)
          if (name === 'findOne' || name === 'countDocuments' || name === 'updateOne') note(first)
          if (name === 'bulkWrite')
            for (const { updateOne, updateMany } of first as mongo.Document[]) note((updateOne ?? updateMany).filter)
          return made
        }
      },
    })
  }
  const walks = (plan: unknown) => {
    const text = JSON.stringify(plan)
    return text.includes('COLLSCAN') || !/IXSCAN|IDHACK|EXPRESS/.test(text)
  }
  const db = { collection: (name: string) => noting((connection.db as mongo.Db).collection(name)) }
  return {
    connection: { db } as unknown as Connection,
    async scans() {
      const plans = await Promise.all(queries.map(({ cursor }) => cursor.clone().explain('queryPlanner')))
      return queries.filter((_, n) => walks(plans[n])).map(({ text }) => text)
    },
  }
}
