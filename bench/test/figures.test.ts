// The verdict on a figure: medians of per-round ratios, goals, and a floor that moved too much to say anything.
import { describe, expect, test } from '@jest/globals'
import { type Figure, goalText, judge, median } from '../lib/figures.ts'
import { draw } from '../lib/plot.ts'
import { meanBetween, scrape } from '../lib/prometheus.ts'
import { timesText } from '../lib/report.ts'
import { alternate } from '../lib/rounds.ts'

const figure = (pairs: Figure['pairs'], goals: Figure['goals'] = [{ of: 'ratio', atMost: 1.5 }]): Figure => ({
  ...{ name: 'deliver p50', unit: 'ms' },
  pairs,
  goals,
})

describe('judging', () => {
  test('the ratio is the median of the rounds’ ratios, not the ratio of medians', () => {
    const judged = judge(
      figure([
        { floor: 10, product: 10 },
        { floor: 12, product: 24 },
        { floor: 14, product: 14 },
      ]),
    )
    expect(judged).toMatchObject({ floor: 12, product: 14, ratio: 1, ratioRange: [1, 2], verdict: 'met' })
  })

  test('a floor that spreads over 1.5× voids the figure, whatever the ratio, and one without a goal too', () => {
    const pairs = [
      { floor: 10, product: 10 },
      { floor: 15.1, product: 15.1 },
    ]
    expect(judge(figure(pairs)).verdict).toBe('void')
    expect(judge(figure(pairs, [])).verdict).toBe('void')
    expect(judge(figure(pairs.slice(1), [])).verdict).toBe('shown')
  })

  test('every goal has to hold, of the ratio and of the product alone', () => {
    const pairs = [{ floor: 20, product: 35 }]
    const goals = [{ of: 'ratio', atMost: 2 } as const, { of: 'product', atMost: 30 } as const]
    expect(judge(figure(pairs, goals)).verdict).toBe('missed')
    expect(judge(figure(pairs, goals.slice(0, 1))).verdict).toBe('met')
    expect(judge(figure(pairs, [{ of: 'ratio', atLeast: 1.8 }])).verdict).toBe('missed')
    expect(goals.map((goal) => goalText(goal, 'ms'))).toEqual(['≤ 2×', '≤ 30 ms'])
  })

  test('a median of an even number lies between the middle two; of nothing there is none', () => {
    expect(median([4, 1, 3, 2])).toBe(2.5)
    expect(() => median([])).toThrow('no median')
  })
})

test('a run says how long each row took, a failed one too, and all together', () => {
  const row = (name: string, seconds: number) => ({
    row: { name, what: name, run: () => Promise.reject(new Error('not run')) },
    figures: [],
    seconds,
  })
  expect(timesText([row('send', 12.4), { ...row('ws', 3), failure: 'lost' }], 16.8)).toBe('send 12 s, ws 3 s; 17 s in all')
})

test('rounds alternate who goes first', async () => {
  const order: string[] = []
  const side = (name: string) => async (round: number) => order.push(`${name}${round}`)
  const pairs = await alternate({ rounds: 3, progress: () => undefined }, { floor: side('floor'), product: side('product') })
  expect(order).toEqual(['floor0', 'product0', 'product1', 'floor1', 'floor2', 'product2'])
  expect(pairs).toHaveLength(3)
})

test('a hop’s mean is what its histogram grew by, for the labels asked', () => {
  const at = (sum: number, count: number) =>
    scrape(
      `# HELP x_seconds x\nx_seconds_sum{peer="a"} ${sum}\nx_seconds_count{peer="a"} ${count}\nx_seconds_sum{peer="b"} 99\nx_seconds_count{peer="b"} 9\n`,
    )
  expect(meanBetween(at(1, 10), at(4, 16), 'x_seconds', { peer: 'a' })).toBeCloseTo(0.5)
})

test('a chart is drawn with its title and both sides', () => {
  const points = [[50, 2] as const, [99, 8] as const]
  const svg = draw({
    title: 'send → deliver',
    kind: 'percentiles',
    unit: 'ms',
    series: [
      { name: 'floor', points },
      { name: 'product', points },
    ],
  })
  for (const part of ['<svg', 'send → deliver', 'floor', 'product']) expect(svg).toContain(part)
})
