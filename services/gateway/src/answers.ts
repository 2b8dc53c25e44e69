// Answers the gateway writes itself, outside Express: the headers every answer has, and errors in the envelope.
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { AppError } from '@fieldline/contracts/errors'
import { envelope, errorHeaders } from '@fieldline/service/http-errors'
import type { Logger } from '@fieldline/service/logger'

/** Answers with the error's envelope; what nobody meant is logged and becomes INTERNAL. An answer that has begun is cut short instead. */
export function refuse(res: ServerResponse, thrown: unknown, headers: OutgoingHttpHeaders, requestId: string, log: Logger): void {
  const { method, url = '' } = res.req
  const path = url.split('?', 1)[0]
  const error = thrown instanceof AppError ? thrown : undefined
  if (!error) log.error({ err: thrown, method, path }, 'request failed')
  else if (error.status >= 500) log.warn({ code: error.code, err: error, method, path }, 'request refused')
  else log.debug({ code: error.code, reason: error.message, method, path }, 'request refused')
  if (res.headersSent || res.destroyed) {
    res.destroy()
    return
  }
  const answer = error ?? new AppError('INTERNAL', 'Internal server error')
  const body = Buffer.from(JSON.stringify(envelope(answer, requestId)))
  const told: OutgoingHttpHeaders = {
    ...headers,
    'content-type': 'application/json; charset=utf-8',
    'content-length': body.length,
    ...errorHeaders(answer),
  }
  res.writeHead(answer.status, told)
  res.end(res.req.method === 'HEAD' ? undefined : body)
}
