import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AppError } from '@fieldline/contracts/errors'
import { describeWith } from '@fieldline/testing/describe-with'
import { freePort } from '@fieldline/testing/ports'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import mongoose from 'mongoose'
import { loadConfig } from '../src/config.ts'
import { databaseUrl, parseDatabaseUrl } from '../src/database-url.ts'
import { createHealth } from '../src/health.ts'
import { isId, newId } from '../src/ids.ts'
import { silentLogger } from '../src/logger.ts'
import { connectMongo, isDuplicateKey, mapMongoError, mongoCall } from '../src/mongo.ts'
import { isUniqueViolation, mapSqliteError, migrate, openSqlite, prepared, transaction } from '../src/sqlite.ts'

test('ids are 24 hexadecimal digits that sort by time', () => {
  const ids = Array.from({ length: 100 }, newId)
  expect(ids.every(isId)).toBe(true)
  expect(new Set(ids).size).toBe(100)
  expect(isId('671234567890ABCDEF123456')).toBe(false)
  expect(isId({ $ne: null })).toBe(false)
})

test('a database URL names server and database, behind the namespace', () => {
  expect(parseDatabaseUrl('mongodb://h:1/', 't_', 'media')).toEqual({ kind: 'mongo', url: 'mongodb://h:1/', database: 't_fieldline_media' })
  expect(parseDatabaseUrl('mongodb://u:p@a:1,b:2/chat?replicaSet=r', '', 'media')).toMatchObject({ database: 'chat' })
  expect(parseDatabaseUrl('mongodb://h', '', 'media')).toMatchObject({ database: 'fieldline_media' })
  expect(parseDatabaseUrl('sqlite:./data/conversation.db', 't_', 'x')).toEqual({ kind: 'sqlite', file: './data/conversation.db' })
  expect(parseDatabaseUrl('sqlite:///var/x.db', '', 'x')).toEqual({ kind: 'sqlite', file: '/var/x.db' })
  expect(parseDatabaseUrl('sqlite::memory:', '', 'x')).toEqual({ kind: 'sqlite', file: ':memory:' })
})

test('DATABASE_URL may name the hosts of a replica set', () => {
  const fields = { databaseUrl: databaseUrl('media', { default: 'sqlite:./data/media.db', doc: '' }) }
  const url = 'mongodb://user:p%40ss@a:27017,b:27017,c:27017/chat?replicaSet=r'
  expect(loadConfig(fields, { DATABASE_URL: url })).toEqual({ databaseUrl: url })
  expect(loadConfig(fields, {})).toEqual({ databaseUrl: 'sqlite:./data/media.db' })
})

test.each([
  ['mysql://user:secret@h/', 'begin with mongodb://'],
  ['mongodb://', 'begin with mongodb://'],
  ['mongodb:///x', 'begin with mongodb://'],
  ['sqlite:', 'name a file'],
  ['mongodb://user:secret@h/a.b', 'not "a.b"'],
  ['mongodb://h/%zz', 'name'],
])('a wrong DATABASE_URL is a fault of the configuration, its password unquoted: %s', (url, fault) => {
  const load = () => loadConfig({ databaseUrl: databaseUrl('media', { default: 'sqlite:./x.db', doc: '' }) }, { DATABASE_URL: url })
  expect(load).toThrow(new RegExp(`DATABASE_URL must .*${fault}`))
  expect(load).not.toThrow('secret')
})

describe('sqlite', () => {
  const folder = mkdtempSync(join(tmpdir(), 'fieldline-sqlite-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const steps = ['CREATE TABLE things (id TEXT PRIMARY KEY, n INTEGER) STRICT', 'CREATE UNIQUE INDEX by_n ON things (n)']

  test('a schema is migrated once, in steps, and never backwards', () => {
    const file = join(folder, 'new', 'a.db')
    const db = openSqlite(file)
    migrate(db, steps.slice(0, 1))
    migrate(db, steps)
    migrate(db, steps)
    expect(db.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' })
    expect(db.prepare('PRAGMA synchronous').get()).toEqual({ synchronous: 2 })
    expect(() => migrate(db, steps.slice(0, 1))).toThrow('version 2')
    db.close()
  })

  test('a transaction is all or nothing, and a broken unique rule is told from other faults', () => {
    const db = openSqlite(':memory:')
    migrate(db, steps)
    const insert = () => prepared(db, 'INSERT INTO things VALUES (?, ?)')
    let fault: unknown
    try {
      transaction(db, () => {
        insert().run('a', 1)
        insert().run('b', 1)
      })
    } catch (error) {
      fault = error
    }
    expect(isUniqueViolation(fault)).toBe(true)
    expect(mapSqliteError(fault)).toBe(fault)
    expect(db.prepare('SELECT count(*) AS n FROM things').get()).toEqual({ n: 0 })
    expect(insert()).toBe(insert())
    db.close()
  })

  test('a locked file is UNAVAILABLE', () => {
    const file = join(folder, 'b.db')
    const [one, other] = [openSqlite(file), openSqlite(file)]
    other.exec('PRAGMA busy_timeout = 1')
    one.exec('BEGIN IMMEDIATE')
    let fault: unknown
    try {
      transaction(other, () => undefined)
    } catch (error) {
      fault = mapSqliteError(error)
    }
    expect(fault).toMatchObject({ code: 'UNAVAILABLE' })
    one.close()
    other.close()
  })
})

test('a MongoDB that is down at boot is waited for, and says so', async () => {
  const health = createHealth()
  const part = connectMongo(`mongodb://127.0.0.1:${await freePort()}/`, 'x', { log: silentLogger, health, serverSelectionTimeoutMs: 200 })
  await part.start()
  expect(await health.ready()).toMatchObject({ status: 'unready', dependencies: { mongodb: { status: 'down' } } })
  const Thing = part.connection.model('Thing', new mongoose.Schema({ n: Number }))
  await expect(mongoCall(() => Thing.findOne({ n: 1 }).exec())).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  const began = performance.now()
  await part.stop()
  expect(performance.now() - began).toBeLessThan(3_000)
})

await describeWith('mongodb', 'MongoDB', (url) => {
  const health = createHealth()
  const part = connectMongo(url, `test_service_${newId()}`, { log: silentLogger, health })
  const Thing = part.connection.model('Thing', new mongoose.Schema({ n: Number, s: String }))
  beforeAll(async () => {
    await part.start()
    await part.connected
    await Thing.collection.createIndex({ n: 1 }, { unique: true })
  })
  afterAll(async () => {
    await part.connection.dropDatabase()
    await part.stop()
  })

  test('is ready once connected', async () => {
    expect(await health.ready()).toMatchObject({ status: 'ready', dependencies: { mongodb: { status: 'up' } } })
  })

  test('a duplicate is told from other faults', async () => {
    await Thing.create({ n: 1 })
    const fault: unknown = await Thing.create({ n: 1 }).catch((error: unknown) => error)
    expect(isDuplicateKey(fault)).toBe(true)
    expect(isDuplicateKey(fault, 'n')).toBe(true)
    expect(isDuplicateKey(fault, 'other')).toBe(false)
    expect(mapMongoError(fault)).toBe(fault)
  })

  test('an operator in a filter is no operator unless it is meant', async () => {
    await Thing.create({ n: 2, s: 'secret' })
    const fault: unknown = await Thing.findOne({ s: { $ne: null } } as object)
      .exec()
      .catch((error: unknown) => error)
    expect(fault === null || fault instanceof Error).toBe(true)
    expect(await Thing.findOne({ n: mongoose.trusted({ $gt: 1 }) })).toMatchObject({ s: 'secret' })
  })

  test('an AppError passes as it is', () => {
    const error = new AppError('NOT_FOUND', 'x')
    expect(mapMongoError(error)).toBe(error)
  })
})
