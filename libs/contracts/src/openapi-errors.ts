// How errors are documented: one response a status, an example a code, and the headers that come with it.
import { z } from 'zod'
import { ErrorEnvelope } from './envelopes.ts'
import { type ErrorCode, statusOf } from './errors.ts'
import { errorExample } from './openapi-examples.ts'

/** What any call may get. */
export const anywhere = [
  'BAD_REQUEST',
  'VALIDATION_FAILED',
  'UNAUTHENTICATED',
  'TOKEN_EXPIRED',
  'RATE_LIMITED',
  'INTERNAL',
  'BAD_GATEWAY',
  'UNAVAILABLE',
] as const satisfies readonly ErrorCode[]
/** What any call but a GET may get beside that: a body is read before it is known whether one was needed. */
export const withBody = ['INVALID_JSON', 'PAYLOAD_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'] as const satisfies readonly ErrorCode[]

const meanings: Readonly<Record<number, string>> = {
  400: 'The request is faulty; `details` names the fields.',
  401: 'No valid token.',
  403: 'It exists and is not yours.',
  404: 'It does not exist.',
  409: 'Not in the state it is in now.',
  413: 'Too large.',
  415: 'Not a type that is accepted.',
  416: 'The range lies outside the file.',
  422: 'The file cannot be processed.',
  429: 'Too many requests.',
  500: 'A fault of ours.',
  502: 'A service gave no usable answer.',
  503: 'A service is down or overloaded.',
}

const RetryAfter = z.string().regex(/^\d+$/).meta({ description: 'Seconds after which the same call may succeed.', example: '1' })
export const RequestId = z
  .string()
  .meta({ description: 'The id to quote when asking about this call.', example: 'b7c9a3e0-5f7e-4c57-9a54-0b6d6a1f2f10' })

/** Responses by status for these codes. */
export function errorResponses(codes: readonly ErrorCode[]) {
  const byStatus = new Map<number, ErrorCode[]>()
  for (const code of new Set(codes)) byStatus.set(statusOf(code), [...(byStatus.get(statusOf(code)) ?? []), code])
  const sorted = [...byStatus].sort(([a], [b]) => a - b)
  return Object.fromEntries(
    sorted.map(([status, ofStatus]) => [
      String(status) as `${4 | 5}${string}`,
      {
        description: meanings[status] ?? 'Refused.',
        headers: z.object({
          'X-Request-Id': RequestId.optional(),
          ...(status === 429 || status === 503 ? { 'Retry-After': RetryAfter.optional() } : {}),
        }),
        content: {
          'application/json': {
            schema: ErrorEnvelope,
            examples: Object.fromEntries(ofStatus.map((code) => [code, { value: errorExample(code) }])),
          },
        },
      },
    ]),
  )
}
