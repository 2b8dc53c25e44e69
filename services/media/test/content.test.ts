// What files are taken for what, and which are refused: by their bytes alone.
import { describe, expect, test } from '@jest/globals'
import sharp from 'sharp'
import { safeImage } from '../src/content/image.ts'
import { hasZipBehind, scanForPolyglots } from '../src/content/polyglot.ts'
import { sniff } from '../src/content/sniff.ts'
import * as files from './files.ts'

const readAt = (bytes: Buffer) => async (position: number, length: number) => bytes.subarray(position, position + length)
const sniffed = (bytes: Buffer) => sniff(readAt(bytes), bytes.length)
const limits = { pixels: 65_000_000, frames: 500, kept: 16_777_216, bytes: 10_485_760, thumbnail: 320 }

describe('sniffing', () => {
  test.each([
    ['JPEG', files.jpeg, 'image', 'image/jpeg'],
    ['PNG', files.png, 'image', 'image/png'],
    ['WebP', files.webp, 'image', 'image/webp'],
    ['GIF', files.gif, 'image', 'image/gif'],
    ['AVIF', files.avif, 'image', 'image/avif'],
    ['HEIC', files.heic, 'image', 'image/heic'],
    ['M4A', () => files.iso('M4A ', ['soun']), 'audio', 'audio/mp4'],
    ['a voice note in an MP4 box', () => files.iso('mp42', ['soun']), 'audio', 'audio/mp4'],
    ['a voice note in a 3GP box', () => files.iso('3gp4', ['soun']), 'audio', 'audio/3gpp'],
    ['MP3 behind a large tag', () => files.mp3(), 'audio', 'audio/mpeg'],
    ['MP3', () => files.mp3(false), 'audio', 'audio/mpeg'],
    ['AAC', files.aac, 'audio', 'audio/aac'],
    ['Ogg/Opus', files.oggOpus, 'audio', 'audio/ogg'],
    ['WAV', files.wav, 'audio', 'audio/wav'],
    ['AMR', files.amr, 'audio', 'audio/amr'],
    ['a browser recording of sound', () => files.webm(['audio']), 'audio', 'audio/webm'],
    ['WebM', () => files.webm(['video', 'audio']), 'video', 'video/webm'],
    ['MP4', () => files.iso('isom', ['vide', 'soun']), 'video', 'video/mp4'],
    ['MOV', () => files.iso('qt  ', ['vide', 'soun']), 'video', 'video/quicktime'],
    ['3GP', () => files.iso('3gp5', ['vide', 'soun']), 'video', 'video/3gpp'],
    ['a film named M4A', () => files.iso('M4A ', ['vide', 'soun']), 'video', 'video/mp4'],
  ] as const)('%s is known by its bytes', async (_name, make, type, format) => {
    expect(await sniffed(await make())).toEqual(expect.objectContaining({ type, format }))
  })

  test.each([
    ['HTML', '<!DOCTYPE html><html><script>alert(1)</script></html>'],
    ['SVG', '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script/></svg>'],
    ['a PDF', '%PDF-1.7\n1 0 obj'],
    ['text', 'hello'],
    ['nothing', ''],
    ['a program', '\x7fELF\x02\x01\x01'],
  ])('%s is none of the accepted formats', async (_name, text) => {
    await expect(sniffed(Buffer.from(text, 'latin1'))).rejects.toMatchObject({ code: 'UNSUPPORTED_MEDIA_TYPE' })
  })
  test('a ZIP is none of the accepted formats', async () => {
    await expect(sniffed(files.zip())).rejects.toMatchObject({ code: 'UNSUPPORTED_MEDIA_TYPE' })
  })
  test('boxes that lie about their length are no film', async () => {
    const bytes = files.iso('isom', ['vide'])
    for (const length of [0xffffffff, 3]) {
      bytes.writeUInt32BE(length, 20)
      await expect(sniffed(bytes)).rejects.toMatchObject({ code: 'UNSUPPORTED_MEDIA_TYPE' })
    }
  })

  const ftyp = () => files.iso('isom', []).subarray(0, 20)
  test.each([
    [
      'a program behind the first box of a film',
      () => Buffer.concat([ftyp(), Buffer.from('\x7fELF\x02\x01\x01', 'latin1'), Buffer.alloc(5_000)]),
    ],
    ['text behind the first box of a film', () => Buffer.concat([ftyp(), Buffer.from('<svg>hello</svg>'.repeat(20))])],
    ['a film without a track', () => files.iso('isom', [])],
    ['a WebM without a track', () => files.webm([])],
    ['a script behind the first line of an AMR', () => Buffer.from('#!AMR\n#!/bin/sh\nrm -rf /\n')],
    ['text behind the first frame of an AMR', () => Buffer.concat([files.amr().subarray(0, 38), Buffer.alloc(3_000, 'A')])],
    ['text behind the head of an MP3 frame', () => Buffer.concat([Buffer.from('fffb9064', 'hex'), Buffer.alloc(3_000, 'A')])],
    ['text behind an AAC frame', () => Buffer.concat([files.aac().subarray(0, 93), Buffer.alloc(3_000, 'A')])],
    ['text behind an Ogg page', () => Buffer.concat([files.oggOpus().subarray(0, 47), Buffer.alloc(3_000, 'A')])],
    ['text behind the head of a WAV', () => Buffer.concat([files.wav().subarray(0, 12), Buffer.alloc(3_000, 'A')])],
    ['a WAV that does not say how it is coded', () => Buffer.concat([files.wav().subarray(0, 12), files.wav().subarray(36)])],
  ])('%s is none of the accepted formats', async (_name, make) => {
    await expect(sniffed(make())).rejects.toMatchObject({ code: 'UNSUPPORTED_MEDIA_TYPE' })
  })

  test.each([
    ['MP3', () => files.mp3(false).subarray(0, 4 * 417), 'audio/mpeg'],
    ['MP3 with a tag behind it', () => Buffer.concat([files.mp3(false), Buffer.from('TAG'), Buffer.alloc(125)]), 'audio/mpeg'],
    ['MP3 of MPEG-2', () => mpeg2(5), 'audio/mpeg'],
    ['AAC', () => files.aac().subarray(0, 4 * 93), 'audio/aac'],
    ['AMR', () => files.amr().subarray(0, 6 + 5 * 32), 'audio/amr'],
    ['AMR, its last frame cut off', () => files.amr().subarray(0, 6 + 5 * 32 + 10), 'audio/amr'],
    [
      'wideband AMR',
      () =>
        Buffer.concat([
          Buffer.from('#!AMR-WB\n'),
          ...Array.from({ length: 5 }, () => Buffer.alloc(61, Buffer.from([0x44, ...Array(60).fill(0xa5)]))),
        ]),
      'audio/amr',
    ],
    ['Ogg of three pages', files.oggOpus, 'audio/ogg'],
  ])('a note of a tenth of a second is sound: %s', async (_name, make, format) => {
    expect(await sniffed(make())).toMatchObject({ type: 'audio', format })
  })

  test('a film in fragments is known by the index before them', async () => {
    const [head, index] = [ftyp(), files.iso('isom', ['vide', 'soun'], 0).subarray(28)]
    const box = (kind: string, length: number) => {
      const made = Buffer.alloc(length)
      made.writeUInt32BE(length)
      made.write(kind, 4, 'latin1')
      return made
    }
    const bytes = Buffer.concat([head, index, ...Array.from({ length: 5 }, () => [box('moof', 100), box('mdat', 1_000)]).flat()])
    expect(await sniffed(bytes)).toMatchObject({ type: 'video', format: 'video/mp4' })
  })
})

/** Layer III at 64 kbit/s and 22,050 Hz: 208 bytes a frame. */
function mpeg2(frames: number): Buffer {
  return Buffer.concat(Array.from({ length: frames }, () => Buffer.concat([Buffer.from('fff38064', 'hex'), Buffer.alloc(204)])))
}

describe('polyglots', () => {
  const suspicious = (chunks: Buffer[]) => {
    const scan = scanForPolyglots()
    for (const chunk of chunks) scan.update(chunk)
    return scan.suspicious
  }

  test.each([
    '<script>alert(1)</script>',
    '<SCRIPT src=x>',
    '<html><body>',
    '<!DOCTYPE html>',
    '<?php system($_GET[0]); ?>',
    '<svg width="1" xmlns="http://www.w3.org/2000/svg">',
    '<iframe src=x>',
    '<svg/onload=alert(1)>',
    '<img src=x onerror=alert(1)>',
    '<body/onload=alert(1)>',
    '<svg><a xlink:href="javascript:alert(1)"/></svg>',
    '<a href="javascript:alert(1)">',
    '<a class="x" href= javascript:alert(1)>',
    '<base href=//evil.example>',
    "<?= system($_GET['c']) ?>",
    'Rar!\x1a\x07\x01',
    '7z\xbc\xaf\x27\x1c',
  ])('%j behind a picture is found, also across two chunks', async (text) => {
    const bytes = Buffer.concat([await files.jpeg(), Buffer.from(text, 'latin1')])
    expect(suspicious([bytes])).toBe(true)
    expect(suspicious([bytes.subarray(0, -text.length + 4), bytes.subarray(-text.length + 4)])).toBe(true)
  })
  test('a script in UTF-16 of either order is found', () => {
    const text = Buffer.from('<script>alert(1)</script>', 'utf16le')
    expect(suspicious([Buffer.concat([Buffer.alloc(900, 1), text])])).toBe(true)
    expect(suspicious([Buffer.concat([Buffer.alloc(900, 1), text.swap16()])])).toBe(true)
  })
  test('a tar is found by its mark', () => {
    expect(suspicious([Buffer.concat([Buffer.alloc(257), Buffer.from('ustar\0')]), Buffer.alloc(250)])).toBe(true)
  })
  test('a PDF that begins inside the first kilobyte is found', () => {
    expect(suspicious([Buffer.alloc(900), Buffer.from('%PDF-1.4')])).toBe(true)
  })
  test('a ZIP behind a picture is found, also with a comment', async () => {
    const bytes = Buffer.concat([await files.jpeg(), files.zip()])
    expect(await hasZipBehind(readAt(bytes), bytes.length)).toBe(true)
    const commented = Buffer.concat([bytes.subarray(0, -2), Buffer.from([5, 0]), Buffer.from('hello')])
    expect(await hasZipBehind(readAt(commented), commented.length)).toBe(true)
  })
  test('ordinary files are not suspected', async () => {
    const motionPhoto = Buffer.concat([await files.jpeg(), files.iso('isom', ['vide'], 3_000_000)])
    const xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description rdf:about="" on:line="yes" GCamera:MotionPhoto="1"/></x:xmpmeta>'
    for (const bytes of [
      motionPhoto,
      Buffer.concat([await files.jpeg(), Buffer.from(xmp)]),
      await files.jpeg(),
      await files.photo(6),
      await files.png(),
      files.mp3(),
      files.iso('isom', ['vide'], 10_000_000),
    ]) {
      expect(suspicious([bytes])).toBe(false)
      expect(await hasZipBehind(readAt(bytes), bytes.length)).toBe(false)
    }
  })
})

describe('images', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'orientation %i comes out upright, the position gone from original and thumbnail',
    async (orientation) => {
      const bytes = await files.photo(orientation)
      expect((await sharp(bytes).metadata()).exif?.includes('Fieldphone')).toBe(true)
      const image = await safeImage(bytes, 'image/jpeg', limits)
      const expected = await sharp(bytes).autoOrient().raw().toBuffer({ resolveWithObject: true })
      expect([image.width, image.height]).toEqual([expected.info.width, expected.info.height])
      expect([image.width, image.height]).toEqual(orientation > 4 ? [40, 60] : [60, 40])
      for (const out of [image.original, image.thumbnail]) {
        const about = await sharp(out).metadata()
        expect(about.exif).toBeUndefined()
        expect(about.orientation).toBeUndefined()
        expect(out.includes('Fieldphone')).toBe(false)
        expect(out.includes('Exif')).toBe(false)
        const { data, info } = await sharp(out).raw().toBuffer({ resolveWithObject: true })
        for (const [x, y] of [
          [5, 5],
          [info.width - 5, 5],
          [5, info.height - 5],
          [info.width - 5, info.height - 5],
        ] as const) {
          const at = (y * info.width + x) * 3
          expect(Math.abs((data[at] ?? 0) - (expected.data[at] ?? 0))).toBeLessThan(30)
        }
      }
    },
  )

  test('a thumbnail is small, and an image smaller than one is not enlarged', async () => {
    const large = await sharp({ create: { width: 2_000, height: 1_000, channels: 3, background: '#123456' } })
      .jpeg()
      .toBuffer()
    const made = await safeImage(large, 'image/jpeg', limits)
    expect(await sharp(made.thumbnail).metadata()).toMatchObject({ width: 320, height: 160, format: 'jpeg' })
    expect(await sharp((await safeImage(await files.jpeg(), 'image/jpeg', limits)).thumbnail).metadata()).toMatchObject({
      width: 60,
      height: 40,
    })
  })

  test('a pixel bomb is refused by its header', async () => {
    const bomb = await sharp({ create: { width: 9_000, height: 9_000, channels: 3, background: '#000000' } })
      .png({ compressionLevel: 9 })
      .toBuffer()
    const before = process.memoryUsage.rss()
    await expect(safeImage(bomb, 'image/png', limits)).rejects.toMatchObject({
      code: 'UNPROCESSABLE_MEDIA',
      message: 'The image has more than 65 megapixels',
    })
    expect(process.memoryUsage.rss() - before).toBeLessThan(100_000_000)
  })

  test('an animation keeps its frames; too many, or too large all together, are refused', async () => {
    const made = await safeImage(await files.animated(12), 'image/gif', limits)
    expect(await sharp(made.original, { pages: -1 }).metadata()).toMatchObject({ pages: 12 })
    expect([made.width, made.height]).toEqual([24, 24])
    await expect(safeImage(await files.animated(12), 'image/gif', { ...limits, frames: 11 })).rejects.toMatchObject({
      code: 'UNPROCESSABLE_MEDIA',
    })
    await expect(safeImage(await files.animated(12), 'image/gif', { ...limits, pixels: 24 * 24 * 11 })).rejects.toMatchObject({
      code: 'UNPROCESSABLE_MEDIA',
    })
  })

  test.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'an animation of orientation %i comes out upright: moving, or its first frame',
    async (orientation) => {
      const first = await files.picture().raw().toBuffer()
      const strip = { raw: { width: 60, height: 80, channels: 3 as const, pageHeight: 40 } }
      const moving = await sharp(Buffer.concat([first, Buffer.alloc(first.length, 128)]), strip)
        .webp({ lossless: true })
        .withMetadata({ orientation })
        .toBuffer()
      expect(await sharp(moving).metadata()).toMatchObject({ pages: 2, orientation })
      const made = await safeImage(moving, 'image/webp', limits)
      const expected = await sharp(await files.photo(orientation))
        .autoOrient()
        .raw()
        .toBuffer({ resolveWithObject: true })
      expect([made.width, made.height]).toEqual([expected.info.width, expected.info.height])
      expect((await sharp(made.original).metadata()).pages ?? 1).toBe(orientation > 2 ? 1 : 2)
      for (const out of [made.original, made.thumbnail]) {
        const { data } = await sharp(out).removeAlpha().raw().toBuffer({ resolveWithObject: true })
        for (const at of [0, data.length - 3]) expect(Math.abs((data[at] ?? 0) - (expected.data[at] ?? 0))).toBeLessThan(40)
      }
    },
  )

  test('what hides in a picture is gone from what is stored', async () => {
    const hidden = Buffer.concat([await files.jpeg(), Buffer.from('HIDDEN-BEHIND')])
    expect((await safeImage(hidden, 'image/jpeg', limits)).original.includes('HIDDEN')).toBe(false)
  })

  test('an AVIF becomes what every phone can show, with its transparency where it has some', async () => {
    expect(await safeImage(await files.avif(), 'image/avif', limits)).toMatchObject({
      format: 'image/jpeg',
      extension: 'jpg',
      width: 60,
      height: 40,
    })
    const clear = await sharp({ create: { width: 8, height: 8, channels: 4, background: { r: 0, g: 0, b: 0, alpha: 0.5 } } })
      .avif({ effort: 0 })
      .toBuffer()
    expect(await safeImage(clear, 'image/avif', limits)).toMatchObject({ format: 'image/webp', extension: 'webp' })
  })

  test('a picture of more pixels than are kept is scaled down, and upright', async () => {
    const image = await safeImage(await files.photo(6), 'image/jpeg', { ...limits, kept: 600 })
    expect([image.width, image.height]).toEqual([20, 30])
    const { data } = await sharp(image.original).raw().toBuffer({ resolveWithObject: true })
    // Its left half, red, is above now.
    expect([Number(data[0]) > 200, Number(data.at(-1)) > 200]).toEqual([true, true])
    const moving = await safeImage(await files.animated(5), 'image/gif', { ...limits, kept: 144 })
    expect(await sharp(moving.original, { pages: -1 }).metadata()).toMatchObject({ pages: 5, width: 12, pageHeight: 12 })
  })

  const noise = (side: number) =>
    sharp({ create: { width: side, height: side, channels: 3, background: '#000000', noise: { type: 'gaussian', mean: 128, sigma: 60 } } })
  test('what would come out in more bytes than are kept is made smaller until it fits', async () => {
    const image = await safeImage(await noise(400).png().toBuffer(), 'image/png', { ...limits, bytes: 100_000 })
    expect(image.original.length).toBeLessThanOrEqual(100_000)
    expect(image.width).toBeGreaterThan(100)
    expect(await sharp(image.original).metadata()).toMatchObject({ format: 'png', width: image.width, height: image.height })
  })

  test('an AVIF full of transparent detail comes out not much larger than it came; one of more pixels than are kept is refused', async () => {
    const alpha = await noise(512).extractChannel(0).png().toBuffer()
    const avif = await sharp(await noise(512).png().toBuffer())
      .joinChannel(alpha)
      .avif({ quality: 50, effort: 0 })
      .toBuffer()
    const image = await safeImage(avif, 'image/avif', { ...limits, kept: 512 * 512 })
    expect(image.original.length).toBeLessThan(2 * avif.length)
    expect((await sharp(image.original).metadata()).hasAlpha).toBe(true)
    await expect(safeImage(avif, 'image/avif', { ...limits, kept: 512 * 511 })).rejects.toMatchObject({ code: 'UNPROCESSABLE_MEDIA' })
  })

  test.each(['image/jpeg', 'image/png', 'image/webp', 'image/gif', 'image/avif'])('a damaged %s is refused', async (format) => {
    const make =
      { 'image/jpeg': files.jpeg, 'image/png': files.png, 'image/webp': files.webp, 'image/gif': files.gif, 'image/avif': files.avif }[
        format
      ] ?? files.jpeg
    const whole = await make()
    await expect(safeImage(whole.subarray(0, Math.floor(whole.length / 3)), format, limits)).rejects.toMatchObject({
      code: 'UNPROCESSABLE_MEDIA',
    })
  })
})
