// Uploads on their way in, on disk instead of in memory: files without a name, which vanish with the process, however it ends.
import { createHash, randomUUID } from 'node:crypto'
import { mkdir, open, readdir, rm, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { AppError } from '@fieldline/contracts/errors'
import { scanForPolyglots } from './content/polyglot.ts'
import type { ReadAt } from './content/read-at.ts'

export interface Spooled {
  size: number
  /** SHA-256, base64url. */
  digest: string
  /** Markup or an archive was in it. */
  suspicious: boolean
  readAt: ReadAt
  /** A new stream from the beginning, as often as needed. */
  stream(): Readable
  /** Gives the disk space back. */
  release(): Promise<void>
}

export interface Spool {
  /** Takes a stream to its end. @throws AppError PAYLOAD_TOO_LARGE beyond `limit` bytes, UNAVAILABLE (the disk is full), or the stream's own error */
  take(stream: Readable, limit: number): Promise<Spooled>
  /** Removes what a process that died in the wrong microsecond left behind. */
  sweep(before: Date): Promise<number>
}

export async function openSpool(folder: string): Promise<Spool> {
  await mkdir(folder, { recursive: true })

  async function take(stream: Readable, limit: number): Promise<Spooled> {
    // The stream may fail while the file is opened; the reading below meets that failure again.
    stream.on('error', () => undefined)
    const path = join(folder, randomUUID())
    const file = await open(path, 'wx+', 0o600).catch((error: unknown) => Promise.reject(full(error)))
    try {
      // From here on only this process can reach it, and only while it lives.
      await unlink(path)
      const hash = createHash('sha256')
      const scan = scanForPolyglots()
      let size = 0
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        if (size + chunk.length > limit) throw new AppError('PAYLOAD_TOO_LARGE', `A file may have at most ${limit} bytes`)
        hash.update(chunk)
        scan.update(chunk)
        for (let written = 0; written < chunk.length; ) {
          const { bytesWritten } = await file
            .write(chunk, written, chunk.length - written, size + written)
            .catch((error: unknown) => Promise.reject(full(error)))
          written += bytesWritten
        }
        size += chunk.length
      }
      const readAt: ReadAt = async (position, length) => {
        const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(Math.max(0, Math.min(length, size - position))), { position })
        return buffer.subarray(0, bytesRead)
      }
      return {
        ...{ size, digest: hash.digest('base64url'), suspicious: scan.suspicious, readAt },
        stream: () => file.createReadStream({ start: 0, autoClose: false, emitClose: true }),
        release: () => file.close(),
      }
    } catch (error) {
      await file.close()
      throw error
    }
  }

  async function sweep(before: Date): Promise<number> {
    let swept = 0
    for (const name of await readdir(folder)) {
      const path = join(folder, name)
      const info = await stat(path).catch(() => null)
      if (!info || info.mtime >= before) continue
      await rm(path, { force: true })
      swept += 1
    }
    return swept
  }

  return { take, sweep }
}

function full(error: unknown): AppError {
  return new AppError('UNAVAILABLE', 'There is no room for uploads now', { cause: error, retryAfter: 30, faultOf: 'spool' })
}
