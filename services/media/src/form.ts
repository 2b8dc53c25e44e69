// The upload's form: multipart parsed as it streams, every file spooled, nothing of it kept when anything is wrong.
import type { IncomingMessage } from 'node:http'
import { AppError } from '@fieldline/contracts/errors'
import { mediaLimits } from '@fieldline/contracts/media'
import { invalid } from '@fieldline/service/parse'
import busboy from 'busboy'
import type { Spool, Spooled } from './spool.ts'

export interface FormFile {
  /** As the client called it. */
  name: string
  content: Spooled
}
export interface Form {
  fields: Record<string, string>
  files: FormFile[]
}

/** What a refused request may still send before it is answered: an answer that comes while the client sends is often lost. */
const mostDrained = 64 * 1_024 * 1_024
const drainMs = 10_000

/**
 * The fields and the files (field `media`) of a request, whichever comes first. Other files are passed over. No limit in total time, but `idleMs` without a byte end it.
 * The caller releases the files. @throws AppError VALIDATION_FAILED, PAYLOAD_TOO_LARGE, BAD_REQUEST (malformed, cut off, idle), UNSUPPORTED_MEDIA_TYPE, UNAVAILABLE
 */
export async function readForm(req: IncomingMessage, spool: Spool, idleMs: number): Promise<Form> {
  const parser = parserFor(req)
  const fields: Record<string, string> = {}
  const taken: Promise<FormFile>[] = []
  const failed = Promise.withResolvers<never>()
  const ended = Promise.withResolvers<void>()
  const idle = setTimeout(() => failed.reject(new AppError('BAD_REQUEST', `Nothing came for ${idleMs} ms`)), idleMs)
  const alive = () => idle.refresh()
  const cut = () => {
    if (!req.complete) failed.reject(broken())
  }

  parser.on('field', (name, value, info) => {
    if (info.nameTruncated || info.valueTruncated) failed.reject(invalid([{ field: 'form', message: 'a field is too long' }]))
    else if (name === 'type') fields.type = value
  })
  parser.on('file', (field, stream, { filename }) => {
    if (field !== 'media') {
      stream.resume()
      return
    }
    const file = spool.take(stream, mediaLimits.bytesPerFile).then((content) => ({ name: filename ?? '', content }))
    file.catch((error: unknown) => failed.reject(error))
    taken.push(file)
  })
  parser.on('filesLimit', () => failed.reject(invalid([{ field: 'media', message: `at most ${mediaLimits.files} files` }])))
  parser.on('fieldsLimit', () => failed.reject(invalid([{ field: 'form', message: 'too many fields' }])))
  parser.on('partsLimit', () => failed.reject(invalid([{ field: 'form', message: 'too many parts' }])))
  parser.on('error', (error) => failed.reject(new AppError('BAD_REQUEST', 'The form is malformed', { cause: error })))
  parser.on('close', () => ended.resolve())
  req.on('data', alive).on('close', cut).on('error', cut)
  // Cut while its token was verified: nothing of it will come any more, not even its end.
  if (req.destroyed) failed.reject(broken())
  req.pipe(parser)

  try {
    await Promise.race([ended.promise, failed.promise])
    const files = await Promise.race([Promise.all(taken), failed.promise])
    return { fields, files }
  } catch (error) {
    req.unpipe(parser)
    parser.destroy()
    await drained(req, Math.min(drainMs, idleMs))
    for (const file of await Promise.allSettled(taken)) if (file.status === 'fulfilled') await file.value.content.release()
    throw error
  } finally {
    clearTimeout(idle)
    failed.promise.catch(() => undefined)
    req.off('data', alive).off('close', cut).off('error', cut)
  }
}

function broken(): AppError {
  return new AppError('BAD_REQUEST', 'The upload ended before it was whole')
}

function parserFor(req: IncomingMessage): busboy.Busboy {
  const type = req.headers['content-type'] ?? ''
  if (!/^multipart\/form-data\s*(;|$)/i.test(type)) throw new AppError('UNSUPPORTED_MEDIA_TYPE', 'An upload is multipart/form-data')
  try {
    return busboy({
      headers: req.headers,
      defParamCharset: 'utf8',
      // Paths are taken off the name in one place, ours.
      preservePath: true,
      // One more byte than allowed, so that a file of exactly the limit isn't taken for a longer one.
      limits: {
        files: mediaLimits.files,
        fileSize: mediaLimits.bytesPerFile + 1,
        fields: 20,
        fieldSize: 1_024,
        fieldNameSize: 100,
        parts: 40,
        headerPairs: 50,
      },
    })
  } catch (error) {
    throw new AppError('BAD_REQUEST', 'The form is malformed', { cause: error })
  }
}

/** Reads on for nothing, up to a bound. */
async function drained(req: IncomingMessage, withinMs: number): Promise<void> {
  if (req.complete || req.destroyed) return
  const over = Promise.withResolvers<void>()
  let bytes = 0
  const count = (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > mostDrained) over.resolve()
  }
  const done = () => over.resolve()
  const timer = setTimeout(done, withinMs)
  req.on('data', count).on('end', done).on('close', done).resume()
  await over.promise
  clearTimeout(timer)
  req.off('data', count).off('end', done).off('close', done)
}
