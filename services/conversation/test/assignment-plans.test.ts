// No question about people or places walks through everybody: the plans that both databases make of them.

import { openSqlite } from '@fieldline/service/sqlite'
import { describe, expect, test } from '@jest/globals'
import { sqlitePlaces } from '../src/assignment/places.store.sqlite.ts'
import { sqlitePeople } from '../src/people/people.store.sqlite.ts'
import { forMongo } from './assignment-databases.ts'

await forMongo((open) => {
  test.each([
    ['people by id', 'people', { _id: { $in: ['a', 'b'] } }],
    ['agents', 'people', { role: 'Support' }],
    ['places by agent', 'places', { _id: { $in: ['a', 'b'] } }],
    ['free agents', 'places', { agent: true, online: true, available: true, 'active.4': { $exists: false } }],
    ['choices not announced', 'places', { unannounced: true }],
    ['old places', 'places', { 'active.since': { $lt: new Date() } }],
  ])('%s', async (_, collection, filter) => {
    const { connection, close } = await open()
    try {
      const plan: unknown = await connection.db?.collection<{ _id: string }>(collection).find(filter).explain('queryPlanner')
      const text = JSON.stringify(plan)
      expect(text).toMatch(/IXSCAN|IDHACK|EXPRESS/)
      expect(text).not.toContain('COLLSCAN')
    } finally {
      await close()
    }
  })
})

describe('on SQLite', () => {
  const database = openSqlite(':memory:')
  sqlitePeople(database)
  sqlitePlaces(database)
  test.each([
    ['people by id', 'SELECT * FROM people WHERE id IN (SELECT value FROM json_each(?))'],
    ['agents', "SELECT * FROM people WHERE role = 'Support' ORDER BY id"],
    [
      'free agents',
      'SELECT * FROM agents a WHERE agent = 1 AND online = 1 AND available = 1 AND (SELECT count(*) FROM places WHERE agent_id = a.id) < ?',
    ],
    ['choices not announced', 'SELECT * FROM agents WHERE announced_version < version LIMIT ?'],
    ['old places', 'SELECT * FROM agents WHERE id IN (SELECT agent_id FROM places WHERE since < ?)'],
  ])('%s', (_, sql) => {
    const steps = database
      .prepare(`EXPLAIN QUERY PLAN ${sql}`)
      .all(...(sql.includes('?') ? [1] : []))
      .map(({ detail }) => String(detail))
    expect(steps.filter((step) => /^SCAN (?!json_each)/.test(step) && !step.includes('USING')).join('; ')).toBe('')
  })
})
