// Values that fit a JSON Schema of the document, and values that do not (fast-check).
import { openApiDocument } from '@fieldline/contracts/openapi'
import fc from 'fast-check'

export interface Schema {
  $ref?: string
  type?: string | string[]
  const?: unknown
  enum?: unknown[]
  format?: string
  pattern?: string
  minLength?: number
  maxLength?: number
  minimum?: number
  exclusiveMinimum?: number
  maximum?: number
  minItems?: number
  maxItems?: number
  items?: Schema
  properties?: Record<string, Schema>
  required?: string[]
  anyOf?: Schema[]
  oneOf?: Schema[]
}

const document = JSON.parse(JSON.stringify(openApiDocument())) as { components: { schemas: Record<string, Schema> } }

export function resolved(schema: Schema): Schema {
  const name = schema.$ref?.split('/').at(-1)
  if (name === undefined) return schema
  const found = document.components.schemas[name]
  if (!found) throw new Error(`the document has no schema ${name}`)
  return resolved(found)
}

/** Names whose values must be ones that exist. */
export type Known = Readonly<Record<string, fc.Arbitrary<unknown>>>

/** Values that fit. */
export function fitting(given: Schema, known: Known = {}): fc.Arbitrary<unknown> {
  const schema = resolved(given)
  if (schema.const !== undefined) return fc.constant(schema.const)
  if (schema.enum) return fc.constantFrom(...schema.enum)
  const choices = (schema.anyOf ?? schema.oneOf ?? []).filter(
    (one) => one.type !== undefined || one.$ref !== undefined || one.const !== undefined,
  )
  if (choices.length > 0) return fc.oneof(...choices.map((one) => fitting(one, known)))
  const types = [schema.type ?? 'null'].flat()
  return fc.oneof(...types.map((type) => ofType(type, schema, known)))
}

function ofType(type: string, schema: Schema, known: Known): fc.Arbitrary<unknown> {
  switch (type) {
    case 'string':
      return text(schema)
    case 'integer':
    case 'number':
      return fc.integer({ min: schema.minimum ?? 0, max: Math.min(schema.maximum ?? 1_000, 1_000) })
    case 'boolean':
      return fc.boolean()
    case 'array':
      return fc.array(fitting(schema.items ?? {}, known), { minLength: schema.minItems ?? 0, maxLength: Math.min(schema.maxItems ?? 3, 3) })
    case 'object':
      return object(schema, known)
    default:
      return fc.constant(null)
  }
}

function object(schema: Schema, known: Known): fc.Arbitrary<unknown> {
  const properties = Object.entries(schema.properties ?? {}).map(([name, one]) => [name, known[name] ?? fitting(one, known)] as const)
  // One of several alternatives must be there (`supportId` or `assignedSupportId`).
  const alternatives = (schema.anyOf ?? []).flatMap(({ required }) => required ?? []).slice(0, 1)
  return fc.record(Object.fromEntries(properties), { requiredKeys: [...(schema.required ?? []), ...alternatives] })
}

function text(schema: Schema): fc.Arbitrary<string> {
  if (schema.format === 'date-time') return fc.date({ noInvalidDate: true }).map((date) => date.toISOString())
  const { minLength = 0, maxLength = 40, pattern } = schema
  if (pattern !== undefined && pattern !== '\\S')
    return fc.stringMatching(new RegExp(pattern, 'u')).filter((one) => one.length <= (schema.maxLength ?? 512))
  return fc
    .string({ unit: 'grapheme', minLength, maxLength: Math.min(maxLength, 80) })
    .filter((one) => one.isWellFormed() && (pattern === undefined || one.trim() !== ''))
}

const wrongFor: Readonly<Record<string, readonly unknown[]>> = {
  string: [42, true, [], {}, ['a'], { $ne: null }, { $gt: '' }],
  integer: ['x', '1.5', '-1', '1e3', 'NaN', {}],
  boolean: ['yes', 1, {}, []],
  object: ['text', 7, true, [1]],
}

/** Values of a field that do not fit it. */
export function unfitting(given: Schema): unknown[] {
  const schema = resolved(given)
  const [first, ...others] = schema.anyOf ?? []
  if (first) return unfitting(first).filter((value) => !others.some((other) => isOne(other, value)))
  const types = [schema.type ?? 'string'].flat()
  const wrong = types.flatMap((type) => wrongFor[type] ?? [])
  if (!types.includes('null')) wrong.push(null)
  if (schema.enum) wrong.push('none-of-these')
  if (schema.const !== undefined) wrong.push(`not-${String(schema.const)}`)
  if (schema.pattern?.includes('0-9a-f')) wrong.push('x', 'g'.repeat(24), 'a'.repeat(25), '../../etc/passwd', 'a'.repeat(24).toUpperCase())
  if (schema.pattern === '\\S') wrong.push('', '   ', '\n\t')
  if (schema.maxLength !== undefined) wrong.push('a'.repeat(schema.maxLength + 1))
  return wrong
}

/** What a field takes for absent beside its own values: `null`, and where it is text the empty one. */
export function takenForAbsent(given: Schema): unknown[] {
  const schema = resolved(given)
  const choices = schema.anyOf ?? [schema]
  return ['', null].filter((value) => choices.some((choice) => isOne(choice, value)))
}

function isOne({ type, const: only, enum: values }: Schema, value: unknown): boolean {
  if (only !== undefined || values) return only === value || (values?.includes(value) ?? false)
  return value === null && [type].flat().includes('null')
}
