// Uploads through the real door: what is accepted comes back, what is refused leaves nothing.
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { backing } from '@fieldline/testing/backing'
import { describeWith } from '@fieldline/testing/describe-with'
import { asha, rajesh, tokenFor } from '@fieldline/testing/factories'
import { api } from '@fieldline/testing/http'
import { eventually } from '@fieldline/testing/until'
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import sharp from 'sharp'
import { request } from 'undici'
import * as files from './files.ts'
import { boundary, multipart, rowsOf, startService, type TestService, upload } from './service.ts'

const token = tokenFor(rajesh)

/** The path of a signed link, at the service itself. */
const at = (service: TestService, link: string) => `${service.url}${new URL(link).pathname}`
async function fetched(url: string, headers: Record<string, string> = {}) {
  const answer = await request(url, { headers })
  return { status: answer.statusCode, headers: answer.headers, body: Buffer.from(await answer.body.arrayBuffer()) }
}

function uploads(name: string, env: () => Record<string, string>): void {
  describe(`uploads, ${name}`, () => {
    let service: TestService
    beforeAll(async () => {
      service = await startService(env())
    })
    afterAll(() => service.close())

    test.each([
      ['M4A', () => files.iso('M4A ', ['soun']), 'audio', 'audio/mp4'],
      ['MP3', () => files.mp3(), 'audio', 'audio/mpeg'],
      ['AAC', files.aac, 'audio', 'audio/aac'],
      ['Ogg/Opus', files.oggOpus, 'audio', 'audio/ogg'],
      ['WebM sound', () => files.webm(['audio']), 'audio', 'audio/webm'],
      ['WAV', files.wav, 'audio', 'audio/wav'],
      ['AMR', files.amr, 'audio', 'audio/amr'],
      ['MP4', () => files.iso('isom', ['vide', 'soun'], 10_000_000), 'video', 'video/mp4'],
      ['MOV', () => files.iso('qt  ', ['vide']), 'video', 'video/quicktime'],
      ['3GP', () => files.iso('3gp5', ['vide', 'soun']), 'video', 'video/3gpp'],
      ['WebM', () => files.webm(['video', 'audio']), 'video', 'video/webm'],
    ])('%s goes up and comes down byte for byte', async (_name, make, type, format) => {
      const content = make()
      const answer = await upload(service.url, token, type, [{ filename: 'खेत.bin', content }])
      expect(answer.status).toBe(201)
      expect(answer.body).toEqual({
        message: 'Media uploaded successfully',
        data: [
          {
            _id: expect.stringMatching(/^[0-9a-f]{24}$/),
            name: expect.stringMatching(/^खेत\.bin\.\w+$/),
            type,
            format,
            size: content.length,
            url: expect.any(String),
          },
        ],
      })
      const down = await fetched(at(service, answer.body.data[0].url))
      expect(down.status).toBe(200)
      expect(down.headers['content-type']).toBe(format)
      expect(down.body.equals(content)).toBe(true)
    })

    test.each([
      ['JPEG', files.jpeg, 'image/jpeg', 'jpeg', 'jpg'],
      ['PNG', files.png, 'image/png', 'png', 'png'],
      ['WebP', files.webp, 'image/webp', 'webp', 'webp'],
      ['GIF', files.gif, 'image/gif', 'gif', 'gif'],
      ['AVIF', files.avif, 'image/jpeg', 'jpeg', 'jpg'],
    ])('%s comes down as a picture of the same size, with a thumbnail', async (_name, make, format, kind, ending) => {
      const answer = await upload(service.url, token, 'image', [{ filename: 'crop_disease.jpg', content: await make() }])
      expect(answer.status).toBe(201)
      const [media] = answer.body.data
      expect(media).toMatchObject({ name: `crop_disease.${ending}`, type: 'image', format, width: 60, height: 40 })
      const original = await fetched(at(service, media.url))
      expect(original.body).toHaveLength(media.size)
      expect(await sharp(original.body).metadata()).toMatchObject({ format: kind, width: 60, height: 40 })
      const thumbnail = await fetched(at(service, media.thumbnailUrl))
      expect(thumbnail.headers['content-type']).toBe('image/jpeg')
      expect(await sharp(thumbnail.body).metadata()).toMatchObject({ format: 'jpeg', width: 60, height: 40 })
    })

    test('a photo that tells where the farm is tells it no more', async () => {
      const answer = await upload(service.url, token, 'image', [await files.photo(6)])
      for (const link of [answer.body.data[0].url, answer.body.data[0].thumbnailUrl]) {
        const { body } = await fetched(at(service, link))
        expect((await sharp(body).metadata()).exif).toBeUndefined()
        expect(body.includes('Exif')).toBe(false)
      }
      expect(answer.body.data[0]).toMatchObject({ width: 40, height: 60 })
    })

    test('five files at once keep their order, wherever the type stands', async () => {
      const contents = [files.wav(), files.amr(), files.mp3(), files.aac(), files.oggOpus()]
      const answer = await upload(
        service.url,
        token,
        'audio',
        contents.map((content, at) => ({ filename: `${at}`, content })),
        true,
      )
      expect(answer.status).toBe(201)
      expect(answer.body.data.map((one: { name: string }) => one.name)).toEqual(['0.wav', '1.amr', '2.mp3', '3.aac', '4.ogg'])
    })

    test('exactly 10 MiB is accepted', async () => {
      const content = Buffer.concat([files.wav(), Buffer.alloc(10_485_760)]).subarray(0, 10_485_760)
      expect((await upload(service.url, token, 'audio', [content])).status).toBe(201)
    })

    test('each upload is announced once, without a link', async () => {
      const { _id } = (await upload(service.url, token, 'audio', [files.wav()])).body.data[0]
      await eventually(() => service.announced.find((event) => event.data.media.id === _id), { what: 'media.uploaded' })
      const event = service.announced.find((one) => one.data.media.id === _id)
      expect(event).toMatchObject({
        type: 'media.uploaded',
        data: { ownerId: 'rajesh', media: { type: 'audio', format: 'audio/wav', hasThumbnail: false } },
      })
      expect(JSON.stringify(event)).not.toContain('uploads/chat')
    })
  })
}

uploads('embedded', () => ({}))
const s3 = await backing('s3')
if (s3) {
  await describeWith('mongodb', 'with servers', (mongo) => {
    uploads('MongoDB and S3', () => ({ DATABASE_URL: mongo, OBJECTS_URL: s3.url, NAMESPACE: `mt${randomBytes(5).toString('hex')}` }))
  })
} else await describeWith('s3', 'uploads, MongoDB and S3', () => undefined)

describe('refusals', () => {
  let service: TestService
  beforeAll(async () => {
    service = await startService({ MEDIA_UPLOAD_IDLE_MS: '300' })
  })
  afterEach(async () => {
    expect(await service.keys()).toEqual([])
    expect(rowsOf(service)).toEqual([])
    expect(await service.temporary()).toEqual([])
  })
  afterAll(() => service.close())

  const html = Buffer.from('<!DOCTYPE html><html><script>alert(1)</script></html>')
  test.each([
    ['HTML as an image', 'image', () => html],
    ['SVG as an image', 'image', () => Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')],
    ['a JPEG with a script behind it', 'image', async () => Buffer.concat([await files.jpeg(), Buffer.from('<script>alert(1)</script>')])],
    ['a JPEG with a ZIP behind it', 'image', async () => Buffer.concat([await files.jpeg(), files.zip()])],
    ['a GIF that is a page', 'image', async () => Buffer.concat([await files.gif(), html])],
    ['a video that is a page', 'video', () => Buffer.concat([files.iso('isom', ['vide']), html])],
    ['sound as an image', 'image', files.wav],
    ['an image as sound', 'audio', files.jpeg],
    ['a voice note as a video', 'video', () => files.iso('mp42', ['soun'])],
    ['a film as sound', 'audio', () => files.iso('isom', ['vide', 'soun'])],
    ['an empty file', 'image', () => Buffer.alloc(0)],
    ['a program', 'video', () => Buffer.from('\x7fELF\x02\x01\x01', 'latin1')],
  ])('%s is 415', async (_name, type, make) => {
    const answer = await upload(service.url, token, type, [{ filename: 'photo.jpg', content: await make() }])
    expect([answer.status, answer.body.code]).toEqual([415, 'UNSUPPORTED_MEDIA_TYPE'])
  })

  test('a pixel bomb is 422, and so is a damaged picture', async () => {
    const bomb = await sharp({ create: { width: 9_000, height: 9_000, channels: 3, background: '#000' } })
      .png()
      .toBuffer()
    expect((await upload(service.url, token, 'image', [bomb])).body).toMatchObject({
      code: 'UNPROCESSABLE_MEDIA',
      message: 'The image has more than 65 megapixels',
    })
    const half = (await files.jpeg()).subarray(0, 300)
    expect((await upload(service.url, token, 'image', [half])).status).toBe(422)
  })

  test('a HEIC photo, which can not be decoded here, is 415 and says what to do', async () => {
    const answer = await upload(service.url, token, 'image', [{ filename: 'IMG_0001.HEIC', content: await files.heic() }])
    expect([answer.status, answer.body.message]).toEqual([415, 'HEIC photos can not be read here; send the photo as JPEG'])
  })

  test('one bad file among good ones takes all of them with it', async () => {
    const answer = await upload(service.url, token, 'image', [await files.jpeg(), html, await files.png()])
    expect(answer.status).toBe(415)
    const damaged = await upload(service.url, token, 'image', [await files.jpeg(), (await files.jpeg()).subarray(0, 300)])
    expect(damaged.status).toBe(422)
  })

  test('six files are 400, a file beyond 10 MiB is 413', async () => {
    expect((await upload(service.url, token, 'audio', Array.from({ length: 6 }, files.wav))).status).toBe(400)
    const large = Buffer.concat([files.wav(), Buffer.alloc(10_485_760)]).subarray(0, 10_485_761)
    expect((await upload(service.url, token, 'audio', [large])).body).toMatchObject({ success: false, code: 'PAYLOAD_TOO_LARGE' })
  })

  test.each([
    ['no type', null],
    ['an unknown type', 'document'],
  ])('%s is 400 and names the field', async (_name, type) => {
    const answer = await upload(service.url, token, type, [files.wav()])
    expect([answer.status, answer.body.details[0].field]).toEqual([400, 'type'])
  })

  test('no file, no form, a form without end and one without boundary are 4xx', async () => {
    const send = (raw: Buffer | string, type: string) =>
      api(service.url, token).send('POST', '/api/v1/chat/media', { raw, headers: { 'content-type': type } })
    expect((await upload(service.url, token, 'image', [])).body.details[0].field).toBe('media')
    expect(
      (await send(multipart([{ name: 'type', content: 'image' }]).subarray(0, -20), `multipart/form-data; boundary=${boundary}`)).status,
    ).toBe(400)
    expect((await send('x', 'multipart/form-data')).status).toBe(400)
    expect((await send('{}', 'application/json')).status).toBe(415)
    expect((await send('x', 'text/html')).status).toBe(415)
  })

  test('nobody without a token uploads', async () => {
    expect((await upload(service.url, 'not-a-token', 'image', [await files.jpeg()])).status).toBe(401)
  })

  test('an upload that falls silent is ended', async () => {
    const { hostname, port } = new URL(service.url)
    const socket = connect(Number(port), hostname)
    const head = `POST /api/v1/chat/media HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: multipart/form-data; boundary=${boundary}\r\nContent-Length: 100000\r\n\r\n`
    socket.write(head)
    socket.write(multipart([{ name: 'media', filename: 'a', content: files.wav() }]).subarray(0, 500))
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    socket.resume()
    await closed
  }, 20_000)
})

test('one file is answered as an object for clients that want it so', async () => {
  const service = await startService({ MEDIA_SINGLE_AS_OBJECT: 'true' })
  expect((await upload(service.url, token, 'audio', [files.wav()])).body.data._id).toMatch(/^[0-9a-f]{24}$/)
  expect((await upload(service.url, token, 'audio', [files.wav(), files.amr()])).body.data).toHaveLength(2)
  await service.close()
})

/** An upload that has begun and never goes on. */
function hangingUpload(service: TestService, who: string) {
  const { hostname, port } = new URL(service.url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => undefined)
  socket.write(
    `POST /api/v1/chat/media HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${who}\r\nContent-Type: multipart/form-data; boundary=${boundary}\r\nContent-Length: 99999\r\n\r\n--`,
  )
  return socket
}

test('beyond the most uploads at a time the next is told when to come back, and that only uploads are in trouble', async () => {
  const service = await startService({ MEDIA_UPLOADS_MAX: '1' })
  const socket = hangingUpload(service, token)
  const full = await eventually(async () => {
    const answer = await upload(service.url, tokenFor(asha), 'audio', [files.wav()])
    return answer.status === 503 ? answer : null
  })
  expect(full.headers).toMatchObject({ 'retry-after': '5', 'x-fault-of': 'spool' })
  socket.destroy()
  await eventually(async () => (await upload(service.url, token, 'audio', [files.wav()])).status === 201)
  await service.close()
})

test('nobody holds the places of all others with uploads that never end', async () => {
  const service = await startService({ MEDIA_UPLOADS_PER_PERSON: '2' })
  const sockets = [hangingUpload(service, token), hangingUpload(service, token)]
  const refused = await eventually(async () => {
    const answer = await upload(service.url, token, 'audio', [files.wav()])
    return answer.status === 429 ? answer : null
  })
  expect([refused.body.code, refused.headers['retry-after']]).toEqual(['RATE_LIMITED', '5'])
  expect((await upload(service.url, tokenFor(asha), 'audio', [files.wav()])).status).toBe(201)
  for (const socket of sockets) socket.destroy()
  await eventually(async () => (await upload(service.url, token, 'audio', [files.wav()])).status === 201)
  await service.close()
})

/** A picture that takes a while to decode. */
const large = () =>
  sharp({ create: { width: 1_500, height: 1_500, channels: 3, background: 'black', noise: { type: 'gaussian', mean: 128, sigma: 30 } } })
    .webp({ quality: 30 })
    .toBuffer()

test('a flood of pictures of one person holds up the picture of another by one', async () => {
  const service = await startService({ MEDIA_DECODING: '1' })
  const picture = await large()
  let ended = 0
  const flood = Array.from({ length: 6 }, () => upload(service.url, token, 'image', [picture]).finally(() => (ended += 1)))
  await eventually(() => rowsOf(service).length === 6)
  const before = ended
  expect((await upload(service.url, tokenFor(asha), 'image', [await files.jpeg()])).status).toBe(201)
  // The one that is being decoded, and one that may end meanwhile.
  expect(ended - before).toBeLessThanOrEqual(2)
  for (const { status } of await Promise.all(flood)) expect(status).toBe(201)
  await service.close()
})

test('an upload that waits for its turn says so again and again, and is given up at last: only turns are in trouble', async () => {
  const service = await startService({ MEDIA_DECODING: '1', MEDIA_UPLOAD_IDLE_MS: '100', MEDIA_ANSWER_MS: '400' })
  const picture = await large()
  const body = multipart([
    { name: 'type', content: 'image' },
    ...Array.from({ length: 5 }, () => ({ name: 'media', filename: 'a.webp', content: picture })),
  ])
  const { hostname, port } = new URL(service.url)
  const socket = connect(Number(port), hostname)
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  let heard = ''
  socket.on('data', (chunk: Buffer) => {
    heard += chunk.toString('latin1')
  })
  socket.write(
    `POST /api/v1/chat/media HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${token}\r\nContent-Type: multipart/form-data; boundary=${boundary}\r\nContent-Length: ${body.length}\r\n\r\n`,
  )
  socket.write(body)
  await closed
  expect(heard).toMatch(/^(HTTP\/1\.1 102 Processing\r\n\r\n){2,}HTTP\/1\.1 503 /)
  expect(heard).toMatch(/x-fault-of: turns/i)
  expect([await service.keys(), rowsOf(service), await service.temporary()]).toEqual([[], [], []])
  await service.close()
})

test('a store that can not write answers 503, and readiness says so', async () => {
  const service = await startService()
  const { rm } = await import('node:fs/promises')
  await rm(join(service.folder, 'objects'), { recursive: true })
  await writeFile(join(service.folder, 'objects'), 'no folder any more')
  const answer = await upload(service.url, token, 'audio', [files.wav()])
  expect([answer.status, answer.body.code, answer.headers['retry-after']]).toEqual([503, 'UNAVAILABLE', '5'])
  await eventually(async () => {
    const ready = await api(service.url).get('/health/ready')
    return ready.status === 503 && ready.body.dependencies.objects.status === 'down'
  })
  expect(rowsOf(service).filter((row) => row.state === 'stored')).toEqual([])
  await service.close()
})
