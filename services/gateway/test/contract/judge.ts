// Judges answers by the OpenAPI document: is the status documented, is the envelope one, does the body fit its schema?
import { errorCodes, statusOf } from '@fieldline/contracts/errors'
import { openApiDocument } from '@fieldline/contracts/openapi'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'

export interface Answered {
  method: string
  /** As in the document, `/api/v1/chat/messages/{conversationId}`, or as it was asked. */
  path: string
  status: number
  headers: Readonly<Record<string, string | string[] | undefined>>
  body: Buffer
}

export interface Judge {
  /** Whether the document has that call. */
  knows(method: string, path: string): boolean
  /** What is wrong with the answer; empty where nothing is. */
  judge(answered: Answered): string[]
}

interface Response {
  content?: Record<string, { schema: object; examples?: Record<string, unknown> }>
}
interface Documented {
  responses: Record<string, Response>
}

export function createJudge(): Judge {
  const document = JSON.parse(JSON.stringify(openApiDocument())) as { paths: Record<string, Record<string, Documented>> }
  const ajv = new Ajv2020({ strict: false, allErrors: true })
  ;(formats as unknown as (ajv: Ajv2020) => void)(ajv)
  ajv.addSchema({ $id: 'doc', ...document })
  const compiled = new Map<object, ValidateFunction>()

  function validatorOf(schema: object): ValidateFunction {
    const known = compiled.get(schema) ?? ajv.compile(JSON.parse(JSON.stringify(schema).replaceAll('"#/components', '"doc#/components')))
    compiled.set(schema, known)
    return known
  }

  function operationOf(method: string, path: string): Documented | undefined {
    const [plain = ''] = path.split('?', 1)
    const exact = document.paths[plain]?.[method.toLowerCase()]
    if (exact) return exact
    const pattern = Object.keys(document.paths).find((one) => matches(one, plain))
    return pattern === undefined ? undefined : document.paths[pattern]?.[method.toLowerCase()]
  }

  return {
    knows: (method, path) => operationOf(method, path) !== undefined,
    judge({ method, path, status, headers, body }) {
      const operation = operationOf(method, path)
      if (!operation) return [`${method} ${path} is not documented`]
      const response = operation.responses[String(status)]
      if (!response) return [`status ${status} is not documented`]
      const faults: string[] = []
      const schema = response.content?.['application/json']
      if (schema) {
        const parsed = parseJson(body)
        if (parsed === undefined) return [`the answer with ${status} is not JSON`]
        const fits = validatorOf(schema.schema)
        if (!fits(parsed)) faults.push(`the answer with ${status} does not fit: ${ajv.errorsText(fits.errors)}`)
        if (status >= 400) faults.push(...judgeError(parsed, status, headers, Object.keys(schema.examples ?? {})))
      }
      if (headers['x-request-id'] === undefined) faults.push('there is no X-Request-Id')
      return faults
    },
  }
}

function judgeError(parsed: unknown, status: number, headers: Answered['headers'], documented: readonly string[]): string[] {
  const { code, requestId } = parsed as { code?: string; requestId?: string }
  const faults: string[] = []
  const known = errorCodes.find((one) => one === code)
  if (known === undefined || statusOf(known) !== status) faults.push(`code ${code} does not go with ${status}`)
  else if (!documented.includes(known)) faults.push(`code ${code} is not documented here`)
  if (requestId !== headers['x-request-id']) faults.push('requestId and X-Request-Id differ')
  if ((status === 429 || status === 503) && headers['retry-after'] === undefined) faults.push(`${status} without Retry-After`)
  return faults
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch {
    return undefined
  }
}

function matches(template: string, path: string): boolean {
  const parts = template.split('/')
  const given = path.split('/')
  return parts.length === given.length && parts.every((part, index) => part.startsWith('{') || part === given[index])
}
