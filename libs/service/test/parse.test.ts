import { AppError } from '@fieldline/contracts/errors'
import { describe, expect, test } from '@jest/globals'
import { z } from 'zod'
import { parse } from '../src/parse.ts'

const Message = z.object({
  conversationId: z.string(),
  content: z.string().optional(),
  media: z.array(z.object({ type: z.string() })).optional(),
})

function refusal(input: unknown, where: 'body' | 'query' = 'body'): AppError {
  try {
    parse(Message, input, where)
  } catch (error) {
    if (error instanceof AppError) return error
    throw error
  }
  throw new Error('it was accepted')
}

describe('input', () => {
  test('a wrong type is refused with the field named', () => {
    const error = refusal({ conversationId: { $ne: null } })
    expect(error.code).toBe('VALIDATION_FAILED')
    expect(refusal({ conversationId: 5 })).toMatchObject({
      message: expect.stringContaining('conversationId'),
      details: [{ field: 'conversationId' }],
    })
    expect(refusal({ conversationId: 'a', media: [{ type: 'image' }, { type: 1 }] }).details).toMatchObject([{ field: 'media.1.type' }])
  })

  test.each([
    '{"conversationId":"a","x":{"$ne":null}}',
    '{"conversationId":"a","a.b":1}',
    '{"conversationId":"a","__proto__":{"x":1}}',
    '{"conversationId":"a","x":[{"constructor":1}]}',
    '{"conversationId":"a","prototype":1}',
  ])('a key that reaches elsewhere is refused: %s', (json) => {
    expect(refusal(JSON.parse(json)).status).toBe(400)
    expect(refusal(JSON.parse(json)).details?.[0]?.field).toMatch(/\$ne|a\.b|__proto__|constructor|prototype/)
  })

  test('deep and wide shapes are refused without a stack running over', () => {
    let deep = '"x"'
    for (let level = 0; level < 100_000; level += 1) deep = `[${deep}]`
    expect(refusal({ conversationId: 'a', deep: JSON.parse(deep) }).message).toContain('deeper')
    expect(refusal({ conversationId: 'a', wide: Array.from({ length: 20_000 }, () => 1) }).message).toContain('keys')
    const cyclic: Record<string, unknown> = { conversationId: 'a' }
    cyclic.self = cyclic
    expect(refusal(cyclic).status).toBe(400)
  })

  test('no body, null and {} are the same; unknown fields are dropped', () => {
    const Nothing = z.object({ reason: z.string().optional() })
    for (const input of [undefined, null, {}]) expect(parse(Nothing, input)).toEqual({})
    expect(parse(Nothing, { reason: 'r', more: 1 })).toEqual({ reason: 'r' })
    expect(refusal('text').status).toBe(400)
    expect(refusal(['a']).status).toBe(400)
  })

  test('in a query a blank parameter is absent and a repeated one refused', () => {
    expect(parse(Message, { conversationId: 'a', content: ' ' }, 'query')).toEqual({ conversationId: 'a' })
    expect(refusal({ conversationId: ['a', 'b'] }, 'query').details).toEqual([{ field: 'conversationId', message: 'given more than once' }])
  })

  test('buffers of a socket event are not walked', () => {
    const started = performance.now()
    expect(refusal({ conversationId: Buffer.alloc(1_000_000) }).code).toBe('VALIDATION_FAILED')
    expect(performance.now() - started).toBeLessThan(500)
  })
})
