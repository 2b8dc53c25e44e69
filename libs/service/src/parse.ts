// The edge where unknown input becomes typed: harmful shapes are refused, then the contract's schema speaks.
import { AppError, type FieldFault } from '@fieldline/contracts/errors'
import type { ZodType } from 'zod'

export type Where = 'body' | 'query' | 'params' | 'event'

const deepest = 32
const mostKeys = 10_000
const mostFaults = 20
const poison = new Set(['__proto__', 'constructor', 'prototype'])

/**
 * What `schema` makes of `input`. An absent body is an empty one; in a query a blank parameter is an absent one.
 * @throws AppError VALIDATION_FAILED naming the field
 */
export function parse<T>(schema: ZodType<T>, input: unknown, where: Where = 'body'): T {
  refuseHarmful(input)
  const result = schema.safeParse(where === 'query' ? single(input) : (input ?? {}))
  if (result.success) return result.data
  const details = result.error.issues
    .slice(0, mostFaults)
    .map((issue) => ({ field: issue.path.map(String).join('.'), message: issue.message }))
  throw invalid(details)
}

/** Names the first fault in its message and all of them in its details. */
export function invalid(details: readonly FieldFault[]): AppError {
  const [first] = details
  const message = first === undefined ? 'The input is not valid' : first.field === '' ? first.message : `${first.field}: ${first.message}`
  return new AppError('VALIDATION_FAILED', message, { details })
}

/** Refuses keys that reach into prototypes or query operators, and shapes made to exhaust. Walks without recursion. */
export function refuseHarmful(input: unknown): void {
  if (typeof input !== 'object' || input === null) return
  const open: { value: object; path: string; depth: number }[] = [{ value: input, path: '', depth: 1 }]
  let keys = 0
  for (let next = open.pop(); next; next = open.pop()) {
    const { value, path, depth } = next
    if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) continue
    const inArray = Array.isArray(value)
    for (const key of inArray ? value.keys() : Object.keys(value)) {
      keys += 1
      if (keys > mostKeys) throw invalid([{ field: '', message: `The input has more than ${mostKeys} keys` }])
      const name = String(key).slice(0, 64)
      const field = path === '' ? name : `${path}.${name}`
      if (typeof key === 'string' && isPoison(key)) {
        throw invalid([{ field, message: 'a key like this is not allowed' }])
      }
      const item = (value as Record<string | number, unknown>)[key]
      if (typeof item !== 'object' || item === null) continue
      if (depth >= deepest) throw invalid([{ field, message: `nested deeper than ${deepest}` }])
      open.push({ value: item, path: field, depth: depth + 1 })
    }
  }
}

/** Also `a[__proto__]`: what some reader of queries, not ours, would take for a path. */
function isPoison(key: string): boolean {
  if (poison.has(key) || key.includes('$') || key.includes('.')) return true
  return key.includes('[') && key.split(/[[\]]/).some((step) => poison.has(step))
}

function single(query: unknown): Record<string, unknown> {
  const given: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(query ?? {})) {
    if (Array.isArray(value)) throw invalid([{ field: name, message: 'given more than once' }])
    if (typeof value !== 'string' || value.trim() !== '') given[name] = value
  }
  return given
}
