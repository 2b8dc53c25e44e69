// Bodies of requests: small ones are taken whole, so that a slow phone holds no service's connection; uploads are streamed.
import type { IncomingMessage } from 'node:http'
import { AppError } from '@fieldline/contracts/errors'
import { ClientLeft } from './breaker.ts'

export function hasBody(req: IncomingMessage): boolean {
  return req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length'] ?? 0) > 0
}

function tooLarge(limit: number): AppError {
  return new AppError('PAYLOAD_TOO_LARGE', `The body must have at most ${limit} bytes`)
}

/** Refuses a body by what it says of its size, before a byte of it is read. @throws AppError PAYLOAD_TOO_LARGE */
export function checkDeclaredSize(req: IncomingMessage, limit: number): void {
  if (Number(req.headers['content-length'] ?? 0) > limit) throw tooLarge(limit)
}

/** The whole body. @throws AppError PAYLOAD_TOO_LARGE, BAD_REQUEST when it takes longer than `withinMs`; ClientLeft */
export function readBody(req: IncomingMessage, { limit, withinMs }: { limit: number; withinMs: number }): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    const timer = setTimeout(() => end(new AppError('BAD_REQUEST', 'The body took too long to arrive')), withinMs)
    const onData = (chunk: Buffer): void => {
      size += chunk.length
      if (size > limit) end(tooLarge(limit))
      else chunks.push(chunk)
    }
    const onEnd = (): void => end()
    const onClose = (): void => end(new ClientLeft())
    function end(error?: Error): void {
      clearTimeout(timer)
      req.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose)
      if (error) reject(error)
      else resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, size))
    }
    req.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose)
  })
}

/**
 * The body as it arrives, at the pace of whoever takes it. Ends the client's connection after `idleMs` without a byte from it.
 * @throws AppError PAYLOAD_TOO_LARGE
 */
export async function* streamBody(req: IncomingMessage, { limit, idleMs }: { limit: number; idleMs: number }): AsyncGenerator<Buffer> {
  let size = 0
  // While the upstream is the slow one, its own timeout counts.
  let waiting = true
  const idle = setTimeout(() => (waiting ? req.destroy() : idle.refresh()), idleMs)
  try {
    // The answer may come before the body's end (413, 415); the request must live on to carry it back.
    for await (const chunk of req.iterator({ destroyOnReturn: false })) {
      size += (chunk as Buffer).length
      if (size > limit) throw tooLarge(limit)
      waiting = false
      yield chunk as Buffer
      waiting = true
      idle.refresh()
    }
  } finally {
    clearTimeout(idle)
  }
}

const lingerMs = 10_000

/** Lets the client send the rest of a body nobody wants, for a while, so that it comes to read its answer. */
export function discardRest(req: IncomingMessage): void {
  if (req.complete || req.destroyed) return
  req.on('error', () => undefined)
  req.resume()
  const timer = setTimeout(() => req.destroy(), lingerMs).unref()
  req.once('close', () => clearTimeout(timer))
}
