// What the floor of a start imports: what the service does, and no more.
import { expect, test } from '@jest/globals'
import { importsIn, packagesOf } from '../lib/imports.ts'

test('an import counts however it is written, also for its effects; one of types alone does not', () => {
  const source = `
import { a } from 'a'
import {
  b,
  type B,
} from '@scope/b/path'
import type { C } from 'c'
import 'd'
export { e } from './e.ts'
export type { F } from './f.ts'
import g, { type G } from 'g'
const later = await import('h')
`
  expect(importsIn(source)).toEqual(['a', '@scope/b/path', 'd', './e.ts', 'g'])
})

test('imports are followed through files of ours, to the packages they end at', () => {
  const packages = packagesOf(new URL('../../services/conversation/src/main.ts', import.meta.url))
  expect(packages).toEqual(expect.arrayContaining(['amqplib', 'express', 'mongoose', 'pino', 'zod']))
  expect(packages.filter((name) => name.startsWith('@fieldline/') || name.startsWith('node:'))).toEqual([])
})
