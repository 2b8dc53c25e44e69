// Every error code that crosses a wire, what it means over HTTP and whether the same call may succeed later.

const codes = {
  VALIDATION_FAILED: { status: 400, retryable: false },
  INVALID_JSON: { status: 400, retryable: false },
  BAD_REQUEST: { status: 400, retryable: false },
  UNAUTHENTICATED: { status: 401, retryable: false },
  TOKEN_EXPIRED: { status: 401, retryable: false },
  FORBIDDEN: { status: 403, retryable: false },
  LINK_INVALID: { status: 403, retryable: false },
  NOT_FOUND: { status: 404, retryable: false },
  CONVERSATION_NOT_FOUND: { status: 404, retryable: false },
  MESSAGE_NOT_FOUND: { status: 404, retryable: false },
  MEDIA_NOT_FOUND: { status: 404, retryable: false },
  METHOD_NOT_ALLOWED: { status: 405, retryable: false },
  CONVERSATION_CLOSED: { status: 409, retryable: false },
  ILLEGAL_TRANSITION: { status: 409, retryable: false },
  ALREADY_ASSIGNED: { status: 409, retryable: false },
  AT_CAPACITY: { status: 409, retryable: false },
  IDEMPOTENCY_CONFLICT: { status: 409, retryable: false },
  MEDIA_IN_USE: { status: 409, retryable: false },
  PAYLOAD_TOO_LARGE: { status: 413, retryable: false },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, retryable: false },
  RANGE_NOT_SATISFIABLE: { status: 416, retryable: false },
  UNPROCESSABLE_MEDIA: { status: 422, retryable: false },
  RATE_LIMITED: { status: 429, retryable: true },
  INTERNAL: { status: 500, retryable: true },
  BAD_GATEWAY: { status: 502, retryable: true },
  UNAVAILABLE: { status: 503, retryable: true },
} as const

export type ErrorCode = keyof typeof codes
export const errorCodes = Object.keys(codes) as [ErrorCode, ...ErrorCode[]]

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(codes, value)
}
export function statusOf(code: ErrorCode): number {
  return codes[code].status
}
export function isRetryable(code: ErrorCode): boolean {
  return codes[code].retryable
}

/** One fault of an input: the field's path (`content`, `media.0.type`; empty for the whole) and what is wrong with it. */
export interface FieldFault {
  field: string
  message: string
}

/** An error meant for the person who gets it. Whatever else is thrown is a fault of ours, and its text never leaves the process. */
export class AppError extends Error {
  override readonly name = 'AppError'
  readonly code: ErrorCode
  readonly details: readonly FieldFault[] | undefined
  /** Seconds after which the same call may succeed; sent as `Retry-After`. */
  readonly retryAfter: number | undefined
  /** The service whose trouble this is where the one that answers only asked it, or the one part of the answerer that is in trouble: no caller's breaker counts it against the answerer as a whole. Sent as `X-Fault-Of`. */
  readonly faultOf: string | undefined
  /** The methods that a METHOD_NOT_ALLOWED would have let through; sent as `Allow`. */
  readonly allow: readonly string[] | undefined

  constructor(
    code: ErrorCode,
    message: string,
    more: { details?: readonly FieldFault[]; retryAfter?: number; faultOf?: string; allow?: readonly string[]; cause?: unknown } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause })
    this.code = code
    this.faultOf = more.faultOf
    this.allow = more.allow
    this.details = more.details
    this.retryAfter = more.retryAfter ?? (codes[code].status === 503 ? 1 : undefined)
  }

  get status(): number {
    return codes[this.code].status
  }

  get retryable(): boolean {
    return codes[this.code].retryable
  }
}
