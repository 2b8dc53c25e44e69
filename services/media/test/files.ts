// Files as phones make them, written byte by byte or by sharp; none is a copy of somebody's.
import { randomBytes } from 'node:crypto'
import sharp, { type Sharp } from 'sharp'

/** ISO base media boxes (MP4, MOV, M4A, 3GP). */
function box(kind: string, ...content: Buffer[]): Buffer {
  const body = Buffer.concat(content)
  const head = Buffer.alloc(8)
  head.writeUInt32BE(body.length + 8)
  head.write(kind, 4, 'latin1')
  return Buffer.concat([head, body])
}
function track(handler: 'vide' | 'soun'): Buffer {
  return box(
    'trak',
    box('tkhd', Buffer.alloc(84)),
    box('mdia', box('mdhd', Buffer.alloc(24)), box('hdlr', Buffer.alloc(8), Buffer.from(handler), Buffer.alloc(13))),
  )
}
/** `moov` stands last, as recorders write it. */
export function iso(brand: string, handlers: ('vide' | 'soun')[], bytes = 5_000): Buffer {
  const ftyp = box('ftyp', Buffer.from(brand, 'latin1'), Buffer.alloc(4), Buffer.from(brand, 'latin1'))
  return Buffer.concat([ftyp, box('mdat', randomBytes(bytes)), box('moov', box('mvhd', Buffer.alloc(100)), ...handlers.map(track))])
}

/** EBML elements (WebM). */
function element(id: string, content: Buffer, open = false): Buffer {
  const size = Buffer.alloc(8)
  size.writeBigUInt64BE(BigInt(content.length))
  size[0] = 1
  return Buffer.concat([Buffer.from(id, 'hex'), open ? Buffer.from('01ffffffffffffff', 'hex') : size, content])
}
/** With a segment of open size, as browsers record. */
export function webm(types: ('video' | 'audio')[], bytes = 5_000): Buffer {
  const entries = types.map((type) =>
    element('ae', Buffer.concat([element('d7', Buffer.from([1])), element('83', Buffer.from([type === 'video' ? 1 : 2]))])),
  )
  const header = element('1a45dfa3', element('4282', Buffer.from('webm')))
  const info = element('1549a966', element('2ad7b1', Buffer.from([0x0f, 0x42, 0x40])))
  const cluster = element('1f43b675', randomBytes(bytes), true)
  return Buffer.concat([header, element('18538067', Buffer.concat([info, element('1654ae6b', Buffer.concat(entries)), cluster]), true)])
}

export function mp3(withTag = true): Buffer {
  const frame = Buffer.concat([Buffer.from('fffb9064', 'hex'), Buffer.alloc(413)])
  // A tag as large as an album's cover: the sound begins long after the first kilobytes.
  const tag = Buffer.concat([Buffer.from('ID3\x04\x00\x00', 'latin1'), Buffer.from([0, 4, 0, 0]), Buffer.alloc(65_536)])
  return Buffer.concat([...(withTag ? [tag] : []), ...Array.from({ length: 10 }, () => frame)])
}
export function aac(): Buffer {
  const frame = Buffer.concat([Buffer.from('fff15080', 'hex'), Buffer.from('0bbffc', 'hex'), Buffer.alloc(86)])
  return Buffer.concat(Array.from({ length: 10 }, () => frame))
}
export function oggOpus(): Buffer {
  const page = (flags: number, content: Buffer) => {
    const sizes = [...Array<number>(Math.floor(content.length / 255)).fill(255), content.length % 255]
    return Buffer.concat([
      Buffer.from('OggS\0', 'latin1'),
      Buffer.from([flags]),
      Buffer.alloc(20),
      Buffer.from([sizes.length, ...sizes]),
      content,
    ])
  }
  const head = Buffer.concat([Buffer.from('OpusHead\x01\x01', 'latin1'), Buffer.alloc(9)])
  const tags = Buffer.concat([Buffer.from('OpusTags'), Buffer.alloc(8)])
  return Buffer.concat([page(2, head), page(0, tags), page(4, randomBytes(2_000))])
}
export function wav(): Buffer {
  const head = Buffer.alloc(44)
  head.write('RIFF', 0)
  head.writeUInt32LE(2_036, 4)
  head.write('WAVEfmt ', 8)
  head.writeUInt32LE(16, 16)
  head.writeUInt16LE(1, 20)
  head.writeUInt16LE(1, 22)
  head.writeUInt32LE(8_000, 24)
  head.write('data', 36)
  return Buffer.concat([head, randomBytes(2_000)])
}
export function amr(): Buffer {
  const frame = () => Buffer.concat([Buffer.from([0x3c]), randomBytes(31)])
  return Buffer.concat([Buffer.from('#!AMR\n'), ...Array.from({ length: 10 }, frame)])
}

/** Left half red, right half blue, 60 × 40, so that turning shows. */
export function picture(): Sharp {
  const half = (background: string) => ({ input: { create: { width: 30, height: 40, channels: 3 as const, background } } })
  return sharp({ create: { width: 60, height: 40, channels: 3, background: '#ffffff' } })
    .composite([
      { ...half('#ff0000'), left: 0, top: 0 },
      { ...half('#0000ff'), left: 30, top: 0 },
    ])
    .removeAlpha()
}
export const jpeg = () => picture().jpeg().toBuffer()
export const png = () => picture().png().toBuffer()
export const webp = () => picture().webp().toBuffer()
export const gif = () => picture().gif().toBuffer()
export const avif = () => picture().avif({ effort: 0 }).toBuffer()
/** An iPhone's photo as far as its boxes tell: coded with HEVC, which the image library has no decoder for. */
export async function heic(): Promise<Buffer> {
  const boxes = (await avif()).toString('latin1')
  return Buffer.from(boxes.replace('ftypavif', 'ftypheic').replaceAll('av01', 'hvc1').replaceAll('av1C', 'hvcC'), 'latin1')
}

/** A photo as a phone makes it: its position in EXIF, and which way it was held (1 to 8). */
export function photo(orientation = 1): Promise<Buffer> {
  const exif = {
    IFD0: { Make: 'Fieldphone', Model: 'F1' },
    IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '18/1 31/1 12/1', GPSLongitudeRef: 'E', GPSLongitude: '73/1 51/1 24/1' },
  }
  return picture().jpeg().withExif(exif).withMetadata({ orientation }).toBuffer()
}

export async function animated(frames: number): Promise<Buffer> {
  const width = 24
  const height = 24
  const raw = Buffer.alloc(width * height * frames * 3)
  for (let frame = 0; frame < frames; frame += 1) raw.fill((frame * 37) % 256, frame * width * height * 3, (frame + 1) * width * height * 3)
  return sharp(raw, { raw: { width, height: height * frames, channels: 3, pageHeight: height } })
    .gif()
    .toBuffer()
}

/** A ZIP with one stored file, as it is put behind a picture. */
export function zip(): Buffer {
  const name = Buffer.from('run.js')
  const content = Buffer.from('alert(1)')
  const local = Buffer.alloc(30)
  local.write('PK\x03\x04', 'latin1')
  local.writeUInt32LE(content.length, 18)
  local.writeUInt32LE(content.length, 22)
  local.writeUInt16LE(name.length, 26)
  const central = Buffer.alloc(46)
  central.write('PK\x01\x02', 'latin1')
  central.writeUInt16LE(name.length, 28)
  const end = Buffer.alloc(22)
  end.write('PK\x05\x06', 'latin1')
  end.writeUInt16LE(1, 8)
  end.writeUInt16LE(1, 10)
  end.writeUInt32LE(central.length + name.length, 12)
  return Buffer.concat([local, name, content, central, name, end])
}
