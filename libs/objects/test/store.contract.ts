// What every object store promises, as one suite that each adapter runs.
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { type ObjectInfo, ObjectNotFound, type ObjectStore, partSize, RangeUnsatisfiable } from '../src/store.ts'

export interface Opened {
  store: ObjectStore
  /** Puts that were begun and neither finished nor cleaned up. */
  leftovers(): Promise<number>
  destroy(): Promise<void>
}

const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

/** A stream of `size` bytes in chunks of an odd length, that fails after `failAt` of them. */
function stream(bytes: Buffer, failAt = Number.POSITIVE_INFINITY): Readable {
  return Readable.from(
    (function* () {
      for (let at = 0; at < bytes.length; at += 65_521) {
        if (at >= failAt) throw new Error('the client went away')
        yield bytes.subarray(at, at + 65_521)
      }
      if (failAt < Number.POSITIVE_INFINITY) throw new Error('the client went away')
    })(),
    { objectMode: false },
  )
}

async function all(objects: AsyncIterable<ObjectInfo>): Promise<ObjectInfo[]> {
  const found: ObjectInfo[] = []
  for await (const object of objects) found.push(object)
  return found
}

export function objectStoreContract(name: string, open: () => Promise<Opened>): void {
  describe(`object store contract: ${name}`, () => {
    let opened: Opened
    let store: ObjectStore
    beforeAll(async () => {
      opened = await open()
      store = opened.store
    })
    afterAll(() => opened.destroy())

    const sizes = [0, 1, 65_536, partSize - 1, partSize, partSize + 1, 2 * partSize, 50 * 1024 * 1024]
    test.each(sizes)('%i bytes of unknown length come back as they went in', async (size) => {
      const bytes = randomBytes(size)
      const put = await store.put(`sizes/${size}`, stream(bytes))
      expect(put.size).toBe(size)
      expect(digest(await buffer(await store.get(`sizes/${size}`)))).toBe(digest(bytes))
      expect(await store.head(`sizes/${size}`)).toEqual({ key: `sizes/${size}`, size, etag: put.etag, modifiedAt: expect.any(Date) })
      expect(put.etag).toMatch(/^[^"]+$/)
    })

    test('a buffer goes in like a stream', async () => {
      await store.put('buffer/one', Buffer.from('seed'))
      expect((await buffer(await store.get('buffer/one'))).toString()).toBe('seed')
    })

    test('ranges give exactly the bytes asked for', async () => {
      const bytes = randomBytes(partSize + 1_000)
      await store.put('ranges/a', stream(bytes))
      const ranges: [number, number | undefined][] = [
        [0, 0],
        [0, 99],
        [partSize - 1, partSize + 1],
        [partSize + 999, undefined],
        [100, undefined],
        [partSize, partSize * 9],
      ]
      for (const [start, end] of ranges) {
        const part = await buffer(await store.get('ranges/a', end === undefined ? { start } : { start, end }))
        expect(part.equals(bytes.subarray(start, end === undefined ? undefined : end + 1))).toBe(true)
      }
      await expect(store.get('ranges/a', { start: bytes.length })).rejects.toThrow(RangeUnsatisfiable)
      await store.put('ranges/empty', Buffer.alloc(0))
      expect(await buffer(await store.get('ranges/empty', { start: 0, end: 9 }))).toHaveLength(0)
    })

    test('an absent key is told as such, and removing it is no error', async () => {
      await expect(store.get('absent/key')).rejects.toThrow(ObjectNotFound)
      await expect(store.get('absent/key', { start: 5 })).rejects.toThrow(ObjectNotFound)
      expect(await store.head('absent/key')).toBeNull()
      await store.remove('absent/key')
    })

    test('what is removed is gone', async () => {
      await store.put('removed/a', Buffer.from('x'))
      await store.remove('removed/a')
      expect(await store.head('removed/a')).toBeNull()
      await expect(store.get('removed/a')).rejects.toThrow(ObjectNotFound)
    })

    test('a replaced object has another etag', async () => {
      const first = await store.put('replaced/a', Buffer.from('first'))
      const second = await store.put('replaced/a', Buffer.from('second'))
      expect(second.etag).not.toBe(first.etag)
      expect((await buffer(await store.get('replaced/a'))).toString()).toBe('second')
    })

    test.each([200_000, partSize + 70_000])('of concurrent puts of one key (%i bytes) one stays whole', async (size) => {
      const bodies = Array.from({ length: 5 }, () => randomBytes(size))
      await Promise.all(bodies.map((bytes) => store.put('concurrent/a', stream(bytes))))
      const kept = digest(await buffer(await store.get('concurrent/a')))
      expect(bodies.map(digest)).toContain(kept)
      expect(await opened.leftovers()).toBe(0)
    })

    test('readers see the former object until a put has succeeded', async () => {
      await store.put('former/a', Buffer.from('former'))
      await expect(store.put('former/a', stream(randomBytes(2 * partSize), partSize + 1))).rejects.toThrow('the client went away')
      expect((await buffer(await store.get('former/a'))).toString()).toBe('former')
    })

    test.each([0, 1_000, partSize + 1, 2 * partSize + 5])('a put whose stream fails after %i bytes leaves nothing', async (failAt) => {
      await expect(store.put('failed/a', stream(randomBytes(3 * partSize), failAt))).rejects.toThrow('the client went away')
      expect(await store.head('failed/a')).toBeNull()
      expect(await opened.leftovers()).toBe(0)
    })

    test('a put that is aborted leaves nothing', async () => {
      for (const after of [0, partSize + 1]) {
        const abort = new AbortController()
        let given = 0
        const body = new Readable({
          read() {
            given += 65_536
            this.push(Buffer.alloc(65_536, 7))
            if (given > after) abort.abort()
          },
        })
        await expect(store.put('aborted/a', body, { signal: abort.signal })).rejects.toThrow(
          expect.objectContaining({ name: 'AbortError' }),
        )
        expect(body.destroyed).toBe(true)
      }
      expect(await store.head('aborted/a')).toBeNull()
      expect(await opened.leftovers()).toBe(0)
    })

    test('a stream that had failed before it was given leaves nothing', async () => {
      const body = stream(randomBytes(10))
      body.on('error', () => undefined)
      body.destroy(new Error('failed early'))
      await expect(store.put('failed/b', body)).rejects.toThrow()
      expect(await store.head('failed/b')).toBeNull()
    })

    test('listing goes on beyond 1,000 keys and keeps to its prefix', async () => {
      const keys = Array.from({ length: 1_050 }, (_, at) => `listing/${String(at).padStart(4, '0')}/original`)
      for (let at = 0; at < keys.length; at += 50) await Promise.all(keys.slice(at, at + 50).map((key) => store.put(key, Buffer.from('x'))))
      await store.put('listing-not/a', Buffer.from('x'))
      const found = await all(store.list('listing/'))
      expect(found.map((object) => object.key).sort()).toEqual(keys)
      expect(found[0]).toEqual({ key: found[0]?.key, size: 1, etag: expect.any(String), modifiedAt: expect.any(Date) })
      expect(await all(store.list('nothing-here'))).toEqual([])
    })

    test('a reader that leaves in the middle disturbs nobody', async () => {
      const bytes = randomBytes(2 * partSize)
      await store.put('left/a', stream(bytes))
      const body = await store.get('left/a')
      await once(body, 'readable')
      body.destroy()
      expect(digest(await buffer(await store.get('left/a')))).toBe(digest(bytes))
    })

    test.each(['', '/', '../etc', 'a/../b', 'a//b', '/a', 'a/', 'a\0b', 'नमस्ते', 'a b', '.hidden', 'a'.repeat(201)])(
      '%j is no key',
      async (key) => {
        await expect(store.put(key, Buffer.from('x'))).rejects.toThrow(TypeError)
        await expect(store.get(key)).rejects.toThrow(TypeError)
        await expect(store.head(key)).rejects.toThrow(TypeError)
        await expect(store.remove(key)).rejects.toThrow(TypeError)
      },
    )

    test('it says that it is ready', async () => {
      await store.ready()
    })
  })
}
