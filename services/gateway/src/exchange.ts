// One request passed on and its answer passed back, at the pace of the slower side; whoever leaves first ends it for the other.
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { AppError } from '@fieldline/contracts/errors'
import type { Dispatcher } from 'undici'
import { ClientLeft, UpstreamFault } from './breaker.ts'
import { passesOut } from './headers.ts'

export interface Outgoing {
  method: string
  path: string
  /** Name and value in turn. */
  headers: string[]
  body: Buffer | AsyncIterable<Buffer> | null
  /** Until the answer begins. */
  timeoutMs: number
  /** Without a byte of the answer, or without the client taking one. */
  idleMs: number
  /** A read without a body may be asked a second time. */
  retry: boolean
  /** Headers the answer begins with; the service's own win. */
  answer: OutgoingHttpHeaders
}

const refusedCodes = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT'])
/** Bytes up to which a body is taken whole before it is passed on. */
const small = 16_384
const lateCodes = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'ETIMEDOUT'])

/**
 * Resolves when the answer has begun; the rest of it then flows by itself.
 * @throws UpstreamFault (`passedOn` where the client gets the upstream's own 5xx), ClientLeft, AppError of the request's body
 */
export function exchange(pool: Dispatcher, outgoing: Outgoing, res: ServerResponse): Promise<void> {
  return new Promise((resolve, reject) => {
    let begun = false
    let length = -1
    let whole: Buffer | undefined
    let leave: (() => void) | undefined
    let stuck: NodeJS.Timeout | undefined
    const end = (): void => {
      clearTimeout(stuck)
      if (leave) res.off('close', leave)
    }

    const handler: Dispatcher.DispatchHandler = {
      onRequestStart(controller) {
        leave = () => controller.abort(new ClientLeft())
        if (res.destroyed) leave()
        else res.once('close', leave)
      },
      onResponseStart(_controller, status, headers) {
        if (status < 200) return
        begun = true
        const { answer, ofAnother } = answerHeaders(outgoing.answer, headers, res)
        res.writeHead(status, answer)
        length = Number(headers['content-length'] ?? -1)
        if (status >= 500 && !ofAnother) reject(new UpstreamFault('answered', { passedOn: true }))
        else resolve()
      },
      onResponseData(controller, chunk) {
        if (chunk.length === length && length <= small) {
          whole = chunk
          return
        }
        if (res.write(chunk) || controller.paused) return
        controller.pause()
        stuck = setTimeout(() => res.destroy(), outgoing.idleMs)
        res.once('drain', () => {
          clearTimeout(stuck)
          controller.resume()
        })
      },
      onResponseEnd() {
        end()
        // As text, a small body goes out in one piece with its headers: one call to the system instead of a vectored one.
        if (whole) res.end(whole.toString('latin1'), 'latin1')
        else res.end()
      },
      onResponseError(_controller, error) {
        end()
        if (!begun) return reject(classify(error, res))
        // Cut short, so that nobody takes half an answer for the whole.
        if (!res.destroyed) res.destroy()
      },
    }
    const { method, path, headers, body, timeoutMs, idleMs } = outgoing
    try {
      pool.dispatch(
        {
          method,
          path,
          headers,
          body: body as NonNullable<Dispatcher.DispatchOptions['body']> | null,
          headersTimeout: timeoutMs,
          bodyTimeout: idleMs,
        },
        handler,
      )
    } catch (error) {
      reject(error instanceof Error ? error : new Error('dispatch failed', { cause: error }))
    }
  })
}

/** What the client gets. `ofAnother`: the service says the fault lies with one it asked (`X-Fault-Of`), not with itself. */
function answerHeaders(
  own: OutgoingHttpHeaders,
  headers: Readonly<Record<string, string | string[] | undefined>>,
  res: ServerResponse,
): { answer: OutgoingHttpHeaders; ofAnother: boolean } {
  const answer = { ...own }
  let ofAnother = false
  for (const name in headers) {
    const value = headers[name]
    if (value === undefined || !passesOut(name)) continue
    if (name === 'x-fault-of') ofAnother = true
    else if (name === 'vary') answer.vary = each(answer.vary, value)
    else answer[name] = value
  }
  // Set already for whom they matter (CORS): writing an object replaces what it names.
  if (answer.vary !== undefined && res.hasHeader('vary')) answer.vary = each(res.getHeader('vary'), answer.vary)
  return { answer, ofAnother }
}

/** The names of several `Vary`, each once. */
function each(...lists: OutgoingHttpHeaders[string][]): string {
  const names = lists.flat().flatMap((list) => String(list ?? '').split(','))
  const once = new Map(names.map((name) => [name.trim().toLowerCase(), name.trim()]))
  once.delete('')
  return [...once.values()].join(', ')
}

function classify(error: Error, res: ServerResponse): Error {
  if (error instanceof ClientLeft || error instanceof AppError) return error
  // A request that was read to its end is destroyed too: only one that broke off tells of a client that left.
  if (res.destroyed || (res.req.destroyed && !res.req.complete)) return new ClientLeft('the client left', { cause: error })
  const code = 'code' in error ? String(error.code) : ''
  if (refusedCodes.has(code)) return new UpstreamFault('refused', { cause: error })
  if (lateCodes.has(code)) return new UpstreamFault('late', { cause: error })
  if (error.name === 'HTTPParserError') return new UpstreamFault('garbled', { cause: error })
  return new UpstreamFault('cut', { cause: error })
}
