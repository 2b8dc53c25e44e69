// Reserving: a file is its owner's, in one conversation, for as many messages there as wanted; and what nobody uses is swept.
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { newId } from '@fieldline/service/ids'
import { openSqlite } from '@fieldline/service/sqlite'
import { admin, rajesh, tokenFor } from '@fieldline/testing/factories'
import { api } from '@fieldline/testing/http'
import { eventually } from '@fieldline/testing/until'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sqliteMediaStore } from '../src/media.store.sqlite.ts'
import { begun, mostEarlier } from '../src/media.ts'
import * as files from './files.ts'
import { rowsOf, startService, type TestService, upload } from './service.ts'

const uploaded = async (service: TestService): Promise<string> =>
  (await upload(service.url, tokenFor(rajesh), 'image', [{ filename: 'crop.jpg', content: await files.jpeg() }])).body.data[0]._id

function reserve(service: TestService, id: string, more: Record<string, unknown> = {}) {
  const ask = { ownerId: 'rajesh', type: 'image', conversationId: newId(), messageId: newId(), ...more }
  return service.internal.post(`/internal/media/${id}/reserve`, ask)
}

function rowOf({ folder }: TestService, id: string) {
  const db = new DatabaseSync(join(folder, 'media.db'), { readOnly: true, timeout: 5_000 })
  const row = db.prepare('SELECT conversation_id AS one, earlier_conversation_ids AS earlier, attached FROM media WHERE id = ?').get(id)
  db.close()
  return { conversations: [row?.one, ...JSON.parse(String(row?.earlier))] as string[], attached: row?.attached === 1 }
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

  describe('a farmer’s file', () => {
    const own = { farmerId: 'rajesh' }

    test('goes along into their next conversation, whether a message of the one before used it, never came about or tries still', async () => {
      const id = await uploaded(service)
      const [closed, next, messageId] = [newId(), newId(), newId()]
      const at = async (conversationId: string, message = newId()) =>
        (await reserve(service, id, { ...own, conversationId, messageId: message })).status
      expect([await at(closed), await at(closed, messageId)]).toEqual([200, 200])
      expect([await at(next, messageId), await at(next), await at(closed), await at(newId())]).toEqual([200, 200, 200, 200])
    })

    test('asked for by two of their conversations at once is in both', async () => {
      const id = await uploaded(service)
      const asked = [newId(), newId()]
      const answers = await Promise.all(asked.map((conversationId) => reserve(service, id, { ...own, conversationId })))
      expect(answers.map(({ status }) => status)).toEqual([200, 200])
      expect(rowOf(service, id).conversations.toSorted()).toEqual(asked.toSorted())
    })

    test('goes into no conversation of somebody else’s, and nobody else’s into the farmer’s', async () => {
      const id = await uploaded(service)
      await reserve(service, id, own)
      expect((await reserve(service, id, { farmerId: 'sunita' })).body.code).toBe('MEDIA_IN_USE')
      expect((await reserve(service, id, { ownerId: 'sunita', farmerId: 'sunita' })).body.code).toBe('MEDIA_NOT_FOUND')
      expect((await reserve(service, id, { ownerId: 'sunita', farmerId: 'rajesh' })).body.code).toBe('MEDIA_NOT_FOUND')
    })

    test('remembers so many conversations, and one that has more is never swept', async () => {
      const id = await uploaded(service)
      const all = Array.from({ length: mostEarlier + 2 }, () => newId())
      for (const conversationId of all.slice(0, -1)) await reserve(service, id, { ...own, conversationId })
      expect(rowOf(service, id)).toEqual({ conversations: all.slice(0, -1).toReversed(), attached: false })
      await reserve(service, id, { ...own, conversationId: all.at(-1) })
      expect(rowOf(service, id)).toEqual({ conversations: all.slice(1).toReversed(), attached: true })
    })
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
    const message = { conversationId: newId(), messageId: newId() }
    await reserve(service, used, message)
    service.conversation.committed.add(`${message.conversationId} ${message.messageId}`)
    await eventually(() => service.app.sweeper.sweep().then((swept) => swept.rows === 2 && swept.kept === 1))
    expect(rowsOf(service).map((row) => row.id)).toEqual([used])
    expect(await service.keys()).toEqual([`${used}/original`, `${used}/thumbnail`])
    expect((await reserve(service, unused)).status).toBe(404)
    service.conversation.committed.clear()
    expect(await service.app.sweeper.sweep()).toMatchObject({ rows: 0, kept: 0 })
    expect(rowsOf(service).map((row) => row.id)).toEqual([used])
  })

  test('a file that moved on stays for a message of the conversation before, though none of the next came about', async () => {
    const id = await uploaded(service)
    const [closed, next, used] = [newId(), newId(), newId()]
    await reserve(service, id, { farmerId: 'rajesh', conversationId: closed, messageId: used })
    await reserve(service, id, { farmerId: 'rajesh', conversationId: next })
    service.conversation.committed.add(`${closed} ${used}`)
    await eventually(async () => (await service.app.sweeper.sweep()).kept === 1)
    expect(rowsOf(service).map((row) => row.id)).toContain(id)
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
