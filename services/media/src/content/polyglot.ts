// Finds files that are two things at once: a picture to us, a page, a script or an archive to somebody else (OWASP File Upload Cheat Sheet).
import type { ReadAt } from './read-at.ts'

// Each needs five fixed bytes or more and a delimiter, or is plain text throughout, so that among ten million random ones hardly ever one fits.
const markup = new RegExp(
  [
    /(?:script|iframe|!doctype)[\s>/]/,
    /(?:html|body|object|embed|meta|link|form)[\s>/][^<>]{0,300}[<>]/,
    /\?php\s/,
    /\?=\s{0,3}[\w$\\]{3,40}\s?[(['"]/,
    /svg[\s/][^<>]{0,300}xmlns/,
    /svg(?:[\s/][\s\x20-\x7e]{0,300})?>/,
    /base\s[^<>]{0,300}href\s*=/,
    /[a-z][a-z\d]{0,15}[\s/](?:[^<>]{0,300}[\s/"'])?(?:on[a-z]{3,24}\s*=|(?:xlink:)?(?:href|src|action)\s*=\s*["']?\s*(?:javascript|vbscript|data):)/,
  ]
    .map(({ source }) => `^<${source}`)
    .join('|'),
  'i',
)
/** What may follow the `<` of any of them. */
const begins = new Set([...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!?'].map((letter) => letter.charCodeAt(0)))
const archives = ['Rar!\x1a\x07', '7z\xbc\xaf\x27\x1c'].map((signature) => Buffer.from(signature, 'latin1'))
/** More than any of them needs. */
const longest = 512

export interface PolyglotScan {
  /** The next bytes of the file. */
  update(chunk: Buffer): void
  /** Markup, a script, or the beginning of an archive was somewhere in it. Asked once the file is whole. */
  readonly suspicious: boolean
}

/** Looks at a file as it streams by; holds a kilobyte of it. Works on the bytes as they are: text made of each would be garbage of the file's size. */
export function scanForPolyglots(): PolyglotScan {
  let tail = Buffer.alloc(0)
  let head = Buffer.alloc(0)
  let suspicious = false
  return {
    update(chunk) {
      if (suspicious) return
      // A PDF may begin anywhere in a file's first kilobyte; a tar is told by what stands behind its first name (POSIX.1, pax, ustar).
      if (head.length < 1_029) {
        head = Buffer.concat([head, chunk.subarray(0, 1_029 - head.length)])
        suspicious = /%pdf-/i.test(head.toString('latin1')) || head.toString('latin1', 257, 262) === 'ustar'
      }
      // What begins in one chunk and ends in the next is in neither.
      const seam = Buffer.concat([tail, chunk.subarray(0, longest)])
      suspicious ||=
        holdsMarkup(seam) || holdsMarkup(chunk) || archives.some((signature) => seam.includes(signature) || chunk.includes(signature))
      tail = Buffer.concat([tail, chunk.subarray(-longest)]).subarray(-longest)
    },
    get suspicious() {
      return suspicious
    },
  }
}

function holdsMarkup(bytes: Buffer): boolean {
  // In UTF-16 every second byte is zero: the others, of either order, are read as they are.
  return (
    holdsPlain(bytes) || (bytes.includes('<\0', 0, 'latin1') && (holdsPlain(everySecond(bytes, 0)) || holdsPlain(everySecond(bytes, 1))))
  )
}

function holdsPlain(bytes: Buffer): boolean {
  for (let at = bytes.indexOf(0x3c); at >= 0; at = bytes.indexOf(0x3c, at + 1)) {
    if (begins.has(bytes[at + 1] ?? 0) && markup.test(bytes.toString('latin1', at, at + longest))) return true
  }
  return false
}

function everySecond(bytes: Buffer, from: number): Buffer {
  const half = Buffer.alloc(Math.ceil((bytes.length - from) / 2))
  for (let at = 0; at < half.length; at += 1) half[at] = bytes[from + at * 2] ?? 0
  return half
}

const longestComment = 65_535
const directorySearch = 1_048_576

/** Is there a ZIP (JAR, APK, DOCX) behind it? Readers of ZIP look from the end of a file, whatever stands before. */
export async function hasZipBehind(read: ReadAt, size: number): Promise<boolean> {
  const start = Math.max(0, size - longestComment - 22)
  const end = await read(start, size - start)
  for (
    let at = end.lastIndexOf('PK\x05\x06', undefined, 'latin1');
    at >= 0;
    at = at === 0 ? -1 : end.lastIndexOf('PK\x05\x06', at - 1, 'latin1')
  ) {
    if (at + 22 > end.length || at + 22 + end.readUInt16LE(at + 20) > end.length) continue
    const from = Math.max(0, start + at - directorySearch)
    const before = await read(from, start + at - from)
    if (before.includes('PK\x01\x02', 0, 'latin1')) return true
  }
  return false
}
