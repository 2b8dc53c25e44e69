// What only MongoDB's store must see to: two replicas that insert the same row at once.
import { createHealth } from '@fieldline/service/health'
import { silentLogger } from '@fieldline/service/logger'
import { connectMongo, type MongoPart } from '@fieldline/service/mongo'
import { describeWith } from '@fieldline/testing/describe-with'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createMongoFacts } from '../src/facts.store.mongo.ts'

const quarter = Date.parse('2026-11-02T09:00:00Z')
const nothing = { facts: [], moves: [], early: [], agents: [] }
const named = (firstName: string, at: number) => ({ id: 'asha', role: 'Support' as const, firstName, lastName: '', at })
const message = (eventNo: number) => ({
  ...{ conversationId: 'a'.repeat(24), eventNo, kind: 'message' as const, at: quarter + eventNo, detail: 'User' as const },
  ...{ agentId: null, holderId: null, ms: null, first: false },
})

await describeWith('mongodb', 'two replicas that insert at once', (url) => {
  let part: MongoPart
  beforeAll(async () => {
    part = connectMongo(url, `stats-race-${process.pid}-${Date.now().toString(36)}`, { log: silentLogger, health: createHealth() })
    await part.start()
  })
  afterAll(async () => {
    await part.connection.dropDatabase()
    await part.stop()
  })

  /** A store whose first bulk write into `room` comes between a rival's look and its insert: the rival wins, and the server says so. */
  function lateIn(room: string, rival: () => Promise<unknown>) {
    let late = true
    const collection = (name: string) => {
      const real = part.connection.db?.collection(name)
      if (!real || name !== room) return real
      const bulkWrite = async (steps: readonly object[], options: object) => {
        if (!late) return real.bulkWrite(steps as [], options)
        late = false
        await rival()
        const writeErrors = steps.map((_, index) => ({ code: 11_000, index }))
        throw Object.assign(new Error('E11000 duplicate key'), { code: 11_000, writeErrors })
      }
      return new Proxy(real, { get: (target, key) => (key === 'bulkWrite' ? bulkWrite : Reflect.get(target, key).bind?.(target)) })
    }
    return createMongoFacts({ db: { collection } } as unknown as MongoPart['connection'])
  }

  test("an agent's newer name replaces the rival's", async () => {
    const rival = await createMongoFacts(part.connection).generation(1)
    const late = await lateIn('agents_1', () => rival.write({ ...nothing, agents: [named('Old', 1)] })).generation(1)
    await late.write({ ...nothing, agents: [named('New', 2)] })
    expect(await rival.agents(['asha'])).toEqual([named('New', 2)])
  })

  test("sums of more facts replace the rival's", async () => {
    const rival = await createMongoFacts(part.connection).generation(1)
    await rival.write({ ...nothing, facts: [message(1)] })
    const late = await lateIn('sums_1', async () => {
      await rival.rollUp([quarter])
      // The rival had read before this one came.
      await part.connection.db?.collection('sums_1').updateMany({}, { $set: { gen: 1, 'counts.User': 1 } })
    }).generation(1)
    await rival.write({ ...nothing, facts: [message(2)] })
    await late.rollUp([quarter])
    expect((await rival.counts(0, [quarter], '')).map(({ counts }) => counts.User)).toEqual([2])
  })
})
