// Beyond so many samples median and p90 come from sketches: as near as they say, for the desk and each agent, and average and count stay exact.
import { expect, test } from '@jest/globals'
import { openSqliteFacts } from '../src/facts.store.sqlite.ts'
import { figures, mostExactSamples } from '../src/figures.ts'
import { readQuestion } from '../src/question.ts'
import { rollUpGeneration } from '../src/rollup.ts'
import { exactQuantiles, relativeError } from '../src/sketch.ts'
import type { Fact } from '../src/tally.ts'
import { idOf } from './story.ts'

const now = new Date('2026-11-23T12:00:00Z')
const from = Date.parse('2026-11-02T00:00:00Z')
const question = readQuestion({ tz: 'Asia/Kolkata', from: '2026-11-02' }, { id: 'anil', role: 'Admin' }, now, 366)
const agents = ['asha', 'meena']

/** First responses of seconds to hours, now by one agent, now by the other. */
const responses = (count: number): Fact[] =>
  Array.from({ length: count }, (_, index) => ({
    ...{ conversationId: idOf(index + 1), eventNo: 4, kind: 'message', at: from + index * 60_000, detail: 'Support', first: true },
    ...{ agentId: agents[index % 2] ?? '', holderId: null, ms: 1_000 + ((index * 7_919) % 10_007) * 1_000 },
  }))

async function shown(facts: Fact[]) {
  const generation = await openSqliteFacts(':memory:').generation(1)
  const named = agents.map((id) => ({ id, role: 'Support' as const, firstName: id, lastName: '', at: 0 }))
  await generation.write({ facts, moves: [], early: [], agents: named })
  await rollUpGeneration(generation)
  const view = await figures(generation, question, null, now)
  const secondsOf = (agent: string | null) =>
    facts.flatMap(({ agentId, ms }) => (agent === null || agentId === agent ? [(ms ?? 0) / 1_000] : [])).sort((a, b) => a - b)
  return [
    { seen: view.firstResponseTime, exact: secondsOf(null) },
    ...view.agents.map(({ agent, firstResponseTime: seen }) => ({ seen, exact: secondsOf(agent._id) })),
  ]
}

test.each([mostExactSamples, mostExactSamples + 1])('%d samples', async (count) => {
  const compared = await shown(responses(count))
  expect(compared.map(({ seen }) => seen.count)).toEqual([count, Math.ceil(count / 2), Math.floor(count / 2)])
  for (const { seen, exact } of compared) {
    expect(seen.average).toBeCloseTo(exact.reduce((sum, value) => sum + value, 0) / exact.length, 2)
    const error = count > mostExactSamples ? relativeError : 0
    for (const [index, near] of [seen.median, seen.p90].entries()) {
      const truth = exactQuantiles(exact, [0.5, 0.9])[index] ?? 0
      expect(Math.abs((near ?? 0) - truth)).toBeLessThanOrEqual(error * truth + 0.001)
    }
  }
})
