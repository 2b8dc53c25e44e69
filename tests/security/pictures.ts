// Files as attackers and farmers send them: photos with a GPS position, pictures that are pages or archives too, bombs.
import { crc32 } from 'node:zlib'
import sharp from 'sharp'

/** A photo as a phone makes it: EXIF with the farm's position (IFD3 is the GPS directory of TIFF 6.0's EXIF extension). */
export function photoWithPosition(format: 'jpeg' | 'png' | 'webp' = 'jpeg'): Promise<Buffer> {
  return sharp({ create: { width: 640, height: 480, channels: 3, background: { r: 40, g: 140, b: 60 } } })
    .withExif({
      IFD0: { Make: 'Farmphone', Artist: 'Rajesh Kumar' },
      IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '18/1 31/1 1337/100', GPSLongitudeRef: 'E', GPSLongitude: '73/1 51/1 4242/100' },
    })
    .withXmp(
      '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="18,31.22N"/></rdf:RDF></x:xmpmeta>',
    )
    .toFormat(format)
    .toBuffer()
}

export function plainPicture(): Promise<Buffer> {
  return sharp({ create: { width: 32, height: 32, channels: 3, background: { r: 10, g: 20, b: 200 } } })
    .jpeg()
    .toBuffer()
}

/** What of a position is left in a file's metadata. */
export async function tracesOf(bytes: Buffer): Promise<string[]> {
  const { exif, xmp, iptc } = await sharp(bytes).metadata()
  const found = Object.entries({ exif, xmp, iptc })
    .filter(([, value]) => value !== undefined)
    .map(([name]) => name)
  return [...found, ...['GPS', 'Farmphone', 'Rajesh', 'xmpmeta'].filter((word) => bytes.includes(word, 0, 'latin1'))]
}

/** A JPEG whose comment segment holds `text`: still a picture to every viewer. */
export function jpegWithComment(jpeg: Buffer, text: string): Buffer {
  const comment = Buffer.alloc(4)
  comment.writeUInt16BE(0xfffe, 0)
  comment.writeUInt16BE(text.length + 2, 2)
  return Buffer.concat([jpeg.subarray(0, 2), comment, Buffer.from(text, 'latin1'), jpeg.subarray(2)])
}

/** An archive with one stored, empty entry: enough for every reader of ZIP, JAR and APK. */
export function zip(name = 'META-INF/MANIFEST.MF'): Buffer {
  const entry = Buffer.alloc(30)
  entry.writeUInt32LE(0x04034b50, 0)
  entry.writeUInt16LE(name.length, 26)
  const central = Buffer.alloc(46)
  central.writeUInt32LE(0x02014b50, 0)
  central.writeUInt16LE(name.length, 28)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(1, 8)
  end.writeUInt16LE(1, 10)
  end.writeUInt32LE(central.length + name.length, 12)
  end.writeUInt32LE(entry.length + name.length, 16)
  return Buffer.concat([entry, Buffer.from(name), central, Buffer.from(name), end])
}

/** A PNG of a few bytes that says it has this many pixels. */
export function pngOf(width: number, height: number): Buffer {
  const chunk = (type: string, body: Buffer): Buffer => {
    const typed = Buffer.concat([Buffer.from(type, 'latin1'), body])
    const head = Buffer.alloc(4)
    head.writeUInt32BE(body.length)
    const tail = Buffer.alloc(4)
    tail.writeUInt32BE(crc32(typed))
    return Buffer.concat([head, typed, tail])
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([8, 2, 0, 0, 0], 8)
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    chunk('IDAT', Buffer.from('789c010000ffff00000001', 'hex')),
    chunk('IEND', Buffer.alloc(0)),
  ])
}
