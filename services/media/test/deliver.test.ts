// Delivery: who gets a file, which bytes of it, and under which headers.
import { rm } from 'node:fs/promises'
import { get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { newId } from '@fieldline/service/ids'
import { createLinkSigner } from '@fieldline/service/links'
import { admin, asha, meena, rajesh, sunita, tokenFor } from '@fieldline/testing/factories'
import { eventually } from '@fieldline/testing/until'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { request } from 'undici'
import * as files from './files.ts'
import { startService, type TestService, upload } from './service.ts'

let service: TestService
let content: Buffer
let media: { _id: string; url: string; name: string }
let url: string
const bearer = (who: Parameters<typeof tokenFor>[0]) => ({ authorization: `Bearer ${tokenFor(who)}` })

async function fetched(target: string, headers: Record<string, string> = {}, method: 'GET' | 'HEAD' = 'GET') {
  const answer = await request(target, { headers, method })
  return { status: answer.statusCode, headers: answer.headers, body: Buffer.from(await answer.body.arrayBuffer()) }
}
const at = (link: string) => `${service.url}${new URL(link).pathname}`

beforeAll(async () => {
  service = await startService({ MEDIA_UPLOAD_IDLE_MS: '1000' })
  content = files.iso('isom', ['vide', 'soun'], 10_400_000)
  media = (await upload(service.url, tokenFor(rajesh), 'video', [{ filename: 'खेत का दौरा.mp4', content }])).body.data[0]
  url = at(media.url)
})
afterAll(() => service.close())

describe('headers', () => {
  test('a file says what it is, that nothing in it may run, and that only this reader may keep it', async () => {
    const { status, headers } = await fetched(url)
    expect(status).toBe(200)
    expect(headers).toMatchObject({
      'content-type': 'video/mp4',
      'content-length': String(content.length),
      'accept-ranges': 'bytes',
      'x-content-type-options': 'nosniff',
      'cross-origin-resource-policy': 'cross-origin',
      etag: expect.stringMatching(/^"[\w-]{43}"$/),
    })
    expect(headers['content-security-policy']).toContain("default-src 'none'")
    expect(headers['content-security-policy']).toContain('sandbox')
    expect(headers['cache-control']).toMatch(/^private, max-age=\d+, immutable$/)
    expect(headers['content-disposition']).toMatch(/^inline; filename="[ -~]+\.mp4"; filename\*=UTF-8''/)
    expect(headers['content-disposition']).toContain(encodeURIComponent('खेत का दौरा.mp4'))
  })

  test('HEAD tells the same without a byte', async () => {
    const [whole, head] = [await fetched(url), await fetched(url, {}, 'HEAD')]
    expect(head.status).toBe(200)
    expect(head.body).toHaveLength(0)
    for (const name of ['content-type', 'content-length', 'etag', 'content-disposition'])
      expect(head.headers[name]).toBe(whole.headers[name])
  })

  test('what the reader has already is 304', async () => {
    const { headers } = await fetched(url)
    const again = await fetched(url, { 'if-none-match': String(headers.etag) })
    expect([again.status, again.body.length, again.headers.etag]).toEqual([304, 0, headers.etag])
    expect((await fetched(url, { 'if-none-match': '"other"' })).status).toBe(200)
    expect((await fetched(url, { 'if-modified-since': String(headers['last-modified']) })).status).toBe(304)
  })
})

describe('ranges', () => {
  test.each([
    ['bytes=0-99', 0, 99],
    ['bytes=10000000-', 10_000_000, -1],
    ['bytes=-500', -500, -1],
    ['bytes=10399999-99999999', 10_399_999, -1],
  ])('%s is 206 with exactly those bytes', async (range, start, end) => {
    const answer = await fetched(url, { range })
    const from = start < 0 ? content.length + start : start
    const to = end < 0 ? content.length - 1 : end
    expect([answer.status, answer.headers['content-range']]).toEqual([206, `bytes ${from}-${to}/${content.length}`])
    expect(answer.headers['content-length']).toBe(String(to - from + 1))
    expect(answer.body.equals(content.subarray(from, to + 1))).toBe(true)
  })

  test('a range beyond the end is 416 and tells the size', async () => {
    const answer = await fetched(url, { range: `bytes=${content.length}-` })
    expect([answer.status, answer.headers['content-range']]).toEqual([416, `bytes */${content.length}`])
    expect(JSON.parse(answer.body.toString())).toMatchObject({ success: false, code: 'RANGE_NOT_SATISFIABLE' })
  })

  test.each(['bytes=abc', 'lines=1-2', 'bytes=0-1,5000-5001'])('%s is answered with the whole', async (range) => {
    const answer = await fetched(url, { range })
    expect([answer.status, answer.body.length]).toEqual([200, content.length])
  })

  test('a range of a version that is gone is answered with the whole', async () => {
    const { headers } = await fetched(url)
    expect((await fetched(url, { range: 'bytes=0-9', 'if-range': String(headers.etag) })).status).toBe(206)
    expect((await fetched(url, { range: 'bytes=0-9', 'if-range': '"other"' })).status).toBe(200)
  })
})

describe('who gets it', () => {
  const parts = () => new URL(url).pathname.split('/')
  const withPart = (index: number, value: string) => `${service.url}${parts().with(index, value).join('/')}`

  test('a link that was changed in any part is 403', async () => {
    const signature = parts()[4] ?? ''
    const other = (await upload(service.url, tokenFor(rajesh), 'audio', [files.wav()])).body.data[0]
    const expired = createLinkSigner({
      publicUrl: service.url,
      secrets: ['signing-secret-of-tests'],
      now: () => Date.now() - 3 * 86_400_000,
    })
    const foreign = createLinkSigner({ publicUrl: service.url, secrets: ['another-secret'] })
    const file = { mediaId: media._id, name: media.name, variant: 'original' as const }
    for (const wrong of [
      withPart(3, other._id),
      withPart(4, `${signature.slice(0, -2)}AA`),
      withPart(4, 'x'),
      withPart(4, '..%2f..'),
      withPart(5, 'other.mp4'),
      expired.sign(file),
      foreign.sign(file),
    ]) {
      const answer = await fetched(wrong)
      expect([answer.status, JSON.parse(answer.body.toString()).code]).toEqual([403, 'LINK_INVALID'])
    }
  })

  test.each(['%00', '..%2f..%2fetc%2fpasswd', `${'a'.repeat(300)}`, '%E2%80%AE'])('the name %s in a path is harmless', async (name) => {
    expect((await fetched(withPart(5, name))).status).toBe(403)
  })
  test('a path that is no UTF-8 is 400, and an id that is none 404', async () => {
    expect((await fetched(withPart(5, '%ff'))).status).toBe(400)
    expect((await fetched(withPart(3, 'nothing'))).status).toBe(404)
    expect((await fetched(`${withPart(3, 'nothing')}`, bearer(rajesh))).status).toBe(404)
  })

  test('an expired link works for its uploader, and for whoever may read the conversation it is used in', async () => {
    const stale = withPart(4, 'x')
    expect((await fetched(stale, bearer(rajesh))).status).toBe(200)
    expect((await fetched(stale, bearer(sunita))).status).toBe(403)
    expect((await fetched(stale, bearer(admin))).status).toBe(403)
    expect((await fetched(stale, { authorization: 'Bearer nonsense' })).status).toBe(401)

    const conversationId = newId()
    const reserved = await service.internal.post(`/internal/media/${media._id}/reserve`, {
      ownerId: 'rajesh',
      type: 'video',
      conversationId,
      messageId: newId(),
    })
    expect(reserved.status).toBe(200)
    service.conversation.readers.add(`${conversationId} meena`)
    const seen = await fetched(stale, bearer(meena))
    expect([seen.status, seen.headers['cache-control'], seen.headers.vary]).toEqual([200, 'private, no-cache', 'Authorization'])
    expect(seen.body.equals(content)).toBe(true)
    expect((await fetched(stale, bearer(asha))).status).toBe(403)

    const next = newId()
    const again = { ownerId: 'rajesh', farmerId: 'rajesh', type: 'video', conversationId: next, messageId: newId() }
    expect((await service.internal.post(`/internal/media/${media._id}/reserve`, again)).status).toBe(200)
    service.conversation.readers.add(`${next} asha`)
    expect((await fetched(stale, bearer(asha))).status).toBe(200)
    expect((await fetched(stale, bearer(meena))).status).toBe(200)
    expect((await fetched(stale, bearer(sunita))).status).toBe(403)
    service.conversation.down = true
    expect((await fetched(stale, bearer(meena))).status).toBe(503)
    expect((await fetched(url)).status).toBe(200)
    service.conversation.down = false
  })

  test('a file that is gone is 404, also by a good link', async () => {
    const gone = createLinkSigner({ publicUrl: service.url, secrets: ['signing-secret-of-tests'] }).sign({
      mediaId: newId(),
      name: 'a.jpg',
      variant: 'original',
    })
    expect((await fetched(gone)).status).toBe(404)
    const sound = (await upload(service.url, tokenFor(rajesh), 'audio', [files.wav()])).body.data[0]
    await rm(join(service.folder, 'objects', 'objects'), { recursive: true })
    const answer = await fetched(at(sound.url))
    expect([answer.status, answer.headers.etag, answer.headers['cache-control']]).toEqual([404, undefined, 'no-store'])
    media = (await upload(service.url, tokenFor(rajesh), 'video', [{ filename: 'again.mp4', content }])).body.data[0]
    url = at(media.url)
  })
})

describe('readers that leave', () => {
  const deliveries = async (outcome: string) => {
    const text = (await request(`${service.url}/metrics`)).body.text()
    return Number(new RegExp(`fieldline_media_deliveries_total\\{[^}]*outcome="${outcome}"[^}]*\\} (\\d+)`).exec(await text)?.[1] ?? 0)
  }
  const begun = () => new Promise<IncomingMessage>((resolve, reject) => get(url, resolve).on('error', reject))

  test('a reader that goes in the middle frees its stream at once', async () => {
    const before = await deliveries('left')
    const readers = await Promise.all(Array.from({ length: 20 }, begun))
    for (const reader of readers) reader.on('error', () => undefined).destroy()
    await eventually(async () => (await deliveries('left')) >= before + 20)
  })

  test('a reader that takes nothing is ended after the idle time', async () => {
    const before = await deliveries('left')
    const reader = await begun()
    reader.on('error', () => undefined)
    await eventually(async () => (await deliveries('left')) > before, { timeoutMs: 10_000 })
    reader.destroy()
  })
})

test('names of every kind come back readable', async () => {
  for (const [given, shown] of [
    ['../../etc/passwd.wav', 'passwd.wav'],
    ['صوت المزرعة.wav', 'صوت المزرعة.wav'],
    [`${'ब'.repeat(300)}.wav`, `${'ब'.repeat(116)}.wav`],
    ['voice\u202efdp.wav', 'voicefdp.wav'],
  ] as const) {
    const made = (await upload(service.url, tokenFor(rajesh), 'audio', [{ filename: given, content: files.wav() }])).body.data[0]
    expect(made.name).toBe(shown)
    expect(decodeURIComponent(new URL(made.url).pathname.split('/').at(-1) ?? '')).toBe(shown)
    const answer = await fetched(at(made.url))
    expect(answer.status).toBe(200)
    expect(decodeURIComponent(/filename\*=UTF-8''([^;]+)/.exec(String(answer.headers['content-disposition']))?.[1] ?? shown)).toBe(shown)
  }
})
