// Reserving: a file is its owner's, in one conversation, for as many messages there as wanted; and what nobody uses is swept.
import { join } from 'node:path'
import { newId } from '@fieldline/service/ids'
import { openSqlite } from '@fieldline/service/sqlite'
import { admin, rajesh, tokenFor } from '@fieldline/testing/factories'
import { api } from '@fieldline/testing/http'
import { eventually } from '@fieldline/testing/until'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sqliteMediaStore } from '../src/media.store.sqlite.ts'
import { begun } from '../src/media.ts'
import * as files from './files.ts'
import { rowsOf, startService, type TestService, upload } from './service.ts'

const uploaded = async (service: TestService): Promise<string> =>
  (await upload(service.url, tokenFor(rajesh), 'image', [{ filename: 'crop.jpg', content: await files.jpeg() }])).body.data[0]._id

function reserve(service: TestService, id: string, more: Record<string, unknown> = {}) {
  const ask = { ownerId: 'rajesh', type: 'image', conversationId: newId(), messageId: newId(), ...more }
  return service.internal.post(`/internal/media/${id}/reserve`, ask)
}

describe('reserve', () => {
  let service: TestService
  beforeAll(async () => {
    service = await startService()
  })
  afterAll(() => service.close())

  test('the owner reserves a file and gets its summary; the same again changes nothing', async () => {
    const id = await uploaded(service)
    const ask = { conversationId: newId(), messageId: newId() }
    const first = await reserve(service, id, ask)
    expect([first.status, first.body.media]).toEqual([
      200,
      { id, name: 'crop.jpg', type: 'image', format: 'image/jpeg', size: expect.any(Number), hasThumbnail: true, width: 60, height: 40 },
    ])
    expect((await reserve(service, id, ask)).body).toEqual(first.body)
    expect((await reserve(service, id, { ...ask, messageId: newId() })).status).toBe(200)
  })

  test("another's file, an unknown one and one of another type are refused", async () => {
    const id = await uploaded(service)
    expect((await reserve(service, id, { ownerId: 'sunita' })).body).toMatchObject({ code: 'MEDIA_NOT_FOUND' })
    expect((await reserve(service, newId())).status).toBe(404)
    const wrong = await reserve(service, id, { type: 'video' })
    expect([wrong.status, wrong.body.code]).toEqual([400, 'VALIDATION_FAILED'])
    expect((await reserve(service, 'no-id')).status).toBe(400)
    expect((await reserve(service, id, { messageId: { $ne: null } })).status).toBe(400)
  })

  test('a file used in one conversation is not used in another', async () => {
    const id = await uploaded(service)
    await reserve(service, id)
    const other = await reserve(service, id)
    expect([other.status, other.body.code]).toEqual([409, 'MEDIA_IN_USE'])
  })

  test('of many conversations that reserve at once one gets it', async () => {
    const id = await uploaded(service)
    const answers = await Promise.all(Array.from({ length: 12 }, () => reserve(service, id)))
    expect(answers.map((one) => one.status).sort()).toEqual([200, ...Array.from({ length: 11 }, () => 409)])
  })

  test('a message that landed elsewhere takes its reservation along, and only its own', async () => {
    const id = await uploaded(service)
    const [from, to, messageId] = [newId(), newId(), newId()]
    await reserve(service, id, { conversationId: from, messageId })
    expect((await reserve(service, id, { conversationId: to, messageId: newId(), from })).status).toBe(409)
    expect((await reserve(service, id, { conversationId: to, messageId, from })).status).toBe(200)
    expect((await reserve(service, id, { conversationId: to, messageId, from })).status).toBe(200)
    expect((await reserve(service, id, { conversationId: from, messageId })).status).toBe(409)
  })

  test('people are refused at the inner door', async () => {
    const id = await uploaded(service)
    const ask = { ownerId: 'rajesh', type: 'image', conversationId: newId(), messageId: newId() }
    expect((await api(service.url, tokenFor(admin)).post(`/internal/media/${id}/reserve`, ask)).status).toBe(401)
    expect((await api(service.url).post(`/internal/media/${id}/reserve`, ask)).status).toBe(401)
  })
})

describe('sweep', () => {
  let service: TestService
  beforeAll(async () => {
    service = await startService({ MEDIA_UNUSED_MS: '0', MEDIA_UPLOADING_MS: '0' })
  })
  afterAll(() => service.close())

  test('what no message uses goes, what one uses stays, and conversation is asked once', async () => {
    const [unused, reserved, used] = [await uploaded(service), await uploaded(service), await uploaded(service)]
    await reserve(service, reserved)
    const messageId = newId()
    await reserve(service, used, { messageId })
    service.conversation.committed.add(messageId)
    await eventually(() => service.app.sweeper.sweep().then((swept) => swept.rows === 2 && swept.kept === 1))
    expect(rowsOf(service).map((row) => row.id)).toEqual([used])
    expect(await service.keys()).toEqual([`${used}/original`, `${used}/thumbnail`])
    expect((await reserve(service, unused)).status).toBe(404)
    service.conversation.committed.clear()
    expect(await service.app.sweeper.sweep()).toMatchObject({ rows: 0, kept: 0 })
    expect(rowsOf(service).map((row) => row.id)).toEqual([used])
  })

  test('while conversation does not answer, what was reserved stays and the rest goes on', async () => {
    const [id, unused] = [await uploaded(service), await uploaded(service)]
    await reserve(service, id)
    service.conversation.down = true
    await eventually(async () => (await service.app.sweeper.sweep()).rows === 1)
    const ids = rowsOf(service).map((row) => row.id)
    expect(ids).toContain(id)
    expect(ids).not.toContain(unused)
    service.conversation.down = false
  })

  test('what could not be announced while the broker was away is announced by one sweep, however much it is', async () => {
    const db = openSqlite(join(service.folder, 'media.db'))
    const store = sqliteMediaStore(db)
    const rows = Array.from({ length: 250 }, (_, at) => begun(newId(), 'rajesh', `${at}.wav`, 'audio', new Date(Date.now() - 60_000)))
    await store.begin(rows)
    await store.finish(rows.map((row) => ({ ...row, format: 'audio/wav' })))
    db.close()
    await service.app.sweeper.sweep()
    const announced = new Set<string>(service.announced.map((event) => event.data.media.id))
    expect(rows.filter((row) => !announced.has(row.id))).toEqual([])
  })

  test("an object without a row is nobody's", async () => {
    const orphan = `${newId()}/original`
    await service.objects.put(orphan, Buffer.from('x'))
    await eventually(async () => (await service.app.sweeper.sweep({ orphans: true })).orphans === 1)
    expect(await service.keys()).not.toContain(orphan)
  })
})
