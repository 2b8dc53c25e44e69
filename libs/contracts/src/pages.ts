// Pages and cursors of lists: how they are asked for and how they are answered (spec 2, "Pagination").
import { z } from 'zod'

/** A query's whole number from 1: text, as queries are. Blank and absent are the same (the parser drops blanks). */
const positive = (digits: RegExp) =>
  z
    .string()
    .regex(digits, 'must be a whole number from 1')
    .transform(Number)
    .refine((value) => value >= 1, 'must be a whole number from 1')

export const pageFields = { page: positive(/^\d{1,15}$/).default(1) }

/** A list by number is read only so far into it: a page has to pass over all before it, a cursor has not. */
export const mostPassedOver = 10_000
/** `page` of a list that passes over; history counts its pages from the newest seq and has no such end. */
export const listPageField = pageFields.page
  .unwrap()
  .optional()
  .meta({
    maximum: mostPassedOver + 1,
    description: `At most ${mostPassedOver} items may lie before it, \`(page - 1) * limit\`: else 400. \`cursor\` goes on to the end.`,
  })

interface AskedList {
  page?: number | undefined
  limit: number
  cursor?: string | undefined
}
/** For `superRefine` of a list that is read by number or by cursor. */
export function byNumberOrCursor({ page, limit, cursor }: AskedList, context: z.RefinementCtx): void {
  const refuse = (field: keyof AskedList, message: string) => context.addIssue({ code: 'custom', message, path: [field] })
  if (page === undefined) return
  if (cursor !== undefined) refuse('cursor', 'page and cursor exclude each other')
  if ((page - 1) * limit > mostPassedOver)
    refuse('page', `at most ${mostPassedOver} items may lie before a page; go on with cursor (pagination.nextCursor)`)
}

/** A limit above the maximum is clamped, not refused, however many digits it has. */
export function limitField(byDefault: number, most = 100) {
  return positive(/^\d{1,99}$/)
    .transform((value) => Math.min(value, most))
    .default(byDefault)
}
/** A seq or an eventNo in a query: 0 is allowed after which everything comes. */
export const seqField = z
  .string()
  .regex(/^\d{1,15}$/, 'must be a whole number')
  .transform(Number)

/** Opaque to clients; made by the store that reads it. */
export const CursorField = z.string().regex(/^[\w-]{1,512}$/, 'is not a cursor of ours')

export const Pagination = z.object({
  currentPage: z.number().int(),
  totalPages: z.number().int(),
  totalItems: z.number().int(),
  limit: z.number().int(),
  hasNextPage: z.boolean(),
  nextCursor: z.string().optional(),
})
export type Pagination = z.infer<typeof Pagination>

export function pagination(asked: { page: number; limit: number }, totalItems: number, nextCursor?: string | null): Pagination {
  const totalPages = Math.ceil(totalItems / asked.limit)
  return {
    currentPage: asked.page,
    totalPages,
    totalItems,
    limit: asked.limit,
    hasNextPage: nextCursor === undefined ? asked.page < totalPages : nextCursor !== null,
    ...(nextCursor ? { nextCursor } : {}),
  }
}
