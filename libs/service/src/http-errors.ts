// The HTTP edge of errors: everything thrown becomes the envelope, and the text of a fault of ours stays here.
import { AppError, type ErrorCode } from '@fieldline/contracts/errors'
import type { ErrorRequestHandler, RequestHandler } from 'express'
import type { Logger } from './logger.ts'

export const notFound: RequestHandler = (req) => {
  throw new AppError('NOT_FOUND', `There is no ${req.method} ${req.path.slice(0, 200)}`)
}

/** Answers with `{ success: false, message, code, requestId, details? }`. Logs what is ours to mend, once. */
export function errorHandler(log: Logger): ErrorRequestHandler {
  return (thrown: unknown, req, res, _next) => {
    const error = fromHttp(thrown)
    if (error === undefined) log.error({ err: thrown, method: req.method, path: req.path }, 'request failed')
    else if (error.status >= 500) log.warn({ code: error.code, err: error, method: req.method, path: req.path }, 'request refused')
    else log.debug({ code: error.code, reason: error.message, method: req.method, path: req.path }, 'request refused')
    if (res.headersSent) {
      // The answer is cut short, so that nobody takes half of it for the whole.
      res.destroy()
      return
    }
    const answer = error ?? new AppError('INTERNAL', 'Internal server error')
    if (answer.faultOf !== undefined) res.set('X-Fault-Of', answer.faultOf)
    res.set(errorHeaders(answer))
    res.status(answer.status).json(envelope(answer, req.requestId))
  }
}

/** What an answer of this error tells in its headers (RFC 9110 and 6750). */
export function errorHeaders({ status, retryAfter, allow }: AppError): Record<string, string> {
  return {
    'cache-control': 'no-store',
    ...(retryAfter === undefined ? {} : { 'retry-after': String(Math.max(1, Math.ceil(retryAfter))) }),
    ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
    ...(allow === undefined ? {} : { allow: allow.join(', ') }),
  }
}

export interface ErrorEnvelope {
  success: false
  message: string
  code: ErrorCode
  requestId: string
  details?: AppError['details']
}

/** A 5xx's own text is for operators; its reader gets what to do. */
export function envelope(error: AppError, requestId: string): ErrorEnvelope {
  const message = error.code === 'INTERNAL' ? 'Internal server error' : error.message
  return {
    success: false,
    message,
    code: error.code,
    requestId,
    ...(error.details && error.details.length > 0 ? { details: error.details } : {}),
  }
}

/** What Express and its body parser throw, in our codes; undefined for what nobody meant. */
function fromHttp(thrown: unknown): AppError | undefined {
  if (thrown instanceof AppError) return thrown
  if (!Error.isError(thrown)) return undefined
  const type = 'type' in thrown ? thrown.type : undefined
  const status = 'status' in thrown ? thrown.status : undefined
  if (type === 'entity.parse.failed') return new AppError('INVALID_JSON', 'The body is not valid JSON')
  if (type === 'entity.too.large') return new AppError('PAYLOAD_TOO_LARGE', 'The body is too large')
  if (type === 'charset.unsupported' || type === 'encoding.unsupported') {
    return new AppError('UNSUPPORTED_MEDIA_TYPE', 'The charset or encoding of the body is not supported')
  }
  if (type === 'request.aborted' || type === 'request.size.invalid')
    return new AppError('BAD_REQUEST', 'The body ended before it was whole')
  // zlib and the path decoder speak of the request only when they say 400.
  if (status === 400) return new AppError('BAD_REQUEST', 'The request is malformed')
  if (status === 404) return new AppError('NOT_FOUND', 'There is nothing here')
  if (status === 413) return new AppError('PAYLOAD_TOO_LARGE', 'The body is too large')
  if (status === 415) return new AppError('UNSUPPORTED_MEDIA_TYPE', 'The content type is not supported')
  if (status === 416) return new AppError('RANGE_NOT_SATISFIABLE', 'The range is not satisfiable')
  return undefined
}
