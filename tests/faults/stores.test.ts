// Databases, media and objects that fail (quality "Lossless" 14, 15, 17): text goes on, answers stay honest, nothing dangles.

import { request as httpRequest } from 'node:http'
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import sharp from 'sharp'
import { FormData, request } from 'undici'
import { eventually, rest } from '../support/client.ts'
import { objectNames } from '../support/erase.ts'
import { type Link, link } from '../support/link.ts'
import { type Farmer, type Scene, say, scene } from '../support/scene.ts'
import { needAll } from '../support/servers.ts'
import { kill, startServices, type Whole } from '../support/whole.ts'

const suite = needAll('stores that fail', 'AMQP_URL', 'MONGODB_URL', 'S3_URL')
describe.each(suite ? [suite] : [])('%s', () => {
  let toDatabase: Link
  let toObjects: Link
  let whole: Whole
  let people: Scene

  beforeAll(async () => {
    const database = new URL(process.env.MONGODB_URL ?? '')
    toDatabase = await link(Number(database.port || 27017), database.hostname)
    database.host = `127.0.0.1:${toDatabase.port}`
    // Else the driver would go to the address the server knows itself by, past the link.
    database.searchParams.set('directConnection', 'true')
    const objects = new URL(process.env.S3_URL ?? '')
    toObjects = await link(Number(objects.port || 9000), objects.hostname)
    objects.host = `127.0.0.1:${toObjects.port}`
    whole = await startServices({
      env: {
        MONGODB_URL: database.href,
        S3_URL: objects.href,
        AGENT_CAPACITY: '100',
        WRITE_TIMEOUT_MS: '8000',
        MEDIA_SWEEP_MS: '300',
        MEDIA_UPLOADING_MS: '500',
        MEDIA_ORPHANS_EVERY: '1',
      },
    })
    people = scene(whole)
  }, 90_000)
  // A case that failed leaves its fault to nobody.
  afterEach(() => {
    toDatabase?.restore()
    toObjects?.restore()
  })
  afterAll(async () => {
    people?.close()
    await whole?.stop()
    await toDatabase?.close()
    await toObjects?.close()
  }, 40_000)

  test('14: the database down: 503 with Retry-After, live still 200, ready 503, the breaker opens and closes again, no message is lost or doubled', async () => {
    const farmer = await people.farmer()
    const { conversationId } = farmer
    await say(farmer, conversationId, 'before')
    const { url } = whole.processOf('conversation')
    const attempt = () => farmer.api('POST', '/messages', { conversationId, content: 'during', clientMessageId: 'during' })
    toDatabase.cut()
    const refused = await eventually(async () => {
      const answer = await attempt()
      return answer.status !== 201 && answer
    })
    expect(refused).toMatchObject({
      status: 503,
      body: { success: false, code: 'UNAVAILABLE' },
      headers: { 'retry-after': expect.any(String) },
    })
    await eventually(async () => {
      const { status, down } = await people.ready(url)
      return status === 503 && down.includes('mongodb')
    })
    expect((await rest(url)('GET', '/health/live')).status).toBe(200)
    // Enough calls at once to be judged by; then answers come from the breaker, without asking conversation.
    await eventually(async () => {
      await Promise.all(Array.from({ length: 20 }, attempt))
      return (await breaker()) === 'open'
    }, 20_000)
    const quick = performance.now()
    expect((await attempt()).status).toBe(503)
    expect(performance.now() - quick).toBeLessThan(1_000)

    toDatabase.restore()
    await say(farmer, conversationId, 'during', 30_000)
    await say(farmer, conversationId, 'after', 30_000)
    expect((await people.history(conversationId)).map(({ content }) => content)).toEqual(['before', 'during', 'after'])
    await eventually(async () => (await people.ready(url)).status === 200)
    await eventually(async () => (await breaker()) === 'closed')
  }, 120_000)

  /** Of the gateway to conversation, by its metrics. */
  async function breaker(): Promise<string | undefined> {
    const metrics = String((await rest(whole.url)('GET', '/metrics')).body)
    const [, state] = /^fieldline_gateway_breaker_state\{[^}]*upstream="conversation"[^}]*\} (\d)$/m.exec(metrics) ?? []
    return ['closed', 'half open', 'open'][Number(state)]
  }

  async function upload(farmer: Farmer, file: Buffer) {
    const form = new FormData()
    form.append('type', 'image')
    form.append('media', new Blob([new Uint8Array(file)], { type: 'application/octet-stream' }), 'field.jpg')
    const { statusCode, body } = await request(`${whole.url}/api/v1/chat/media`, {
      method: 'POST',
      headers: { authorization: `Bearer ${farmer.token}` },
      body: form,
    })
    // biome-ignore lint/suspicious/noExplicitAny: asserted, not typed, from outside
    return { status: statusCode, body: (await body.json()) as any }
  }

  test('15: media hangs: text is unaffected, a media message gets 503, both go on afterwards', async () => {
    const farmer = await people.farmer()
    const { conversationId } = farmer
    const small = await sharp({ create: { width: 64, height: 64, channels: 3, background: 'green' } })
      .jpeg()
      .toBuffer()
    const { status, body } = await upload(farmer, small)
    expect([status, body.data?.length]).toEqual([201, 1])
    const media = { conversationId, messageType: 'image', mediaId: body.data[0]._id, clientMessageId: 'the-picture' }
    const { pid } = whole.processOf('media')
    kill(pid, 'SIGSTOP')
    try {
      const pictures = Promise.all(Array.from({ length: 5 }, () => farmer.api('POST', '/messages', media)))
      const took: number[] = []
      for (let index = 0; index < 30; index += 1) {
        const began = performance.now()
        await say(farmer, conversationId, `text ${index}`, 5_000)
        took.push(performance.now() - began)
      }
      expect(took.sort((a, b) => a - b)[15]).toBeLessThan(250)
      expect(took.at(-1)).toBeLessThan(2_000)
      for (const answer of await pictures) expect(answer).toMatchObject({ status: 503, body: { success: false } })
    } finally {
      kill(pid, 'SIGCONT')
    }
    await eventually(async () => (await farmer.api('POST', '/messages', media)).status < 300, 30_000)
    const history = await people.history(conversationId)
    expect(history).toHaveLength(31)
    expect(new Set(history.map(({ _id }) => _id)).size).toBe(31)
  }, 90_000)

  test('17: the object store dies in the middle of an upload: no id is answered, no object stays, and uploads work again after', async () => {
    const farmer = await people.farmer()
    const before = (await objectNames(process.env.S3_URL ?? '', whole.namespace)).length
    // Two noisy pictures of several MB each: the second is on its way when the store goes.
    const noisy = (seed: number) =>
      sharp({
        create: { width: 1_500, height: 1_500, channels: 3, background: 'black', noise: { type: 'gaussian', mean: 128, sigma: 30 + seed } },
      })
        .jpeg({ quality: 100 })
        .toBuffer()
    const files = [await noisy(1), await noisy(2)]
    const boundary = 'fieldline-faults'
    const head = (name: string) =>
      `--${boundary}\r\nContent-Disposition: form-data; name="media"; filename="${name}"\r\nContent-Type: application/octet-stream\r\n\r\n`
    const type = `--${boundary}\r\nContent-Disposition: form-data; name="type"\r\n\r\nimage\r\n`
    const answer = new Promise<{ status: number; text: string }>((resolve, reject) => {
      const call = httpRequest(
        `${whole.url}/api/v1/chat/media`,
        {
          method: 'POST',
          headers: { authorization: `Bearer ${farmer.token}`, 'content-type': `multipart/form-data; boundary=${boundary}` },
        },
        (res) => {
          let text = ''
          res.setEncoding('utf8').on('data', (chunk: string) => {
            text += chunk
          })
          res.on('end', () => resolve({ status: res.statusCode ?? 0, text }))
        },
      )
      call.on('error', reject)
      call.write(`${type}${head('one.jpg')}`)
      call.write(files[0])
      call.write(`\r\n${head('two.jpg')}`)
      // The store goes while half of the second file is still to come.
      call.write(files[1]?.subarray(0, 100_000), () => {
        toObjects.cut()
        call.write(files[1]?.subarray(100_000))
        call.end(`\r\n--${boundary}--\r\n`)
      })
    })
    const { status, text } = await answer
    expect(status).toBeGreaterThanOrEqual(500)
    expect(JSON.parse(text)).toMatchObject({ success: false })
    expect(text).not.toContain('_id')
    const readiness = await eventually(async () => {
      const now = await people.ready(whole.processOf('media').url)
      return now.down.length > 0 && now
    }, 30_000)
    expect(readiness.status).toBe(503)

    toObjects.restore()
    await eventually(async () => (await objectNames(process.env.S3_URL ?? '', whole.namespace)).length === before, 40_000)
    const small = await sharp({ create: { width: 64, height: 64, channels: 3, background: 'red' } })
      .jpeg()
      .toBuffer()
    await eventually(async () => (await upload(farmer, small)).status === 201, 30_000)
  }, 120_000)
})
