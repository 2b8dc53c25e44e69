// Closed: files that are not what they say, links that were not given, and what uploads could leave behind (OWASP File Upload; spec 6).
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { createLinkSigner } from '@fieldline/service/links'
import { describe, expect, test } from '@jest/globals'
import { FormData, fetch, request } from 'undici'
import { eventually, rest } from '../support/client.ts'
import { jpegWithComment, photoWithPosition, plainPicture, pngOf, tracesOf, zip } from './pictures.ts'
import { type Door, type Name, onTheWhole, type Stage, tokenOf } from './stage.ts'

type MediaDoor = 'gateway' | 'media'
interface Upload {
  status: number
  // biome-ignore lint/suspicious/noExplicitAny: asserted, not typed, from outside
  body: any
}
async function upload(
  stage: Stage,
  door: Door,
  who: Name,
  type: string | undefined,
  files: readonly (readonly [name: string, bytes: Buffer, declared?: string])[],
  field = 'media',
): Promise<Upload> {
  const form = new FormData()
  if (type !== undefined) form.append('type', type)
  for (const [name, bytes, declared] of files)
    form.append(field, new File([new Uint8Array(bytes)], name, { type: declared ?? 'application/octet-stream' }))
  const answer = await fetch(`${stage.url(door)}/api/v1/chat/media`, {
    method: 'POST',
    headers: { authorization: `Bearer ${tokenOf(who)}` },
    body: form,
  })
  return { status: answer.status, body: await answer.json() }
}

const html = Buffer.from('<!DOCTYPE html><html><body><script>fetch("/steal")</script></body></html>')
const svg = Buffer.from('<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script></svg>')
/** A WAV of silence. */
const wav = Buffer.concat([
  Buffer.from('RIFF\x2c\x08\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\x00\x08\0\0', 'latin1'),
  Buffer.alloc(2_048, 128),
])

type Fake = readonly [
  what: string,
  name: string,
  type: 'image' | 'audio' | 'video',
  bytes: () => Promise<Buffer> | Buffer,
  declared?: string,
]
const fakes: readonly Fake[] = [
  ['HTML as .jpg', 'crop.jpg', 'image', () => html, 'image/jpeg'],
  ['HTML as .html', 'crop.html', 'image', () => html, 'text/html'],
  ['SVG', 'crop.svg', 'image', () => svg, 'image/svg+xml'],
  ['SVG as .png', 'crop.png', 'image', () => svg, 'image/png'],
  ['SVG behind a blank and a BOM', 'crop.jpg', 'image', () => Buffer.concat([Buffer.from('\ufeff  \n'), svg])],
  ['a picture with a page behind it', 'crop.jpg', 'image', async () => Buffer.concat([await plainPicture(), html])],
  [
    'a picture with a script in its comment',
    'crop.jpg',
    'image',
    async () => jpegWithComment(await plainPicture(), '*/=1;alert(1)/*<script>alert(1)</script>'),
  ],
  [
    'a picture with PHP in its comment',
    'crop.php.jpg',
    'image',
    async () => jpegWithComment(await plainPicture(), '<?php system($_GET[0]); ?>'),
  ],
  ['a picture that is an archive too (GIFAR)', 'crop.jpg', 'image', async () => Buffer.concat([await plainPicture(), zip()])],
  [
    'a picture with a PDF at its beginning',
    'crop.jpg',
    'image',
    async () => jpegWithComment(await plainPicture(), '%PDF-1.7\n1 0 obj<</OpenAction 2 0 R>>'),
  ],
  ['sound with a page behind it', 'note.wav', 'audio', () => Buffer.concat([wav, html])],
  ['sound that is an archive too', 'note.wav', 'audio', () => Buffer.concat([wav, zip('classes.dex')])],
  ['PDF', 'crop.jpg', 'image', () => Buffer.from('%PDF-1.7\n%âãÏÓ\n')],
  ['ZIP', 'crop.jpg', 'image', () => zip()],
  ['an ELF program', 'crop.jpg', 'image', () => Buffer.concat([Buffer.from('\x7fELF\x02\x01\x01', 'latin1'), Buffer.alloc(64)])],
  ['a Windows program', 'crop.jpg', 'image', () => Buffer.concat([Buffer.from('MZ\x90\0', 'latin1'), Buffer.alloc(128)])],
  ['plain text', 'crop.jpg', 'image', () => Buffer.from('hello')],
  ['a TIFF', 'crop.jpg', 'image', () => Buffer.concat([Buffer.from('II*\0\x08\0\0\0', 'latin1'), Buffer.alloc(64)])],
  ['a PostScript picture', 'crop.jpg', 'image', () => Buffer.from('%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) run\n')],
  [
    'an MVG for ImageMagick',
    'crop.jpg',
    'image',
    () => Buffer.from('push graphic-context\nfill \'url(https://evil.example/x.jpg"|id")\'\npop graphic-context'),
  ],
  ['a playlist that fetches', 'clip.mp4', 'video', () => Buffer.from('#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n')],
  [
    'a program behind the first box of a film',
    'clip.mp4',
    'video',
    () => Buffer.concat([Buffer.from('\0\0\0\x14ftypisom\0\0\0\0isom\x7fELF\x02\x01\x01', 'latin1'), Buffer.alloc(5_000)]),
  ],
  ['a script behind the first line of an AMR', 'note.amr', 'audio', () => Buffer.from('#!AMR\n#!/bin/sh\nrm -rf /\n')],
  ['text behind the head of an MP3', 'note.mp3', 'audio', () => Buffer.concat([Buffer.from('fffb9064', 'hex'), Buffer.alloc(3_000, 'A')])],
  ['a picture said to be sound', 'crop.jpg', 'audio', () => plainPicture()],
  ['sound said to be a picture', 'note.wav', 'image', () => wav, 'image/jpeg'],
  ['a picture said to be a video', 'clip.mp4', 'video', () => plainPicture(), 'video/mp4'],
]

onTheWhole(
  // Files on a disk that the test can look at; the bucket's own lock has a test below.
  { S3_URL: '', MEDIA_UPLOAD_IDLE_MS: '2000', IDLE_TIMEOUT_MS: '2000' },
  (stage) => {
    /** Everything stored or on its way, on this run's disk. */
    const kept = (): string[] => {
      const folder = join(stage.whole.dataDir, 'media')
      return existsSync(folder)
        ? readdirSync(folder, { recursive: true, withFileTypes: true })
            .filter((each) => each.isFile())
            .map(({ name, parentPath }) => join(parentPath, name))
        : []
    }
    const links = () => {
      const { MEDIA_SIGNING_SECRET } = JSON.parse(readFileSync(join(stage.whole.dataDir, 'secrets.json'), 'utf8')) as Record<string, string>
      return (now: number) => createLinkSigner({ publicUrl: stage.url(), secrets: [String(MEDIA_SIGNING_SECRET)], now: () => now })
    }
    const at = (door: MediaDoor, link: string) => `${stage.url(door)}${new URL(link).pathname}`
    const get = async (url: string, headers: Record<string, string> = {}) => {
      const { statusCode, headers: answered, body } = await request(url, { headers })
      return { status: statusCode, headers: answered, bytes: Buffer.from(await body.arrayBuffer()) }
    }

    for (const door of stage.doors.filter((each): each is MediaDoor => each === 'gateway' || each === 'media')) {
      describe(`${door}: uploads`, () => {
        test('a picture and a sound pass, whatever type is declared', async () => {
          expect(await upload(stage, door, 'rajesh', 'image', [['crop.jpg', await plainPicture(), 'text/html']])).toMatchObject({
            status: 201,
            body: { data: [{ type: 'image', format: 'image/jpeg' }] },
          })
          expect(await upload(stage, door, 'rajesh', 'audio', [['note.wav', wav]])).toMatchObject({
            status: 201,
            body: { data: [{ type: 'audio' }] },
          })
        })
        test.each(fakes)('%s is refused, and leaves nothing', async (_what, name, type, bytes, declared = 'application/octet-stream') => {
          const before = kept()
          const answer = await upload(stage, door, 'rajesh', type, [[name, await bytes(), declared]])
          expect(answer).toMatchObject({ status: 415, body: { success: false, code: 'UNSUPPORTED_MEDIA_TYPE' } })
          expect(kept()).toEqual(before)
        })
        test('one bad file among good ones: none is kept', async () => {
          const before = kept()
          const good = await plainPicture()
          expect(
            (
              await upload(stage, door, 'rajesh', 'image', [
                ['a.jpg', good],
                ['b.jpg', good],
                ['c.jpg', html],
              ])
            ).status,
          ).toBe(415)
          await eventually(() => JSON.stringify(kept()) === JSON.stringify(before))
        })

        const sizes: readonly (readonly [string, () => Promise<Upload>, readonly number[]])[] = [
          [
            'six files',
            async () => {
              const one = await plainPicture()
              return upload(
                stage,
                door,
                'rajesh',
                'image',
                Array.from({ length: 6 }, (_, index) => [`${index}.jpg`, one] as const),
              )
            },
            [400, 413],
          ],
          [
            '10 MB and a byte',
            () => upload(stage, door, 'rajesh', 'audio', [['long.wav', Buffer.concat([wav, Buffer.alloc(10_485_761 - wav.length)])]]),
            [413],
          ],
          ['no file', () => upload(stage, door, 'rajesh', 'image', []), [400]],
          ['a name with a NUL', async () => upload(stage, door, 'rajesh', 'image', [['nul\0byte.jpg', await plainPicture()]]), [400]],
          ['an empty file', () => upload(stage, door, 'rajesh', 'image', [['a.jpg', Buffer.alloc(0)]]), [400, 415]],
          ['no type', async () => upload(stage, door, 'rajesh', undefined, [['a.jpg', await plainPicture()]]), [400]],
          ['a type nobody knows', async () => upload(stage, door, 'rajesh', 'application', [['a.jpg', await plainPicture()]]), [400]],
          ['a type from a prototype', async () => upload(stage, door, 'rajesh', '__proto__', [['a.jpg', await plainPicture()]]), [400]],
          ['another field', async () => upload(stage, door, 'rajesh', 'image', [['a.jpg', await plainPicture()]], 'file'), [400]],
          ['an image of 2.5 billion pixels', () => upload(stage, door, 'rajesh', 'image', [['a.png', pngOf(50_000, 50_000)]]), [422]],
          [
            'an image cut off',
            async () => upload(stage, door, 'rajesh', 'image', [['a.jpg', (await photoWithPosition()).subarray(0, 900)]]),
            [415, 422],
          ],
        ]
        test.each(sizes)('%s is refused, and leaves nothing', async (_what, send, statuses) => {
          const before = kept()
          const answer = await send()
          expect(statuses).toContain(answer.status)
          expect(answer.body).toMatchObject({ success: false, code: expect.any(String) })
          await eventually(() => JSON.stringify(kept()) === JSON.stringify(before))
        })
        test('exactly 10 MB pass', async () => {
          expect(
            (await upload(stage, door, 'rajesh', 'audio', [['full.wav', Buffer.concat([wav, Buffer.alloc(10_485_760 - wav.length)])]]))
              .status,
          ).toBe(201)
        })

        test.each([
          [
            'breaks off in the middle of a file',
            '--x\r\nContent-Disposition: form-data; name="type"\r\n\r\nimage\r\n--x\r\nContent-Disposition: form-data; name="media"; filename="a.jpg"\r\n\r\n',
            true,
          ],
          ['stops sending and stays', '--x\r\nContent-Disposition: form-data; name="media"; filename="a.jpg"\r\n\r\nabc', false],
          ['has no end', '--x\r\nContent-Disposition: form-data; name="type"\r\n', true],
        ])('an upload that %s leaves nothing', async (_what, form, leaves) => {
          const before = kept()
          const { hostname, port } = new URL(stage.url(door))
          const socket = connect(Number(port), hostname)
          const closed = new Promise((resolve) => socket.on('close', resolve))
          socket.on('error', () => undefined)
          socket.write(
            `POST /api/v1/chat/media HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${tokenOf('rajesh')}\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 5000000\r\n\r\n${form}`,
          )
          await new Promise<void>((resolve) => socket.write(Buffer.alloc(200_000, 7), () => resolve()))
          if (leaves) socket.destroy()
          socket.resume()
          await closed
          await eventually(() => JSON.stringify(kept()) === JSON.stringify(before))
          expect((await upload(stage, door, 'rajesh', 'audio', [['note.wav', wav]])).status).toBe(201)
        })

        test.each([
          ['../../../../etc/cron.d/x.jpg'],
          ['..\\..\\windows\\x.jpg'],
          ['/etc/passwd.jpg'],
          ['a\r\nSet-Cookie: x=1\r\n.jpg'],
          ['a"; filename="b.html'],
          ['<script>alert(1)</script>.jpg'],
          ['crop\u202egpj.exe'],
          ['.htaccess'],
          [`${'x'.repeat(2_000)}.jpg`],
          ['CON.jpg'],
          ['crop.jpg.html'],
        ])('a file named %j is stored under an id of ours, and handed out safely', async (name) => {
          const { status, body } = await upload(stage, door, 'rajesh', 'image', [[name, await plainPicture()]])
          expect(status).toBe(201)
          const [file] = body.data
          expect(file.name).not.toMatch(/[\\/\r\n\0\u202e]/)
          expect(file.name).toMatch(/\.jpe?g$/)
          for (const path of kept()) expect(path.startsWith(join(stage.whole.dataDir, 'media'))).toBe(true)
          expect(kept().some((path) => path.includes('passwd') || path.includes('htaccess') || path.includes('cron'))).toBe(false)
          const delivered = await get(at(door, file.url))
          expect(delivered.status).toBe(200)
          expect(delivered.headers).toMatchObject({
            'content-type': 'image/jpeg',
            'x-content-type-options': 'nosniff',
            'content-security-policy': expect.stringContaining('sandbox'),
          })
          expect(delivered.headers['set-cookie']).toBeUndefined()
        })

        test.each(['jpeg', 'png', 'webp'] as const)('the farm’s position is gone from a %s and from its thumbnail', async (format) => {
          const photo = await photoWithPosition(format)
          expect(await tracesOf(photo)).toEqual(expect.arrayContaining(['exif']))
          const { body } = await upload(stage, door, 'rajesh', 'image', [[`farm.${format}`, photo]])
          const [file] = body.data
          for (const link of [file.url, file.thumbnailUrl]) {
            const { status, bytes } = await get(at(door, link))
            expect(status).toBe(200)
            expect(await tracesOf(bytes)).toEqual([])
          }
        })
      })

      describe(`${door}: links`, () => {
        const uploaded = async (): Promise<{ _id: string; url: string; thumbnailUrl: string; name: string }> =>
          (await upload(stage, door, 'rajesh', 'image', [['crop.jpg', await plainPicture()]])).body.data[0]
        test('a link that was altered, has expired, or was swapped opens nothing', async () => {
          const [one, other] = [await uploaded(), await uploaded()]
          const [, , , id, signature = '', name] = new URL(one.url).pathname.split('/')
          const [, , , otherId, otherSignature] = new URL(other.url).pathname.split('/')
          const flip = (text: string, index: number) => `${text.slice(0, index)}${text[index] === 'A' ? 'B' : 'A'}${text.slice(index + 1)}`
          const [expiry = '', mac = ''] = [signature.slice(0, signature.indexOf('-')), signature.slice(signature.indexOf('-') + 1)]
          const later = (Number.parseInt(expiry, 36) + 86_400).toString(36)
          const paths = {
            'another signature': `${id}/${flip(signature, signature.length - 10)}/${name}`,
            'a signature cut short': `${id}/${signature.slice(0, -5)}/${name}`,
            'no signature': `${id}/${expiry}-/${name}`,
            'the signature alone': `${id}/${mac}/${name}`,
            'a later end': `${id}/${later}-${mac}/${name}`,
            'an end that never comes': `${id}/zzzzzzzzz-${mac}/${name}`,
            'the thumbnail’s place with the original’s signature': `${id}/${expiry}t-${mac}/${name}`,
            'another file’s id': `${otherId}/${signature}/${name}`,
            'another file’s signature': `${id}/${otherSignature}/${name}`,
            'another name': `${id}/${signature}/crop.html`,
            'another spelling of the signature': `${id}/${signature.replaceAll('-', '%2D')}=/${name}`,
            expired: new URL(links()(Date.now() - 3 * 86_400_000).sign({ mediaId: one._id, name: one.name, variant: 'original' })).pathname
              .split('/')
              .slice(3)
              .join('/'),
          }
          for (const [what, path] of Object.entries(paths)) {
            const { status, bytes } = await get(`${stage.url(door)}/uploads/chat/${path}`)
            expect({ what, status }).toEqual({ what, status: 403 })
            expect(JSON.parse(bytes.toString())).toMatchObject({ success: false, code: 'LINK_INVALID' })
          }
          expect((await get(at(door, one.url))).status).toBe(200)
          expect((await get(at(door, links()(Date.now()).sign({ mediaId: one._id, name: one.name, variant: 'original' })))).status).toBe(
            200,
          )
        })

        test('without a good link only who may read the conversation gets the file', async () => {
          const file = await uploaded()
          const bare = `${stage.url(door)}/uploads/chat/${file._id}/expired/${file.name}`
          const as = (who: Name) => get(bare, { authorization: `Bearer ${tokenOf(who)}` }).then(({ status }) => status)
          expect({ rajesh: await as('rajesh'), sunita: await as('sunita'), asha: await as('asha') }).toEqual({
            rajesh: 200,
            sunita: 403,
            asha: 403,
          })
          const { rajeshs: conversationId } = stage.scene
          expect((await stage.as('rajesh')('POST', '/messages', { conversationId, messageType: 'image', mediaId: file._id })).status).toBe(
            201,
          )
          expect({
            rajesh: await as('rajesh'),
            asha: await as('asha'),
            meena: await as('meena'),
            sunita: await as('sunita'),
            vikram: await as('vikram'),
          }).toEqual({ rajesh: 200, asha: 200, meena: 200, sunita: 403, vikram: 403 })
          expect((await get(bare, { authorization: 'Bearer x.y.z' })).status).toBe(401)
          expect(
            (await get(`${stage.url(door)}/uploads/chat/${'f'.repeat(24)}/expired/x.jpg`, { authorization: `Bearer ${tokenOf('meena')}` }))
              .status,
          ).toBe(404)
        })

        test.each([
          ['/uploads/chat/../../../../etc/passwd'],
          ['/uploads/chat/..%2f..%2f..%2fetc%2fpasswd'],
          ['/uploads/chat/%2e%2e/%2e%2e/secrets.json'],
          ['/uploads/chat/..%5c..%5csecrets.json/x/y'],
          ['/uploads/chat/__proto__/constructor/x'],
          ['/uploads/chat//etc/passwd'],
          [`/uploads/chat/${'f'.repeat(24)}/%00/x.jpg`],
          ['/uploads/chat/'],
          ['/uploads/secrets.json'],
        ])('%s is no file', async (path) => {
          const { hostname, port } = new URL(stage.url(door))
          const text = await new Promise<string>((resolve) => {
            const socket = connect(Number(port), hostname, () =>
              socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`),
            )
            let heard = ''
            socket.on('data', (chunk: Buffer) => {
              heard += chunk.toString()
            })
            socket.on('close', () => resolve(heard))
          })
          expect(text).toMatch(/^HTTP\/1\.1 (400|403|404)/)
          expect(text).not.toMatch(/root:|SECRET/)
        })

        test('ranges made to exhaust are no more than one answer', async () => {
          const file = await uploaded()
          const many = `bytes=${Array.from({ length: 1_000 }, (_, index) => `${index}-${index}`).join(',')}`
          const answer = await get(at(door, file.url), { range: many })
          expect([200, 206, 416]).toContain(answer.status)
          expect(answer.bytes.length).toBeLessThan(20_000)
          expect((await get(at(door, file.url), { range: 'bytes=99999999-' })).status).toBe(416)
          expect((await get(at(door, file.url), { range: 'bytes=0-9' })).bytes.length).toBe(10)
        })
      })
    }

    for (const door of stage.doors.filter((each) => each === 'gateway' || each === 'conversation')) {
      test(`${door}: another’s file can not be sent, nor one’s own of another type or in another conversation`, async () => {
        const { rajeshs, sunitas } = stage.scene
        const [file] = (await upload(stage, 'gateway', 'rajesh', 'image', [['crop.jpg', await plainPicture()]])).body.data
        const send = (who: Name, conversationId: string, messageType = 'image') =>
          stage.as(who, door)('POST', '/messages', { conversationId, messageType, mediaId: file._id })
        expect(await send('sunita', sunitas)).toMatchObject({ status: 404, body: { code: 'MEDIA_NOT_FOUND' } })
        expect(await send('asha', rajeshs)).toMatchObject({ status: 404, body: { code: 'MEDIA_NOT_FOUND' } })
        expect(await send('rajesh', rajeshs, 'audio')).toMatchObject({ status: 400 })
        expect(await send('rajesh', sunitas)).toMatchObject({ status: 403 })
        expect((await send('rajesh', rajeshs)).status).toBe(201)
        expect((await send('rajesh', rajeshs)).status).toBe(201)
        const socket = stage.connect(tokenOf('sunita'))
        expect(await socket.ask('message:send', { conversationId: sunitas, messageType: 'image', mediaId: file._id })).toMatchObject({
          ok: false,
          error: { code: 'MEDIA_NOT_FOUND' },
        })
        const hers = await rest(stage.url(), tokenOf('sunita'))('GET', `/messages/${sunitas}`)
        expect(JSON.stringify(hers.body)).not.toContain(file._id)
      })
    }
  },
  true,
)
