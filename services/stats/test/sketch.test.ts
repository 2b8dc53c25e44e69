// Durations added up, and time cut into blocks.
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { cut, levels } from '../src/blocks.ts'
import { addDuration, emptySketch, exactQuantiles, mergePacked, packSketch, relativeError, sketchQuantiles } from '../src/sketch.ts'

const durations = fc.array(fc.integer({ min: 0, max: 3_000_000_000 }), { minLength: 1, maxLength: 300 })
const quantiles = [0, 0.25, 0.5, 0.9, 0.99, 1]

test('a quantile of a sketch is within 1 % of the exact one, whatever was added', () => {
  fc.assert(
    fc.property(durations, (values) => {
      const sketch = emptySketch()
      for (const value of values) addDuration(sketch, value)
      const exact = exactQuantiles(
        values.toSorted((a, b) => a - b),
        quantiles,
      )
      for (const [index, near] of sketchQuantiles(sketch, quantiles).entries()) {
        const truth = exact[index] ?? 0
        expect(Math.abs((near ?? 0) - truth)).toBeLessThanOrEqual(relativeError * truth + 1e-6)
      }
    }),
  )
})

test('sketches merge to the same, in whatever parts and order', () => {
  fc.assert(
    fc.property(durations, durations, (some, others) => {
      const sketchOf = (values: number[]) => {
        const sketch = emptySketch()
        for (const value of values) addDuration(sketch, value)
        return sketch
      }
      const merged = sketchOf(others)
      mergePacked(merged, packSketch(sketchOf(some)))
      expect(packSketch(merged)).toEqual(packSketch(sketchOf([...some, ...others])))
    }),
  )
})

test('exact quantiles lie between the nearest ranks', () => {
  expect(exactQuantiles([10, 20], [0.5, 0.9])).toEqual([15, 19])
  expect(exactQuantiles([7], [0.5, 0.9])).toEqual([7, 7])
  expect(exactQuantiles([], [0.5])).toEqual([null])
  expect(sketchQuantiles(emptySketch(), [0.5])).toEqual([null])
})

test('blocks and edges cover a span exactly, and no block above a quarter holds a dirty quarter', () => {
  const quarter = levels[0]
  const span = fc.record({ from: fc.integer({ min: 0, max: 400_000_000 }), length: fc.integer({ min: 1, max: 400_000_000 }) })
  const dirty = fc.array(
    fc.integer({ min: 0, max: 1_000 }).map((number) => number * quarter),
    { maxLength: 20 },
  )
  fc.assert(
    fc.property(span, dirty, ({ from, length }, unsorted) => {
      const sorted = unsorted.toSorted((a, b) => a - b)
      const { blocks, edges } = cut({ from, to: from + length }, sorted)
      const pieces = [...edges]
      for (const level of [0, 1, 2] as const) {
        for (const start of blocks[level]) {
          pieces.push({ from: start, to: start + levels[level] })
          if (level > 0) expect(sorted.some((one) => one >= start && one < start + levels[level])).toBe(false)
        }
      }
      pieces.sort((a, b) => a.from - b.from)
      expect(pieces[0]?.from).toBe(from)
      expect(pieces.at(-1)?.to).toBe(from + length)
      for (const [index, piece] of pieces.entries()) if (index > 0) expect(piece.from).toBe(pieces[index - 1]?.to)
      expect(edges.length).toBeLessThanOrEqual(2)
    }),
  )
})
