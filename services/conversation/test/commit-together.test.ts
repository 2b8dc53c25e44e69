// Commits of many conversations in one statement of MongoDB: each document as it was meant, and one that the database refuses fails alone.
import { randomUUID } from 'node:crypto'
import { newId } from '@fieldline/service/ids'
import { expect, test } from '@jest/globals'
import type { Connection, mongo } from 'mongoose'
import { mongoConversations } from '../src/conversations/conversation.store.mongo.ts'
import { type Conversation, numbered } from '../src/conversations/conversation.ts'
import { assign } from '../src/conversations/lifecycle.ts'
import { say } from '../src/messages/message.ts'
import { forMongo } from './assignment-databases.ts'
import { asha, conversation, noon, rajesh, saying } from './people-of-tests.ts'

const outboxLimit = 20
type Operation = mongo.AnyBulkWriteOperation<{ _id: string }>

await forMongo((open) => {
  /** A store over a connection whose `bulkWrite` is what `instead` makes of it; and the bulk writes it was asked for. */
  async function storeWhere(instead: (ops: Operation[], write: (ops: Operation[]) => Promise<unknown>) => unknown) {
    const { connection, close } = await open()
    const bulks: Operation[][] = []
    const collection = (name: string) =>
      new Proxy((connection.db as mongo.Db).collection<{ _id: string }>(name), {
        get(target, key) {
          const method: unknown = Reflect.get(target, key)
          if (key !== 'bulkWrite') return typeof method === 'function' ? method.bind(target) : method
          return (ops: Operation[]) => {
            bulks.push(ops)
            return instead(ops, (some) => target.bulkWrite(some, { ordered: false }))
          }
        },
      })
    return { store: mongoConversations({ db: { collection } } as unknown as Connection, { outboxLimit }), bulks, close }
  }
  type Store = Awaited<ReturnType<typeof storeWhere>>['store']
  const farmerOf = () => ({ ...rajesh, id: randomUUID() })
  const stored = async (store: Store, said = 0): Promise<Conversation> => {
    const it = { ...conversation({ said }), farmer: farmerOf(), outbox: [] }
    expect(await store.insert(it, [])).toBe(true)
    return it
  }
  const saidIn = (it: Conversation, content: string) =>
    numbered(say(it, saying(it.farmer, content), noon), { commandId: newId(), now: noon })

  const givenTo = (it: Conversation, name: string) => {
    const agent = { ...asha, id: randomUUID(), firstName: name, lastName: '$farmer' }
    const given = assign(it, { agent, placeToken: newId(), reason: 'least-busy', note: null, by: 'system' }, noon)
    return numbered(given, { commandId: newId(), now: noon })
  }

  test('what is written is what was meant: text that looks like an expression, outboxes that grow, and those that something leaves', async () => {
    const { store, bulks, close } = await storeWhere((ops, write) => write(ops))
    try {
      const texts = ['$$ROOT', '$outbox', '{"$literal": 1}', '$version', '\u0000$', 'plain', 'नमस्ते 🌱']
      let all = await Promise.all(texts.map(() => stored(store)))
      for (let turn = 0; turn < 12; turn += 1) {
        const next = all.map((it, index) => (turn === 3 ? givenTo(it, `${texts[index]}`) : saidIn(it, `${texts[index]} ${turn}`)))
        // In some nothing leaves until the outbox is long, so that it has a statement of its own; in others the last one always does.
        const leaving = all.map((it, index) => (index % 2 === 0 ? it.outbox.slice(0, -1) : turn === 9 ? it.outbox.slice(0, 2) : []))
        bulks.length = 0
        const outcomes = await Promise.all(
          all.map((it, n) => store.commit(it, next[n]?.next as Conversation, next[n]?.entries ?? [], leaving[n])),
        )
        expect(outcomes).toEqual(texts.map(() => 'committed'))
        expect(bulks.flat().filter((operation) => 'updateMany' in operation)).toHaveLength(1)
        all = next.map(({ next: it }, n) => ({ ...it, outbox: it.outbox.filter((entry) => !leaving[n]?.includes(entry)) }))
        expect(await Promise.all(all.map(({ id }) => store.load(id)))).toEqual(all)
      }
    } finally {
      await close()
    }
  })

  test('of writes to one conversation at once only the one that fits what is stored gets in, whole', async () => {
    const { store, close } = await storeWhere((ops, write) => write(ops))
    try {
      const before = await stored(store)
      const now = saidIn(before, 'first')
      expect(await store.commit(before, now.next, now.entries)).toBe('committed')
      const stale = givenTo(before, 'late')
      const next = saidIn(now.next, 'second')
      const other = await stored(store)
      const beside = saidIn(other, 'beside')
      const outcomes = await Promise.all([
        store.commit(before, stale.next, stale.entries),
        store.commit(now.next, next.next, next.entries),
        store.commit(other, beside.next, beside.entries),
      ])
      expect(outcomes).toEqual(['conflict', 'committed', 'committed'])
      expect(await store.load(before.id)).toEqual(next.next)
    } finally {
      await close()
    }
  })

  test('a document that the database refuses fails alone; who shared its statement gets in', async () => {
    const { store, bulks, close } = await storeWhere(async (ops, write) => {
      const [first] = ops
      // As the server does: what came before the refused document is written, what came after it is not.
      const isShared = first !== undefined && 'updateMany' in first
      const mine = ops.map((operation) => JSON.stringify(operation).includes(refused))
      if (!mine.includes(true)) return write(ops)
      if (isShared) await write([{ updateMany: { ...first.updateMany, filter: { ...first.updateMany.filter, _id: before } } }])
      else await write(ops.filter((_, n) => !mine[n]))
      throw Object.assign(new Error('refused'), {
        name: 'MongoBulkWriteError',
        writeErrors: [{ index: mine.indexOf(true), code: 10_334, errmsg: 'too large' }],
      })
    })
    const all = await Promise.all([stored(store), stored(store), stored(store), stored(store)])
    const [first, bad, ...rest] = all as [Conversation, Conversation, ...Conversation[]]
    const [before, refused] = [first.id as string, bad.id as string]
    try {
      const outcomes = await Promise.allSettled(
        all.map((it) => {
          const { next, entries } = saidIn(it, 'hello')
          return store.commit(it, next, entries)
        }),
      )
      expect(outcomes.map((each) => (each.status === 'fulfilled' ? each.value : each.reason.code))).toEqual([
        'committed',
        10_334,
        'committed',
        'committed',
      ])
      expect(bulks).toHaveLength(2)
      const versions = await Promise.all([first, bad, ...rest].map(async ({ id }) => (await store.load(id))?.version))
      expect(versions).toEqual([2, 1, 2, 2].map((steps) => steps - 1 + bad.version))
    } finally {
      await close()
    }
  })
})
