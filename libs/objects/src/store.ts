// The port to where files' bytes are kept: what every store promises, in the words of whoever keeps files. One contract suite proves it for each adapter.
import type { Readable } from 'node:stream'

export interface ObjectInfo {
  key: string
  /** Bytes. */
  size: number
  /** Changes whenever the object is replaced by other content. Opaque, without quotes. */
  etag: string
  modifiedAt: Date
}

/** Bytes `start` to `end`, both included, as in HTTP. `end` beyond the last byte means the last. */
export interface ByteRange {
  start: number
  end?: number
}

/**
 * Objects under keys of ours (see `checkKey`); a client's name never becomes one. An object appears whole or not at all: readers see the former one until a put
 * has succeeded. Of concurrent puts of one key the last to finish stays, never a mixture.
 */
export interface ObjectStore {
  /** Stores a stream of unknown size, holding at most one part of 5 MiB in memory. Failed or aborted, it leaves nothing; only after ObjectsUnavailable the outcome may be unknown. @throws ObjectsUnavailable, or the stream's own error */
  put(key: string, body: Readable | Buffer, options?: { signal?: AbortSignal }): Promise<{ size: number; etag: string }>
  /** Streams an object or a range of it; destroying the stream frees everything at once. @throws ObjectNotFound, RangeUnsatisfiable (`start` beyond the last byte; 0 never is), ObjectsUnavailable */
  get(key: string, range?: ByteRange): Promise<Readable>
  /** What is under a key; null if nothing is. @throws ObjectsUnavailable */
  head(key: string): Promise<ObjectInfo | null>
  /** Removes an object and what interrupted puts of that key left behind. An absent key is no error. @throws ObjectsUnavailable */
  remove(key: string): Promise<void>
  /** Every object whose key begins with `prefix`, in no promised order, however many there are. @throws ObjectsUnavailable */
  list(prefix: string): AsyncIterable<ObjectInfo>
  /** Removes what puts that died with their process left behind before this moment; answers how many. @throws ObjectsUnavailable */
  sweep(before: Date): Promise<number>
  /** Resolves if the store can be used now. @throws ObjectsUnavailable */
  ready(): Promise<void>
  close(): Promise<void>
}

export class ObjectNotFound extends Error {
  override readonly name = 'ObjectNotFound'
  constructor(key: string) {
    super(`There is no object ${key}`)
  }
}

export class RangeUnsatisfiable extends Error {
  override readonly name = 'RangeUnsatisfiable'
  constructor(key: string) {
    super(`Object ${key} ends before that range`)
  }
}

/** The store can't be reached, or refuses to work: try later. */
export class ObjectsUnavailable extends Error {
  override readonly name = 'ObjectsUnavailable'
  constructor(cause: unknown) {
    super(`The object store is unavailable: ${cause instanceof Error ? cause.message || cause.name : String(cause)}`, { cause })
  }
}

const keyShape = /^[A-Za-z0-9][A-Za-z0-9_-]*(?:[./][A-Za-z0-9_-]+)*$/

/** Keys are ours alone: letters, digits, `_`, `-`, with single `.` and `/` between them; at most 200 characters. @throws TypeError */
export function checkKey(key: string): string {
  if (key.length > 200 || !keyShape.test(key)) throw new TypeError('not an object key')
  return key
}

/** Bytes that a put holds in memory, and the least that S3 takes as a part that isn't the last. */
export const partSize = 5 * 1024 * 1024
