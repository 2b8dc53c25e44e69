// What the rows of media promise, as one suite that each database runs.
import { newId } from '@fieldline/service/ids'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { MediaStore } from '../src/media.store.ts'
import { begun, type Media, reserved } from '../src/media.ts'

const noon = new Date('2026-11-23T12:00:00.123Z')
const later = (milliseconds: number) => new Date(noon.getTime() + milliseconds)
const row = (more: Partial<Media> = {}): Media => ({ ...begun(newId(), 'rajesh', 'crop.jpg', 'image', noon), ...more })
const finished = (media: Media): Media => ({
  ...media,
  ...{ format: 'image/jpeg', original: { size: 10, etag: 'o' }, thumbnail: { size: 5, etag: 't' }, width: 60, height: 40 },
})
const ask = (more = {}) => ({
  ownerId: 'rajesh',
  type: 'image' as const,
  conversationId: newId() as never,
  messageId: newId() as never,
  ...more,
})

export function mediaStoreContract(name: string, open: () => Promise<{ store: MediaStore; close(): Promise<void> }>): void {
  describe(`media store contract: ${name}`, () => {
    let store: MediaStore
    let close: () => Promise<void>
    beforeAll(async () => {
      ;({ store, close } = await open())
    })
    afterAll(() => close())

    async function stored(more: Partial<Media> = {}): Promise<Media> {
      const begin = row(more)
      await store.begin([begin])
      const end = { ...finished(begin), state: 'stored' as const }
      expect(await store.finish([end])).toBe(true)
      return end
    }
    const expiredIds = async (uploadingBefore: Date, unusedBefore: Date) =>
      (await store.expired({ uploadingBefore, unusedBefore }, '', 1_000)).map((one) => one.id)

    test('a row comes back as it went in, and an unknown one is null', async () => {
      const begin = row({ name: 'फसल 🌾.jpg' })
      await store.begin([begin])
      expect(await store.load(begin.id)).toEqual(begin)
      expect(await store.load(newId())).toBeNull()
      const sound = await stored({ type: 'audio', thumbnail: null, width: null, height: null })
      expect(await store.load(sound.id)).toEqual(sound)
    })

    test('it keeps which conversations it is used in, the last one first', async () => {
      const media = await stored()
      const [closed, next] = [ask(), ask()]
      const moved = reserved(reserved(media, closed, noon), next, later(1))
      expect(await store.replace(media, moved)).toBe(true)
      expect(await store.load(media.id)).toMatchObject({
        conversationId: next.conversationId,
        earlierConversationIds: [closed.conversationId],
        messageIds: [closed.messageId, next.messageId],
      })
    })

    test('an upload is finished as a whole, unless the sweep has taken a part of it', async () => {
      const rows = [row(), row()]
      await store.begin(rows)
      expect(await store.finish(rows.map(finished))).toBe(true)
      expect((await store.load(rows[0]?.id ?? ''))?.state).toBe('stored')
      const [first, second] = [row(), row()]
      await store.begin([first, second])
      expect(await store.replace(second, { ...second, state: 'deleting' })).toBe(true)
      expect(await store.finish([finished(first), finished(second)])).toBe(false)
      expect((await store.load(second.id))?.state).toBe('deleting')
    })

    test('of two writers that read the same row one writes', async () => {
      const media = await stored()
      const writers = Array.from({ length: 8 }, () => reserved(media, ask(), later(1)))
      const wrote = await Promise.all(writers.map((after) => store.replace(media, after)))
      expect(wrote.filter(Boolean)).toHaveLength(1)
      expect(await store.load(media.id)).toEqual(writers[wrote.indexOf(true)])
    })

    test.each([
      ['reserved', (media: Media) => reserved(media, ask(), noon)],
      ['moved on', (media: Media) => reserved(reserved(media, ask(), noon), ask(), noon)],
      ['attached', (media: Media) => ({ ...media, attached: true })],
      ['used later', (media: Media) => ({ ...media, usedAt: later(1) })],
      ['marked', (media: Media) => ({ ...media, state: 'deleting' as const })],
    ])('what was %s meanwhile is not replaced', async (_what, change) => {
      const media = await stored()
      expect(await store.replace(media, change(media))).toBe(true)
      expect(await store.replace(media, { ...media, state: 'deleting' })).toBe(false)
    })

    test('the sweep sees what has expired, and nothing else', async () => {
      const old = new Date('2020-01-01T00:00:00.000Z')
      const at = { createdAt: old, usedAt: old }
      const uploading = row(at)
      const fresh = row({ createdAt: old })
      await store.begin([uploading, fresh])
      const unused = await stored(at)
      const attached = await stored(at)
      await store.replace(attached, { ...attached, attached: true })
      const marked = await stored()
      await store.replace(marked, { ...marked, state: 'deleting' })
      const limit = new Date('2020-06-01T00:00:00.000Z')
      const seen = await expiredIds(limit, limit)
      for (const one of [uploading, unused, marked]) expect(seen).toContain(one.id)
      for (const one of [fresh, attached]) expect(seen).not.toContain(one.id)
      expect(await expiredIds(new Date(0), limit)).not.toContain(uploading.id)
      expect(await expiredIds(limit, new Date(0))).not.toContain(unused.id)
      const paged: string[] = []
      for (let after = ''; ; ) {
        const page = await store.expired({ uploadingBefore: limit, unusedBefore: limit }, after, 1)
        if (!page[0]) break
        paged.push(page[0].id)
        after = page[0].id
      }
      expect(paged).toEqual(seen)
      await store.remove(seen)
      expect(await expiredIds(limit, limit)).toEqual([])
    })

    test('what was announced is not announced again, whoever writes the row meanwhile', async () => {
      const media = await stored({ createdAt: new Date('2019-01-01T00:00:00.000Z') })
      const before = new Date('2019-06-01T00:00:00.000Z')
      expect((await store.unannounced(before, 10)).map((one) => one.id)).toEqual([media.id])
      await store.announced([media.id])
      expect(await store.replace(media, reserved(media, ask(), later(5)))).toBe(true)
      expect(await store.unannounced(before, 10)).toEqual([])
    })

    test('rows are known by id until they are removed', async () => {
      const [one, other] = [await stored(), await stored()]
      const absent = newId()
      expect(await store.existing([one.id, other.id, absent])).toEqual(new Set([one.id, other.id]))
      await store.remove([one.id, absent])
      expect(await store.existing([one.id, other.id])).toEqual(new Set([other.id]))
      expect(await store.load(one.id)).toBeNull()
    })
  })
}
