// Whether sound is what its first bytes say: its frames, pages or chunks must follow each other as its format has them.
import type { ReadAt } from './read-at.ts'

/** How long the frame is that begins there, and what all frames of a recording share; null where none begins. */
type FrameAt = (bytes: Buffer, at: number) => { length: number; kind: number } | null

/** What is looked at: some seconds, of a voice note all of it. */
const looked = 131_072
/** Four bytes may look like a frame by chance, three frames in a row do not. A shorter recording ends with its last frame. */
const enough = 3
const fewest = 2

/** @param start where the sound begins, behind tags */
export async function soundHolds(format: string, read: ReadAt, start: number): Promise<boolean> {
  if (format === 'audio/wav') return wavHolds(read)
  const bytes = await read(start, looked)
  if (format === 'audio/mpeg') return framesOf(bytes, 0, mpegFrame) >= enough || endsWell(bytes, 0, mpegFrame)
  if (format === 'audio/aac') return framesOf(bytes, 0, adtsFrame) >= enough || endsWell(bytes, 0, adtsFrame)
  if (format === 'audio/ogg') return framesOf(bytes, 0, oggPage) >= enough || endsWell(bytes, 0, oggPage)
  if (format !== 'audio/amr') return true
  // Nothing else ever stands in an AMR file.
  const wide = bytes.toString('latin1', 0, 9) === '#!AMR-WB\n'
  return endsWell(bytes, wide ? 9 : 6, amrFrame(wide ? wideband : narrowband))
}

function framesOf(bytes: Buffer, start: number, frameAt: FrameAt): number {
  const first = frameAt(bytes, start)
  let frames = 0
  for (
    let at = start, frame = first;
    frame && frame.kind === first?.kind && at + frame.length <= bytes.length;
    frame = frameAt(bytes, at)
  ) {
    at += frame.length
    frames += 1
  }
  return frames
}

/** Frames up to the end, of which the last may be cut off. */
function endsWell(bytes: Buffer, start: number, frameAt: FrameAt): boolean {
  let frames = 0
  let at = start
  for (; at < bytes.length; frames += 1) {
    const frame = frameAt(bytes, at)
    if (!frame) break
    at += frame.length
  }
  return frames >= fewest && (at >= bytes.length || bytes.length - at < 4)
}

// Bit rates in kbit/s of MPEG-1 layers I, II, III, and of MPEG-2 and 2.5 layers I, II and III (ISO/IEC 11172-3, 2.4.2.3; 13818-3, 2.4.2.3).
const rates = [
  [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
  [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
  [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
  [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
]
const samplings = [44_100, 48_000, 32_000]

function mpegFrame(bytes: Buffer, at: number): ReturnType<FrameAt> {
  if (at + 4 > bytes.length) return null
  const head = bytes.readUInt32BE(at)
  const version = (head >>> 19) & 3
  const layer = 4 - ((head >>> 17) & 3)
  if (head >>> 21 !== 0x7ff || version === 1 || layer === 4) return null
  const first = version === 3
  const rate = rates[first ? layer - 1 : layer === 1 ? 3 : 4]?.[((head >>> 12) & 15) - 1]
  const sampling = samplings[(head >>> 10) & 3]
  if (rate === undefined || sampling === undefined) return null
  const hertz = sampling / (first ? 1 : version === 2 ? 2 : 4)
  const padding = (head >>> 9) & 1
  const samples = layer === 1 ? 384 : layer === 3 && !first ? 576 : 1_152
  const slot = layer === 1 ? 4 : 1
  const length = (Math.floor((samples / 8 / slot) * ((rate * 1_000) / hertz)) + padding) * slot
  return { length, kind: head & 0xfffe0c00 }
}

/** ISO/IEC 13818-7, 6.2. */
function adtsFrame(bytes: Buffer, at: number): ReturnType<FrameAt> {
  if (at + 7 > bytes.length) return null
  const head = bytes.readUInt32BE(at)
  const length = ((head & 3) << 11) | (bytes.readUInt16BE(at + 4) >>> 5)
  if (head >>> 20 !== 0xfff || ((head >>> 17) & 3) !== 0 || ((head >>> 10) & 15) > 12 || length < 7) return null
  return { length, kind: head & 0xfffe3c00 }
}

/** RFC 3533, 6. */
function oggPage(bytes: Buffer, at: number): ReturnType<FrameAt> {
  if (at + 27 > bytes.length || bytes.toString('latin1', at, at + 5) !== 'OggS\0') return null
  const table = bytes.subarray(at + 27, at + 27 + (bytes[at + 26] ?? 0))
  return { length: 27 + table.length + table.reduce((sum, size) => sum + size, 0), kind: 0 }
}

// Bytes of a frame by its type, the one of its head included; 0 where there is no such type (RFC 4867, 5.3).
const narrowband = [13, 14, 16, 18, 20, 21, 27, 32, 6, 7, 6, 6, 0, 0, 0, 1]
const wideband = [18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 0, 0, 0, 0, 1, 1]

function amrFrame(lengths: readonly number[]): FrameAt {
  return (bytes, at) => {
    const head = bytes[at] ?? 0xff
    const length = lengths[(head >>> 3) & 15] ?? 0
    return (head & 0x83) !== 0 || length === 0 ? null : { length, kind: 0 }
  }
}

/** More chunks than any recorder writes before the sound. */
const mostChunks = 100

/** Chunks that say how the sound is coded, and then hold it. Recorders that were cut off leave its length open. */
async function wavHolds(read: ReadAt): Promise<boolean> {
  let coded = false
  for (let at = 12, chunks = 0; chunks < mostChunks; chunks += 1) {
    const head = await read(at, 24)
    if (head.length < 8) return false
    const kind = head.toString('latin1', 0, 4)
    const length = head.readUInt32LE(4)
    if (kind === 'data') return coded
    if (kind === 'fmt ') {
      if (length < 16 || head.length < 24) return false
      coded = head.readUInt16LE(8) > 0 && head.readUInt16LE(10) > 0 && head.readUInt32LE(12) > 0
    }
    at += 8 + length + (length % 2)
  }
  return false
}
