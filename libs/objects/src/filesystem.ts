// Objects as files of this machine: written aside, synced, then renamed into place. For the embedded run and for single machines.
import { createHash, randomUUID } from 'node:crypto'
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { addAbortSignal, Readable } from 'node:stream'
import {
  type ByteRange,
  checkKey,
  type ObjectInfo,
  ObjectNotFound,
  type ObjectStore,
  ObjectsUnavailable,
  RangeUnsatisfiable,
} from './store.ts'

/** Opens a store in `folder`, which is made if need be: `objects/<shard>/<key>` and `temporary/`. @throws ObjectsUnavailable */
export async function openFilesystem(folder: string): Promise<ObjectStore> {
  const root = resolve(folder)
  const objects = join(root, 'objects')
  const temporary = join(root, 'temporary')
  await unavailable(() => Promise.all([mkdir(objects, { recursive: true }), mkdir(temporary, { recursive: true })]))

  async function put(key: string, body: Readable | Buffer, { signal }: { signal?: AbortSignal } = {}) {
    const { shard, path } = place(objects, key)
    const aside = join(temporary, randomUUID())
    const source = Buffer.isBuffer(body) ? Readable.from([body]) : body
    // The source may fail while nobody reads it yet; the reading below meets that failure again.
    source.on('error', () => undefined)
    if (signal) addAbortSignal(signal, source)
    try {
      await unavailable(() => mkdir(shard, { recursive: true }))
      const file = await unavailable(() => open(aside, 'wx'))
      try {
        await file.writeFile(source)
        // Only what is on the disk is told as stored: the bytes first, then the name, then the folder that holds the name.
        await unavailable(() => file.sync())
        const written = await unavailable(() => file.stat({ bigint: true }))
        await unavailable(() => rename(aside, path))
        await unavailable(async () => {
          await syncFolder(shard)
          await syncFolder(objects)
        })
        return { size: Number(written.size), etag: etagOf(written) }
      } finally {
        await file.close().catch(() => undefined)
      }
    } catch (error) {
      source.destroy()
      await rm(aside, { force: true }).catch(() => undefined)
      throw fullDisk(error) ? new ObjectsUnavailable(error) : error
    }
  }

  async function get(key: string, range?: ByteRange): Promise<Readable> {
    const file = await open(place(objects, key).path, 'r').catch((error: unknown) => {
      throw absent(error) ? new ObjectNotFound(key) : new ObjectsUnavailable(error)
    })
    if (range && range.start > 0) {
      const { size } = await file.stat()
      if (range.start >= size) {
        await file.close()
        throw new RangeUnsatisfiable(key)
      }
    }
    return file.createReadStream({ start: range?.start ?? 0, ...(range?.end === undefined ? {} : { end: range.end }) })
  }

  async function head(key: string): Promise<ObjectInfo | null> {
    return describe(key, place(objects, key).path)
  }

  async function remove(key: string): Promise<void> {
    const { shard, path } = place(objects, key)
    await unavailable(async () => {
      await rm(path, { force: true })
      await syncFolder(shard)
    })
  }

  async function* list(prefix: string): AsyncIterable<ObjectInfo> {
    for (const shard of await unavailable(() => readdir(objects))) {
      for (const name of await unavailable(() => readdir(join(objects, shard)))) {
        const key = decodeURIComponent(name)
        if (!key.startsWith(prefix)) continue
        const info = await describe(key, join(objects, shard, name))
        if (info) yield info
      }
    }
  }

  async function sweep(before: Date): Promise<number> {
    let swept = 0
    for (const name of await unavailable(() => readdir(temporary))) {
      const path = join(temporary, name)
      const info = await stat(path).catch(() => null)
      // A put in progress keeps touching its file, so an old one has no owner.
      if (!info || info.mtime >= before) continue
      await unavailable(() => rm(path, { force: true }))
      swept += 1
    }
    return swept
  }

  /** Writable, not only there. */
  async function ready(): Promise<void> {
    const probe = join(temporary, randomUUID())
    await unavailable(async () => {
      await (await open(probe, 'wx')).close()
      await rm(probe, { force: true })
    })
  }

  return { put, get, head, remove, list, sweep, ready, close: async () => undefined }
}

/** One folder of 256 per key, so that none grows too large; the key itself, escaped, is the file's name. */
function place(objects: string, key: string): { shard: string; path: string } {
  const shard = join(objects, createHash('sha1').update(checkKey(key)).digest('hex').slice(0, 2))
  return { shard, path: join(shard, encodeURIComponent(key)) }
}

async function describe(key: string, path: string): Promise<ObjectInfo | null> {
  try {
    const info = await stat(path, { bigint: true })
    return { key, size: Number(info.size), etag: etagOf(info), modifiedAt: new Date(Number(info.mtimeMs)) }
  } catch (error) {
    if (absent(error)) return null
    throw new ObjectsUnavailable(error)
  }
}

/** A rename keeps inode, size and time of the last write, and each put writes a new inode. */
function etagOf(info: { ino: bigint; size: bigint; mtimeNs: bigint }): string {
  return `${info.ino.toString(36)}-${info.size.toString(36)}-${info.mtimeNs.toString(36)}`
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r').catch((error: unknown) => {
    if (absent(error)) return null
    throw error
  })
  if (!folder) return
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

async function unavailable<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    throw new ObjectsUnavailable(error)
  }
}

function absent(error: unknown): boolean {
  return codeOf(error) === 'ENOENT'
}
function fullDisk(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT', 'EROFS', 'EIO', 'EFBIG'].includes(codeOf(error) ?? '')
}
function codeOf(error: unknown): string | undefined {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}
