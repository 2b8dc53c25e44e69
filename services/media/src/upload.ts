// One upload, all or nothing: looked at, rows first, then objects, then the rows say stored. What fails on the way leaves neither.
import { createHash } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { AppError } from '@fieldline/contracts/errors'
import type { MediaType } from '@fieldline/contracts/media'
import { type ObjectStore, ObjectsUnavailable } from '@fieldline/objects/store'
import type { Clock } from '@fieldline/service/clock'
import { newId } from '@fieldline/service/ids'
import type { Logger } from '@fieldline/service/logger'
import { type ImageLimits, safeImage } from './content/image.ts'
import { hasZipBehind } from './content/polyglot.ts'
import { type Sniffed, sniff } from './content/sniff.ts'
import type { FormFile } from './form.ts'
import { createGate } from './gate.ts'
import type { MediaStore } from './media.store.ts'
import { begun, type Media, originalKey, type StoredObject, thumbnailKey } from './media.ts'
import { cleanName } from './name.ts'
import type { Spooled } from './spool.ts'

export interface UploadDeps {
  store: MediaStore
  objects: ObjectStore
  clock: Clock
  log: Logger
  images: ImageLimits
  /** Files stored, and images decoded, at a time, shared among people: with the part of 5 MiB that a put holds, these bound the memory of all uploads together. */
  storing: number
  decoding: number
}

export interface Upload {
  ownerId: string
  type: MediaType
  files: readonly FormFile[]
  /** Aborts when the uploader has gone, or with the AppError that says why it is given up. */
  signal: AbortSignal
}

/** @returns the stored files in the order they came @throws AppError UNSUPPORTED_MEDIA_TYPE, UNPROCESSABLE_MEDIA, UNAVAILABLE, BAD_REQUEST (gone); the signal's own */
export type StoreUpload = (upload: Upload) => Promise<Media[]>

export function createUpload({ store, objects, clock, log, images, storing, decoding }: UploadDeps): StoreUpload {
  const storeGate = createGate(storing)
  const decodeGate = createGate(decoding)

  async function put(person: string, key: string, body: Spooled | Buffer, signal: AbortSignal): Promise<StoredObject> {
    return storeGate(person, signal, async () => {
      if (Buffer.isBuffer(body)) {
        const { size } = await objects.put(key, body, { signal })
        return { size, etag: createHash('sha256').update(body).digest('base64url') }
      }
      const { size } = await objects.put(key, body.stream(), { signal })
      return { size, etag: body.digest }
    })
  }

  async function storeImage(row: Media, content: Spooled, sniffed: Sniffed, signal: AbortSignal): Promise<Media> {
    return decodeGate(row.ownerId, signal, async () => {
      const image = await safeImage(await buffer(content.stream()), sniffed.format, images)
      const original = await put(row.ownerId, originalKey(row.id), image.original, signal)
      const thumbnail = await put(row.ownerId, thumbnailKey(row.id), image.thumbnail, signal)
      const { format, width, height } = image
      return { ...row, name: cleanName(row.name, image.extension, row.type), format, width, height, original, thumbnail }
    })
  }

  async function storeOne(row: Media, content: Spooled, sniffed: Sniffed, signal: AbortSignal): Promise<Media> {
    if (row.type === 'image') return storeImage(row, content, sniffed, signal)
    return { ...row, format: sniffed.format, original: await put(row.ownerId, originalKey(row.id), content, signal) }
  }

  /** Takes back what was begun. What can't be taken back now keeps its row, and so the sweep finds it. */
  async function undo(rows: readonly Media[]): Promise<void> {
    try {
      for (const row of rows) {
        // First the row, so that no state of these objects is ever shown again.
        const now = await store.load(row.id)
        if (now && now.state !== 'deleting') await store.replace(now, { ...now, state: 'deleting' })
        await objects.remove(originalKey(row.id))
        if (row.type === 'image') await objects.remove(thumbnailKey(row.id))
      }
      await store.remove(rows.map((row) => row.id))
    } catch (error) {
      log.warn({ err: error, files: rows.length }, 'failed upload is left to the sweep')
    }
  }

  return async ({ ownerId, type, files, signal }) => {
    const looked = await inOrder(files, async (file) => ({ ...file, sniffed: await look(file.content, type) }))
    const now = clock.now()
    const rows = looked.map(({ name, sniffed }) => begun(newId(), ownerId, cleanName(name, sniffed.extension, type), type, now))
    try {
      await store.begin(rows)
      const pairs = looked.map((file, at) => ({ file, row: rows[at] as Media }))
      // All have ended before anything is undone: a put that still runs could store after its removal.
      const outcomes = await Promise.allSettled(pairs.map(({ file, row }) => storeOne(row, file.content, file.sniffed, signal)))
      const stored = outcomes.map((outcome) => {
        if (outcome.status === 'rejected') throw outcome.reason
        return { ...outcome.value, state: 'stored' as const }
      })
      signal.throwIfAborted()
      if (!(await store.finish(stored))) throw new AppError('UNAVAILABLE', 'The upload took too long to be stored; try again')
      return stored
    } catch (error) {
      await undo(rows)
      if (signal.aborted && signal.reason instanceof AppError) throw signal.reason
      if (signal.aborted) throw new AppError('BAD_REQUEST', 'The upload ended before it was whole', { cause: error })
      if (error instanceof ObjectsUnavailable)
        throw new AppError('UNAVAILABLE', 'Files can not be stored now', { cause: error, retryAfter: 5 })
      throw error
    }
  }
}

/** What a file is, if that is what it is said to be and nothing else besides. */
async function look(content: Spooled, type: MediaType): Promise<Sniffed> {
  const sniffed = await sniff(content.readAt, content.size)
  if (sniffed.type !== type) throw new AppError('UNSUPPORTED_MEDIA_TYPE', `The file is ${sniffed.type} (${sniffed.format}), not ${type}`)
  if (content.suspicious || (await hasZipBehind(content.readAt, content.size))) {
    throw new AppError('UNSUPPORTED_MEDIA_TYPE', 'The file holds something else beside what it shows')
  }
  return sniffed
}

async function inOrder<Item, Result>(items: readonly Item[], work: (item: Item) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = []
  for (const item of items) results.push(await work(item))
  return results
}
