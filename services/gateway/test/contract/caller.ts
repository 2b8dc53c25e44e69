// Asks one question of the API under test and writes down the answer and what is wrong with it.
import type { Operation } from '@fieldline/contracts/openapi-operations'
import { Agent, type FormData, request } from 'undici'
import { createJudge } from './judge.ts'

export interface Target {
  /** `http://localhost:5000` */
  baseUrl: string
  tokens: Tokens
}
export interface Tokens {
  farmer: string
  agent: string
  admin: string
}

export interface Question {
  token?: string | undefined
  params?: Readonly<Record<string, string>>
  /** Pairs, so that a name may come twice. */
  query?: readonly (readonly [string, string])[]
  headers?: Readonly<Record<string, string>>
  /** Sent as JSON. */
  json?: unknown
  /** Sent as it is. */
  raw?: { type: string; text: string }
  form?: FormData
}

export interface Call {
  operation: string
  /** What was tried, for a reader of the report. */
  what: string
  status: number
  json: unknown
  headers: Readonly<Record<string, string | string[] | undefined>>
}
export interface Fault {
  operation: string
  what: string
  fault: string
  /** To ask it again. */
  asked: string
}

export class Caller {
  readonly calls: Call[] = []
  readonly faults: Fault[] = []
  readonly #judge = createJudge()
  readonly #dispatcher = new Agent({ keepAliveTimeout: 5_000 })
  readonly target: Target
  constructor(target: Target) {
    this.target = target
  }

  /** @param expected statuses that are right for this question; any documented one, unless 5xx, where it is left out */
  async ask(operation: Operation, what: string, question: Question, expected?: readonly number[]): Promise<Call> {
    const path = operation.path.replace(/\{(\w+)\}/g, (_all, name: string) => encodeURIComponent(question.params?.[name] ?? name))
    const search = new URLSearchParams((question.query ?? []).map(([name, value]): [string, string] => [name, value])).toString()
    const url = `${this.target.baseUrl}${path}${search === '' ? '' : `?${search}`}`
    const body = bodyOf(question)
    const answer = await request(url, {
      method: operation.method.toUpperCase(),
      headers: {
        ...(question.token === undefined ? {} : { authorization: `Bearer ${question.token}` }),
        ...(body.type === undefined ? {} : { 'content-type': body.type }),
        ...question.headers,
      },
      body: body.content,
      dispatcher: this.#dispatcher,
    })
    const bytes = Buffer.from(await answer.body.arrayBuffer())
    const { statusCode: status, headers } = answer
    const call: Call = { operation: operation.id, what, status, json: parsed(bytes), headers }
    this.calls.push(call)
    const asked = `${operation.method.toUpperCase()} ${url} ${describe(question)} → ${status} ${bytes.toString('utf8').slice(0, 300)}`
    const note = (fault: string) => this.faults.push({ operation: operation.id, what, fault, asked })
    for (const fault of this.#judge.judge({ method: operation.method, path: operation.path, status, headers, body: bytes })) note(fault)
    if (expected && !expected.includes(status)) note(`expected ${expected.join(' or ')}, got ${status}`)
    if (!expected && status >= 500) note(`got ${status}`)
    return call
  }

  close(): Promise<void> {
    return this.#dispatcher.close()
  }
}

function bodyOf({ json, raw, form }: Question): { type: string | undefined; content: string | FormData | null } {
  if (raw) return { type: raw.type, content: raw.text }
  if (form) return { type: undefined, content: form }
  if (json === undefined) return { type: undefined, content: null }
  return { type: 'application/json', content: JSON.stringify(json) }
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
}

function describe({ json, raw, form, headers }: Question): string {
  if (form) return '(a form)'
  const body = raw ? raw.text : json === undefined ? '' : JSON.stringify(json)
  return `${headers ? JSON.stringify(headers) : ''}${body.slice(0, 500)}`
}
