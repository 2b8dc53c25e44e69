// Objects in a bucket of whatever speaks S3: plain calls, path style, nothing that only one vendor has.
import { type ClientRequest, Agent as HttpAgent, type IncomingMessage, type RequestOptions, request as requestHttp } from 'node:http'
import { Agent as HttpsAgent, request as requestHttps } from 'node:https'
import { addAbortSignal, Readable } from 'node:stream'
import { Client } from 'minio'
import {
  type ByteRange,
  checkKey,
  type ObjectInfo,
  ObjectNotFound,
  type ObjectStore,
  ObjectsUnavailable,
  partSize,
  RangeUnsatisfiable,
} from './store.ts'

export interface S3Options {
  host: string
  port: number
  tls: boolean
  region: string
  accessKey: string
  secretKey: string
  bucket: string
  /** A request that gets no byte through for so long, or no answer, is given up; in ms. */
  idleTimeout?: number
}

const mostSpareParts = 8

/** Opens a bucket, which is made at the first use if need be. Opening asks nothing of the server, so that a service can start before its store. */
export function openS3({ host, port, tls, region, accessKey, secretKey, bucket, idleTimeout = 20_000 }: S3Options): ObjectStore {
  const agent = tls ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true })
  const client = new Client({
    ...{ endPoint: host, port, useSSL: tls, region, accessKey, secretKey, partSize },
    pathStyle: true,
    transportAgent: agent,
    transport: { request: withDeadline(tls ? requestHttps : requestHttp, idleTimeout) as typeof requestHttp },
    // Whoever calls knows whether to try again; tries in here would only hide that a store is ill.
    retryOptions: { disableRetry: true },
  })
  let bucketMade: Promise<void> | undefined
  /** Parts that wait to be filled again: a new one for each put would be garbage of its size. */
  const spareParts: Buffer[] = []

  function makeBucket(): Promise<void> {
    bucketMade ??= ensureBucket(client, bucket, region).catch((error: unknown) => {
      bucketMade = undefined
      throw error
    })
    return bucketMade
  }

  /** One call that may safely be made twice: a kept-alive connection which the server has just closed is no reason to fail. */
  async function call<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      await makeBucket()
      return await work().catch((error: unknown) => (codeOf(error) === 'ECONNRESET' ? work() : Promise.reject(error)))
    } catch (error) {
      if (codeOf(error) === 'NoSuchBucket') bucketMade = undefined
      throw new ObjectsUnavailable(error)
    }
  }

  async function put(key: string, body: Readable | Buffer, { signal }: { signal?: AbortSignal } = {}) {
    checkKey(key)
    if (Buffer.isBuffer(body) && body.length <= partSize) return putWhole(key, body)
    const source = Buffer.isBuffer(body) ? Readable.from([body]) : body
    // The source may fail while nobody reads it yet; the reading below meets that failure again.
    source.on('error', () => undefined)
    if (signal) addAbortSignal(signal, source)
    // Our own parts instead of the client's `putObject`: that one joins an unfinished upload of the same key, so two puts would mix.
    const part = spareParts.pop() ?? Buffer.allocUnsafeSlow(partSize)
    // After a failure a request may still be reading it.
    const spare = () => spareParts.length < mostSpareParts && spareParts.push(part)
    const parts: { part: number; etag: string }[] = []
    let filled = 0
    let size = 0
    let uploadId: string | undefined

    async function flush(): Promise<void> {
      const id = uploadId ?? (await call(() => client.initiateNewMultipartUpload(bucket, key, {})))
      uploadId = id
      const partNumber = parts.length + 1
      const bytes = part.subarray(0, filled)
      const { etag } = await call(() =>
        client.uploadPart({ bucketName: bucket, objectName: key, uploadID: id, partNumber, headers: {} }, bytes),
      )
      parts.push({ part: partNumber, etag })
      filled = 0
    }

    try {
      for await (const chunk of source) {
        for (let rest: Buffer = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk); rest.length > 0; ) {
          if (filled === partSize) await flush()
          const taken = rest.copy(part, filled)
          filled += taken
          size += taken
          rest = rest.subarray(taken)
        }
      }
      if (!uploadId) {
        const stored = await putWhole(key, part.subarray(0, filled))
        spare()
        return stored
      }
      await flush()
      spare()
      signal?.throwIfAborted()
      const id = uploadId
      const { etag } = await call(() => client.completeMultipartUpload(bucket, key, id, parts))
      return { size, etag: bare(etag) }
    } catch (error) {
      source.destroy()
      if (uploadId) await client.abortMultipartUpload(bucket, key, uploadId).catch(() => undefined)
      throw error
    }
  }

  async function putWhole(key: string, bytes: Buffer) {
    const { etag } = await call(() => client.putObject(bucket, key, bytes, bytes.length))
    return { size: bytes.length, etag: bare(etag) }
  }

  async function get(key: string, range?: ByteRange): Promise<Readable> {
    checkKey(key)
    try {
      await makeBucket()
      return await client.getPartialObject(bucket, key, range?.start ?? 0, range?.end === undefined ? 0 : range.end - range.start + 1)
    } catch (error) {
      if (absent(error)) throw new ObjectNotFound(key)
      if (codeOf(error) !== 'InvalidRange') throw new ObjectsUnavailable(error)
      // An empty object satisfies no range, but its beginning may be asked for.
      if (range?.start === 0) return get(key)
      throw new RangeUnsatisfiable(key)
    }
  }

  async function head(key: string): Promise<ObjectInfo | null> {
    checkKey(key)
    return call(async () => {
      try {
        const { size, etag, lastModified } = await client.statObject(bucket, key)
        return { key, size, etag, modifiedAt: lastModified }
      } catch (error) {
        if (absent(error)) return null
        throw error
      }
    })
  }

  async function remove(key: string): Promise<void> {
    checkKey(key)
    await call(() => client.removeObject(bucket, key))
    await abortUploads(key, (upload) => upload.key === key)
  }

  async function* list(prefix: string): AsyncIterable<ObjectInfo> {
    let continuation = ''
    do {
      const page = await call(() => client.listObjectsV2Query(bucket, prefix, continuation, '', 1_000, ''))
      for (const { name, size, etag, lastModified } of page.objects) {
        if (name !== undefined && lastModified) yield { key: String(name), size, etag: etag ?? '', modifiedAt: lastModified }
      }
      continuation = page.isTruncated ? page.nextContinuationToken : ''
    } while (continuation)
  }

  async function sweep(before: Date): Promise<number> {
    return abortUploads('', (upload) => upload.initiated < before)
  }

  /** Ends unfinished multipart uploads. MinIO lists only those of an exact key, and removes stale ones by itself; others list them all. */
  async function abortUploads(prefix: string, which: (upload: { key: string; initiated: Date }) => boolean): Promise<number> {
    let aborted = 0
    let marker = ''
    for (;;) {
      const after = marker
      const page = await call(() => client.listIncompleteUploadsQuery(bucket, prefix, after, '', ''))
      for (const { key, uploadId } of page.uploads.filter(which)) {
        await call(() =>
          client.abortMultipartUpload(bucket, key, uploadId).catch((error: unknown) => (absent(error) ? undefined : Promise.reject(error))),
        )
        aborted += 1
      }
      marker = page.nextKeyMarker
      if (!page.isTruncated || !marker || marker === after) return aborted
    }
  }

  async function ready(): Promise<void> {
    if (!(await call(() => client.bucketExists(bucket)))) bucketMade = undefined
    await call(async () => undefined)
  }

  return { put, get, head, remove, list, sweep, ready, close: async () => agent.destroy() }
}

async function ensureBucket(client: Client, bucket: string, region: string): Promise<void> {
  if (await client.bucketExists(bucket)) return
  await client.makeBucket(bucket, region).catch((error: unknown) => {
    if (!['BucketAlreadyOwnedByYou', 'BucketAlreadyExists'].includes(codeOf(error) ?? '')) throw error
  })
}

/** Gives up a request that stands still. Of an object's own bytes, once they come, only the reader knows whether it or the store is slow. */
function withDeadline(request: typeof requestHttp, idleTimeout: number) {
  return (options: RequestOptions, answered: (response: IncomingMessage) => void): ClientRequest => {
    const readsObject = options.method === 'GET' && !options.path?.includes('?')
    let stalled: { destroy(error: Error): unknown }
    const sent = request(options, (response) => {
      if (readsObject && response.statusCode && response.statusCode < 300) sent.setTimeout(0)
      stalled = response
      answered(response)
    })
    stalled = sent
    sent.setTimeout(idleTimeout, () => stalled.destroy(new Error(`no answer for ${idleTimeout} ms`)))
    return sent
  }
}

function absent(error: unknown): boolean {
  return ['NoSuchKey', 'NotFound', 'NoSuchUpload'].includes(codeOf(error) ?? '')
}
function codeOf(error: unknown): string | undefined {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}
function bare(etag: string): string {
  return etag.replace(/^"|"$/g, '')
}
