// Which kinds of tracks an MP4-like or WebM file has: a voice note and a video share one container, so its name alone doesn't tell.
import type { ReadAt } from './read-at.ts'

export interface Tracks {
  audio: boolean
  video: boolean
}

/** More boxes or elements than any real file needs before its tracks are known. */
const mostSteps = 5_000
const containers = new Set(['moov', 'trak', 'mdia'])

/** Tracks of an ISO base media file (MP4, MOV, M4A, 3GP), by the handlers of its `moov` box, wherever that stands (ISO/IEC 14496-12, 8.4.3). None, unless boxes fill the file from its first byte to its last. */
export async function isoTracks(read: ReadAt, size: number): Promise<Tracks> {
  const found = { audio: false, video: false }
  const open = [{ at: 0, end: size }]
  for (let steps = 0, range = open.pop(); range && steps < mostSteps; steps += 1) {
    if (range.end - range.at < 8) {
      range = open.pop()
      continue
    }
    const header = await read(range.at, 16)
    const short = header.readUInt32BE(0)
    const kind = header.toString('latin1', 4, 8)
    const long = short === 1 && header.length === 16
    const length = long ? Number(header.readBigUInt64BE(8)) : short === 0 ? range.end - range.at : short
    const begin = range.at + (long ? 16 : 8)
    const end = range.at + length
    if (end < begin || end > range.end || !/^[\x20-\x7e\xa9][\x20-\x7e]{3}$/.test(kind)) return { audio: false, video: false }
    if (kind === 'hdlr') {
      const handler = (await read(begin + 8, 4)).toString('latin1')
      if (handler === 'soun') found.audio = true
      if (handler === 'vide') found.video = true
    }
    if (end < range.end) open.push({ at: end, end: range.end })
    range = containers.has(kind) ? { at: begin, end } : open.pop()
  }
  return found
}

const segment = 0x18538067
const tracks = 0x1654ae6b
const trackEntry = 0xae
const trackType = 0x83

/** Tracks of a WebM file, by the types of its track entries (RFC 9559, 5.1.4). Recorders that stream leave sizes open; those count as endless. */
export async function webmTracks(read: ReadAt, size: number): Promise<Tracks> {
  const found = { audio: false, video: false }
  let at = 0
  for (let steps = 0; at < size && steps < mostSteps; steps += 1) {
    const head = await read(at, 12)
    const id = vint(head, 0, true)
    const length = id && vint(head, id.width, false)
    if (!id || !length) break
    const begin = at + id.width + length.width
    if (id.value === trackType) {
      const [type] = await read(begin, 1)
      if (type === 1) found.video = true
      if (type === 2) found.audio = true
    }
    const inside = id.value === segment || id.value === tracks || id.value === trackEntry
    // An element of open size that isn't looked into has no end to go to.
    if (!inside && length.open) break
    at = inside ? begin : begin + length.value
  }
  return found
}

/** EBML's numbers of variable width: leading zeros of the first byte tell how many follow (RFC 8794, 4). */
function vint(bytes: Buffer, at: number, keepMarker: boolean): { value: number; width: number; open: boolean } | null {
  const first = bytes[at]
  if (first === undefined || first === 0) return null
  const width = Math.clz32(first) - 23
  if (at + width > bytes.length) return null
  let value = keepMarker ? first : first & (0xff >> width)
  let open = value === 0xff >> width
  for (const byte of bytes.subarray(at + 1, at + width)) {
    value = value * 256 + byte
    open &&= byte === 0xff
  }
  return { value, width, open }
}
