// A small JSON client for tests.
import { request } from 'undici'

export interface ApiAnswer {
  status: number
  headers: Record<string, string | string[] | undefined>
  // biome-ignore lint/suspicious/noExplicitAny: a test says what it expects of an answer, field by field
  body: any
  text: string
}

export interface ApiCall {
  token?: string
  headers?: Record<string, string>
  body?: unknown
  /** Sent as it is, with no content type but the one in `headers`. */
  raw?: string | Buffer
}

export interface Api {
  get(path: string, call?: ApiCall): Promise<ApiAnswer>
  post(path: string, body?: unknown, call?: ApiCall): Promise<ApiAnswer>
  patch(path: string, body?: unknown, call?: ApiCall): Promise<ApiAnswer>
  send(method: string, path: string, call?: ApiCall): Promise<ApiAnswer>
}

/** Calls to `url` with `token`, which one call may replace. Answers come as they are: nothing throws but a lost connection. */
export function api(url: string, token?: string): Api {
  async function send(method: string, path: string, call: ApiCall = {}): Promise<ApiAnswer> {
    const bearer = call.token ?? token
    const answer = await request(`${url}${path}`, {
      method: method as 'GET',
      headers: {
        ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
        ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...call.headers,
      },
      body: call.raw ?? (call.body === undefined ? null : JSON.stringify(call.body)),
      headersTimeout: 30_000,
      bodyTimeout: 30_000,
    })
    const text = await answer.body.text()
    return { status: answer.statusCode, headers: answer.headers, text, body: parsed(text) }
  }
  return {
    send,
    get: (path, call) => send('GET', path, call),
    post: (path, body, call) => send('POST', path, { ...call, ...(body === undefined ? {} : { body }) }),
    patch: (path, body, call) => send('PATCH', path, { ...call, ...(body === undefined ? {} : { body }) }),
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
