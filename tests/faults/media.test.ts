// Fifty people upload and download 10 MB each at once: gateway and media stay small, however slow those people are (spec 6).
import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import sharp from 'sharp'
import { request } from 'undici'
import { rest } from '../support/client.ts'
import { withBroker } from '../support/servers.ts'
import { startServices, token, type Whole } from '../support/whole.ts'

const people = 50
const size = 10_000_000
const mib = 1_048_576
/** The goal, for what only passes through a process. */
const passing = 150 * mib
/** And what media adds for each picture of 12 megapixels that it decodes (services/media/README.md). */
const decoding = 150 * mib

const suite = withBroker('memory of gateway and media')
describe.each(suite ? [suite] : [])('%s', () => {
  let whole: Whole
  let memory: Awaited<ReturnType<typeof watch>>
  beforeAll(async () => {
    whole = await startServices()
    // Decoders, pools and parsers are there before the first figure is taken.
    for (const [type, file] of [
      ['video', video(1_000)],
      ['image', await photo(64, 64)],
    ] as const)
      await fetched((await uploaded(type, file)).url)
    memory = await watch({ gateway: whole.processOf('gateway').url, media: whole.processOf('media').url })
  }, 90_000)
  afterAll(async () => {
    await memory?.stop()
    await whole?.stop()
  }, 30_000)

  test.each([
    ['videos', 'video', async () => video(size), passing],
    ['photos of 12 megapixels, held upright', 'image', () => photo(4_000, 3_000), passing + 2 * decoding],
  ] as const)(
    `${people} uploads and downloads of 10 MB at once: %s`,
    async (what, type, make, mostOfMedia) => {
      const file = await make()
      expect(Math.abs(file.length - size)).toBeLessThan(size / 10)

      const half = barrier(people)
      const sent = await Promise.all(Array.from({ length: people }, (_, index) => uploaded(type, file, half, `farmer-${index}`)))
      const uploads = memory.growth()
      const begun = barrier(people)
      const received = await Promise.all(sent.map(({ url }) => fetched(url, begun)))
      const downloads = memory.growth()

      expect(received).toEqual(sent.map((one) => one.size))
      const figures = (growth: Record<string, number>) =>
        Object.entries(growth)
          .map(([name, bytes]) => `${name} +${Math.round(bytes / mib)}`)
          .join(', ')
      process.stdout.write(
        `memory, ${people} × 10 MB of ${what}, in MiB: uploads ${figures(uploads)}; and downloads ${figures(downloads)}\n`,
      )
      expect(downloads.gateway).toBeLessThan(passing)
      expect(downloads.media).toBeLessThan(mostOfMedia)
    },
    180_000,
  )

  /** Sends one file: its first half, and the second once everybody has come so far. */
  async function uploaded(type: string, file: Buffer, half = barrier(1), who = 'farmer'): Promise<{ url: string; size: number }> {
    const boundary = 'fieldline-memory'
    const head = `--${boundary}\r\nContent-Disposition: form-data; name="type"\r\n\r\n${type}\r\n--${boundary}\r\nContent-Disposition: form-data; name="media"; filename="field"\r\nContent-Type: application/octet-stream\r\n\r\n`
    async function* body() {
      yield Buffer.from(head)
      yield file.subarray(0, file.length / 2)
      await half()
      yield file.subarray(file.length / 2)
      yield Buffer.from(`\r\n--${boundary}--\r\n`)
    }
    const answer = await request(`${whole.url}/api/v1/chat/media`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token('User', who)}`, 'content-type': `multipart/form-data; boundary=${boundary}` },
      body: Readable.from(body()),
      headersTimeout: 120_000,
    })
    const told = (await answer.body.json()) as { data: [{ url: string; size: number }] }
    expect({ status: answer.statusCode, told }).toMatchObject({ status: 201 })
    return told.data[0]
  }

  /** Takes a file: nothing after its first bytes until everybody has those. @returns bytes */
  async function fetched(url: string, begun = barrier(1)): Promise<number> {
    const { body } = await request(`${whole.url}${new URL(url).pathname}`)
    let bytes = 0
    for await (const chunk of body) {
      if (bytes === 0) await begun()
      bytes += chunk.length
    }
    return bytes
  }
})

/** Lets everybody go on when so many have come. */
function barrier(count: number): () => Promise<void> {
  const all = Promise.withResolvers<void>()
  let come = 0
  return () => {
    come += 1
    if (come >= count) all.resolve()
    return all.promise
  }
}

/** Follows how much processes have grown since now, by their metrics. */
async function watch(urls: Record<'gateway' | 'media', string>) {
  type Name = keyof typeof urls
  const names = Object.keys(urls) as Name[]
  const resident = async (name: Name): Promise<number> =>
    Number(/^process_resident_memory_bytes(?:\{.*\})? ([\d.e+]+)$/m.exec(String((await rest(urls[name])('GET', '/metrics')).body))?.[1])
  const before = new Map<Name, number>()
  const most = new Map<Name, number>()
  for (const name of names) before.set(name, await resident(name))
  let watching = true
  const watched = Promise.all(
    names.map(async (name) => {
      while (watching) {
        most.set(name, Math.max(most.get(name) ?? 0, await resident(name)))
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }),
  )
  return {
    growth: () => Object.fromEntries(names.map((name) => [name, (most.get(name) ?? 0) - (before.get(name) ?? 0)])) as Record<Name, number>,
    async stop(): Promise<void> {
      watching = false
      await watched
    },
  }
}

/** An MP4 with one video track, its index last as recorders write it. */
function video(bytes: number): Buffer {
  const box = (kind: string, ...content: Buffer[]): Buffer => {
    const inside = Buffer.concat(content)
    const head = Buffer.alloc(8)
    head.writeUInt32BE(inside.length + 8)
    head.write(kind, 4, 'latin1')
    return Buffer.concat([head, inside])
  }
  const track = box('trak', box('mdia', box('hdlr', Buffer.alloc(8), Buffer.from('vide'), Buffer.alloc(13))))
  return Buffer.concat([box('ftyp', Buffer.from('isom\0\0\0\0isom')), box('mdat', randomBytes(bytes)), box('moov', track)])
}

/** A photo so full of detail that 12 megapixels of it are 10 MB, taken with the phone held upright. */
function photo(width: number, height: number): Promise<Buffer> {
  return sharp({ create: { width, height, channels: 3, background: 'black', noise: { type: 'gaussian', mean: 128, sigma: 60 } } })
    .jpeg({ quality: 92 })
    .withMetadata({ orientation: 6 })
    .toBuffer()
}
