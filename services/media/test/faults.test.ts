// What is cut, killed or full in the middle leaves nothing: afterwards, and after one sweep, objects = rows and no temporary file.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openObjects } from '@fieldline/objects/open'
import { backing } from '@fieldline/testing/backing'
import { describeWith } from '@fieldline/testing/describe-with'
import { rajesh, tokenFor } from '@fieldline/testing/factories'
import { freePort } from '@fieldline/testing/ports'
import { start, stopAll } from '@fieldline/testing/processes'
import { eventually } from '@fieldline/testing/until'
import { afterAll, describe, expect, test } from '@jest/globals'
import * as files from './files.ts'
import { allRowsOf, boundary, multipart, rowsOf, startService, type TestService, upload } from './service.ts'

const token = tokenFor(rajesh)
afterAll(() => stopAll())

/** Sends the first `bytes` of an upload of that person, then cuts the connection. */
function cutAfter(url: string, person: string, body: Buffer, bytes: number): Promise<void> {
  return new Promise((resolve) => {
    const { hostname, port } = new URL(url)
    const socket = connect(Number(port), hostname)
    socket.on('error', () => undefined).once('close', () => resolve())
    const head = `POST /api/v1/chat/media HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${tokenFor({ ...rajesh, id: person })}\r\nContent-Type: multipart/form-data; boundary=${boundary}\r\nContent-Length: ${body.length}\r\nExpect: 100-continue\r\n\r\n`
    socket.write(head)
    // Its answer shows that the service has met this upload, and will tell how it ended.
    socket.once('data', () => socket.write(body.subarray(0, bytes), () => socket.destroy()))
  })
}

async function consistent(service: Pick<TestService, 'folder' | 'env' | 'keys' | 'temporary'>): Promise<void> {
  const rows = await allRowsOf(service)
  expect(rows.every((row) => row.state === 'stored')).toBe(true)
  expect(await service.keys()).toEqual(
    rows.flatMap(({ id, type }) => (type === 'image' ? [`${id}/original`, `${id}/thumbnail`] : [`${id}/original`])).sort(),
  )
  expect(await service.temporary()).toEqual([])
}

function cutAndKilled(name: string, env: () => Record<string, string>): void {
  describe(name, () => {
    test('200 uploads cut at random bytes leave nothing', async () => {
      const service = await startService({ ...env(), MEDIA_UPLOADING_MS: '0' })
      const image = await files.jpeg()
      const bodies = [
        multipart([{ name: 'type', content: 'image' }, ...[1, 2, 3].map((n) => ({ name: 'media', filename: `${n}.jpg`, content: image }))]),
        multipart([
          { name: 'media', filename: 'a.mp4', content: files.iso('isom', ['vide'], 300_000) },
          { name: 'type', content: 'video' },
        ]),
      ]
      for (let round = 0; round < 10; round += 1) {
        await Promise.all(
          Array.from({ length: 20 }, (_, at) => {
            const body = bodies[at % 2] as Buffer
            // Some are cut after their last byte, while they are being stored.
            const bytes = at % 5 === 0 ? body.length : Math.floor(Math.random() * body.length)
            return cutAfter(service.url, `farmer-${at}`, body, bytes)
          }),
        )
      }
      // What was whole may have been stored before its client was missed; all else is gone.
      const ended = async () => {
        const text = await (await fetch(`${service.url}/metrics`)).text()
        return [...text.matchAll(/fieldline_media_uploads_total\{[^}]*\} (\d+)/g)].reduce((sum, match) => sum + Number(match[1]), 0)
      }
      await eventually(async () => (await ended()) >= 200, { timeoutMs: 30_000, what: 'the end of 200 uploads' })
      await service.app.sweeper.sweep({ orphans: true })
      await consistent(service)
      await service.close()
    })

    test('the process killed with -9 in the middle of uploads leaves nothing after the next one has swept', async () => {
      const service = await startService(env())
      const { conversation } = service
      await service.app.stop()
      const children = { ...service.env, CONVERSATION_URL: conversation.url, BROKER_URL: 'amqp://127.0.0.1:1', LOG_LEVEL: 'silent' }
      for (let round = 0; round < 2; round += 1) {
        const child = start('services/media/src/main.ts', { env: children })
        const url = await child.url()
        const sent = Array.from({ length: 12 }, (_, at) =>
          upload(url, token, at % 2 ? 'video' : 'audio', [
            at % 2 ? files.iso('isom', ['vide'], 4_000_000) : files.wav(),
            at % 2 ? files.iso('isom', ['vide']) : files.amr(),
          ]).then(
            (answer) => answer.status,
            () => 0,
          ),
        )
        // The moment that matters: rows are there, objects partly.
        await eventually(
          async () => {
            const rows = await allRowsOf(service)
            return rows.some((row) => row.state === 'uploading') || rows.length > 6
          },
          { timeoutMs: 20_000 },
        )
        child.kill('SIGKILL')
        await child.exited
        await Promise.all(sent)
      }
      const after = start('services/media/src/main.ts', {
        env: { ...children, MEDIA_UPLOADING_MS: '0', MEDIA_SWEEP_MS: '100', MEDIA_ORPHANS_EVERY: '1' },
      })
      await after.url()
      await eventually(() => consistent(service).then(() => true), { timeoutMs: 30_000, what: 'objects = rows' })
      await after.stop()
      await consistent(service)
      await service.close()
    })
  })
}

cutAndKilled('embedded', () => ({}))
const s3 = await backing('s3')
if (s3) {
  await describeWith('mongodb', 'with servers', (mongo) => {
    cutAndKilled('MongoDB and S3', () => ({ DATABASE_URL: mongo, OBJECTS_URL: s3.url, NAMESPACE: `mf${randomBytes(5).toString('hex')}` }))
  })
} else await describeWith('s3', 'uploads cut and killed, MongoDB and S3', () => undefined)

/** A MinIO of this test's own, where there is one to start. */
function minioBinary(): string | null {
  const path = process.env.MINIO_BIN ?? 'minio'
  try {
    execFileSync(path, ['--version'], { stdio: 'ignore' })
    return path
  } catch {
    return null
  }
}

const minio = minioBinary()
const withMinio = minio ? describe : describe.skip
withMinio(
  minio
    ? 'an object store killed in the middle of uploads'
    : 'SKIPPED, no minio to start (MINIO_BIN): an object store killed in the middle',
  () => {
    test('no upload is told as stored that is not; when it is back, one sweep makes objects = rows', async () => {
      const data = await mkdtemp(join(tmpdir(), 'fieldline-minio-'))
      const port = await freePort()
      let server: ChildProcess
      const up = async () => {
        const env = { ...process.env, MINIO_ROOT_USER: 'fieldline', MINIO_ROOT_PASSWORD: 'fieldline-secret', MINIO_BROWSER: 'off' }
        server = spawn(minio ?? '', ['server', '--quiet', '--address', `127.0.0.1:${port}`, data], { env, stdio: 'ignore' })
        const probe = await openObjects(`s3://fieldline:fieldline-secret@127.0.0.1:${port}/probe`)
        await eventually(() => probe.ready().then(() => true), { timeoutMs: 20_000, what: 'minio' })
        await probe.close()
      }
      const down = async () => {
        const gone = new Promise((resolve) => server.once('close', resolve))
        server.kill('SIGKILL')
        await gone
      }
      await up()
      const service = await startService({
        OBJECTS_URL: `s3://fieldline:fieldline-secret@127.0.0.1:${port}/media`,
        MEDIA_UPLOADING_MS: '0',
      })
      expect((await upload(service.url, token, 'audio', [files.wav()])).status).toBe(201)
      const content = files.iso('isom', ['vide'], 9_000_000)
      const answers = Array.from({ length: 10 }, () => upload(service.url, token, 'video', [content, files.iso('isom', ['vide'])]))
      await eventually(() => rowsOf(service).length > 1)
      await down()
      const outcomes = await Promise.all(answers)
      for (const { status } of outcomes) expect([201, 503]).toContain(status)
      expect(outcomes.some(({ status }) => status === 503)).toBe(true)
      await up()
      await eventually(async () => (await service.app.sweeper.sweep({ orphans: true })) !== null, { timeoutMs: 10_000 })
      await consistent(service)
      const told = outcomes.flatMap(({ status, body }) => (status === 201 ? body.data.map((one: { _id: string }) => one._id) : []))
      const ids = rowsOf(service).map((row) => row.id)
      for (const id of told) expect(ids).toContain(id)
      expect((await upload(service.url, token, 'audio', [files.wav()])).status).toBe(201)
      await service.close()
      await down()
      await rm(data, { recursive: true })
    })
  },
)
