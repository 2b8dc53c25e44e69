// A media service for tests: real HTTP in this process, with a conversation service that answers as it is told.
import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { namespaced, namespacedName } from '@fieldline/bus/bus'
import { connectBus } from '@fieldline/bus/connect'
import type { MediaUploaded } from '@fieldline/contracts/events'
import { statsQueue, topology } from '@fieldline/contracts/topology'
import { openObjects } from '@fieldline/objects/open'
import type { ObjectStore } from '@fieldline/objects/store'
import { loadConfig } from '@fieldline/service/config'
import { createInternalTokens } from '@fieldline/service/internal'
import { createLogger } from '@fieldline/service/logger'
import { testInternalSecret, testSecret } from '@fieldline/testing/factories'
import { type Api, type ApiAnswer, api } from '@fieldline/testing/http'
import { Client } from 'minio'
import mongoose from 'mongoose'
import { createApp, type MediaApp } from '../src/app.ts'
import { fields } from '../src/config.ts'

/** Conversation as far as media asks it. */
export interface ConversationStub {
  url: string
  /** `<conversation> <person>`. */
  readers: Set<string>
  /** `<conversation> <message>`. */
  committed: Set<string>
  down: boolean
  close(): Promise<void>
}

export async function conversationStub(): Promise<ConversationStub> {
  const tokens = createInternalTokens({ secrets: [testInternalSecret], name: 'conversation' })
  const server = createServer(async (req, res) => {
    const answer = (status: number, body: unknown) =>
      res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    if (stub.down) return answer(503, { success: false, code: 'UNAVAILABLE', message: 'down', requestId: 'x' })
    tokens.verify((req.headers.authorization ?? '').replace('Bearer ', ''))
    const url = new URL(req.url ?? '', 'http://stub')
    const access = /^\/internal\/conversations\/(\w+)\/access$/.exec(url.pathname)
    if (access) {
      const mayRead = stub.readers.has(`${access[1]} ${url.searchParams.get('personId')}`)
      return answer(200, { mayRead, mayWrite: mayRead })
    }
    const chunks: Buffer[] = []
    for await (const chunk of req) chunks.push(chunk as Buffer)
    const asked = JSON.parse(Buffer.concat(chunks).toString()) as {
      messages: { messageId: string; conversationId: string }[]
    }
    const found = asked.messages.filter(({ conversationId, messageId }) => stub.committed.has(`${conversationId} ${messageId}`))
    answer(200, { messageIds: found.map(({ messageId }) => messageId) })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const stub: ConversationStub = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    readers: new Set(),
    committed: new Set(),
    down: false,
    close: async () => {
      server.closeAllConnections()
      server.close()
    },
  }
  return stub
}

export interface TestService {
  app: MediaApp
  url: string
  folder: string
  env: Record<string, string>
  conversation: ConversationStub
  objects: ObjectStore
  /** `media.uploaded`, as stats gets it. */
  announced: MediaUploaded[]
  /** As conversation calls. */
  internal: Api
  /** Every object's key. */
  keys(): Promise<string[]>
  /** Files in any temporary folder. */
  temporary(): Promise<string[]>
  close(): Promise<void>
}

const silent = createLogger({ logLevel: (process.env.TEST_LOG ?? 'silent') as 'silent' }, 'media')

/** `env` over a service with everything embedded in a folder of its own. */
export async function startService(env: Record<string, string> = {}): Promise<TestService> {
  const folder = await mkdtemp(join(tmpdir(), 'fieldline-media-test-'))
  const conversation = await conversationStub()
  const given: Record<string, string> & { [Name in 'BROKER_URL' | 'OBJECTS_URL']: string } = {
    JWT_SECRET: testSecret,
    INTERNAL_SECRET: testInternalSecret,
    MEDIA_SIGNING_SECRET: 'signing-secret-of-tests',
    PUBLIC_URL: 'http://public.example',
    DATABASE_URL: `sqlite:${join(folder, 'media.db')}`,
    OBJECTS_URL: `file:${join(folder, 'objects')}`,
    BROKER_URL: `memory:${randomBytes(6).toString('hex')}`,
    MEDIA_SPOOL_DIR: join(folder, 'spool'),
    CONVERSATION_URL: conversation.url,
    DRAIN_MS: '1000',
    ...env,
  }
  const namespace = given.NAMESPACE ?? ''
  const bus = await connectBus(given.BROKER_URL, { topology: namespaced(topology, namespace), name: 'stats' })
  const announced: MediaUploaded[] = []
  await bus.consume<MediaUploaded>(namespacedName(statsQueue, namespace), async ({ body }) => void announced.push(body), {
    prefetch: 10,
    maxAttempts: 3,
    handlerTimeoutMs: 1_000,
  })
  const app = await createApp(loadConfig(fields, given), { log: silent })
  await app.start()
  const url = app.url ?? ''
  const objects = await openObjects(given.OBJECTS_URL, { namespace: given.NAMESPACE })
  const tokens = createInternalTokens({ secrets: [testInternalSecret], name: 'conversation' })
  return {
    ...{ app, url, folder, env: given, conversation, objects, announced, internal: api(url, tokens.issue()) },
    keys: async () => {
      const keys: string[] = []
      for await (const { key } of objects.list('')) keys.push(key)
      return keys.sort()
    },
    temporary: async () => {
      const folders = [join(folder, 'spool'), join(folder, 'objects', 'temporary')]
      return (await Promise.all(folders.map((one) => readdir(one).catch(() => [])))).flat()
    },
    close: async () => {
      await app.stop()
      await bus.close()
      await objects.close()
      await conversation.close()
      await removeRun(given)
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Takes a run's bucket and database off shared servers. */
async function removeRun({ NAMESPACE, OBJECTS_URL = '', DATABASE_URL = '' }: Record<string, string>): Promise<void> {
  if (!NAMESPACE) return
  if (OBJECTS_URL.startsWith('s3:')) {
    const { hostname, port, username: accessKey, password: secretKey } = new URL(OBJECTS_URL)
    const client = new Client({ endPoint: hostname, port: Number(port), useSSL: false, accessKey, secretKey, region: 'us-east-1' })
    const bucket = `${NAMESPACE}-fieldline-media`
    const keys: string[] = []
    for await (const { name } of client.listObjectsV2(bucket, '', true)) keys.push(name)
    await client.removeObjects(bucket, keys)
    await client.removeBucket(bucket)
  }
  if (DATABASE_URL.startsWith('mongodb:')) {
    const connection = await mongoose.createConnection(DATABASE_URL, { dbName: `${NAMESPACE}fieldline_media` }).asPromise()
    await connection.dropDatabase()
    await connection.close()
  }
}

/** Rows of a service on SQLite, read beside it. */
export function rowsOf(service: Pick<TestService, 'folder'>): { id: string; state: string; type: string }[] {
  const db = new DatabaseSync(join(service.folder, 'media.db'), { readOnly: true, timeout: 5_000 })
  try {
    return db.prepare('SELECT id, state, type FROM media ORDER BY id').all() as { id: string; state: string; type: string }[]
  } finally {
    db.close()
  }
}

/** Rows of a service, wherever its database is, read beside it. */
export async function allRowsOf({ folder, env }: Pick<TestService, 'folder' | 'env'>): Promise<ReturnType<typeof rowsOf>> {
  if (!env.DATABASE_URL?.startsWith('mongodb:')) return rowsOf({ folder })
  const connection = await mongoose.createConnection(env.DATABASE_URL, { dbName: `${env.NAMESPACE}fieldline_media` }).asPromise()
  const rows = await connection.collection('media').find().sort({ _id: 1 }).toArray()
  await connection.close()
  return rows.map(({ _id, state, type }) => ({ id: String(_id), state, type }))
}

export interface Part {
  name: string
  filename?: string
  type?: string
  content: Buffer | string
}
export const boundary = 'fieldline-test-boundary'

export function multipart(parts: readonly Part[]): Buffer {
  const chunks = parts.flatMap(({ name, filename, type, content }) => [
    Buffer.from(
      `--${boundary}\r\nContent-Disposition: form-data; name="${name}"${filename === undefined ? '' : `; filename="${filename}"`}\r\n${
        filename === undefined ? '' : `Content-Type: ${type ?? 'application/octet-stream'}\r\n`
      }\r\n`,
    ),
    Buffer.from(content),
    Buffer.from('\r\n'),
  ])
  return Buffer.concat([...chunks, Buffer.from(`--${boundary}--\r\n`)])
}

export interface Sent {
  filename?: string
  content: Buffer
}

export function upload(
  url: string,
  token: string,
  type: string | null,
  files: readonly (Buffer | Sent)[],
  typeLast = false,
): Promise<ApiAnswer> {
  const field = type === null ? [] : [{ name: 'type', content: type }]
  const media = files.map((file) =>
    Buffer.isBuffer(file) ? { name: 'media', filename: 'file.bin', content: file } : { name: 'media', filename: 'file.bin', ...file },
  )
  const raw = multipart(typeLast ? [...media, ...field] : [...field, ...media])
  const headers = { 'content-type': `multipart/form-data; boundary=${boundary}` }
  return api(url, token).send('POST', '/api/v1/chat/media', { raw, headers })
}
