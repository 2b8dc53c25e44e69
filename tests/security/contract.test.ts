// The whole keeps the OpenAPI document: every operation driven with input generated from it, good and bad, and every answer judged by it (issue 9, item 6).
import { operations } from '@fieldline/contracts/openapi-operations'
import { expect, test } from '@jest/globals'
import { driveContract } from '../../services/gateway/test/contract/drive.ts'
import { onTheWhole, tokenOf } from './stage.ts'

onTheWhole({}, (stage) => {
  test('no answer differs from the document, whatever is asked; each operation succeeded once at least', async () => {
    const tokens = { farmer: tokenOf('rajesh'), agent: tokenOf('asha'), admin: tokenOf('meena') }
    const report = await driveContract({ baseUrl: stage.url(), tokens, runs: 10, seed: 42 })
    expect(report.faults).toEqual([])
    for (const { id } of operations) {
      expect({ id, succeeded: report.seen[id]?.some((status) => status < 300) }).toEqual({ id, succeeded: true })
      expect({ id, refused: report.seen[id]?.some((status) => status >= 400 && status < 500) }).toEqual({ id, refused: true })
    }
    expect(report.calls).toBeGreaterThan(400)
  }, 60_000)
})
