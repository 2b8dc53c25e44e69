// The contract test's own test: against a stand-in that keeps the contract it finds nothing, against one that breaks it, everything.

import { operations } from '@fieldline/contracts/openapi-operations'
import { afterEach, expect, test } from '@jest/globals'
import { driveContract } from './contract/drive.ts'
import { type Stub, stub } from './contract/stub.ts'
import { gateway, type Stage, tokenOf } from './support/stage.ts'

const opened: (Stub | Stage)[] = []
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.stop()
})

const tokens = { farmer: tokenOf('user123', 'User'), agent: tokenOf('support123', 'Support'), admin: tokenOf('admin123', 'Admin') }
async function stageFor(lie?: Parameters<typeof stub>[0]): Promise<string> {
  const service = await stub(lie)
  opened.push(service)
  const stage = await gateway({ ALL_URL: service.url })
  opened.push(stage)
  return stage.url
}

test('a service that keeps the contract is found without fault, through the gateway, each call having succeeded', async () => {
  const report = await driveContract({ baseUrl: await stageFor(), tokens, runs: 5, seed: 42 })
  expect(report.faults).toEqual([])
  for (const { id } of operations) {
    expect({ id, succeeded: report.seen[id]?.some((status) => status < 300) }).toEqual({ id, succeeded: true })
    expect({ id, refused: report.seen[id]?.some((status) => status >= 400 && status < 500) }).toEqual({ id, refused: true })
  }
  expect(report.calls).toBeGreaterThan(400)
})

test('every lie of a service is found', async () => {
  const baseUrl = await stageFor((operation, sent, res) => {
    const data = sent.data as Record<string, unknown>
    if (operation.id === 'getConversation') delete data.status
    if (operation.id === 'listAgents') (sent.data as Record<string, unknown>[])[0] = { ...(sent.data as object[])[0], password: 'x' }
    if (operation.id === 'getStats') res.status(500).json({ oops: 'a stack trace' })
    if (operation.id === 'markRead') res.status(418).json({})
    if (operation.id === 'listConversations') res.type('html').send('<p>')
    if (operation.id === 'claimConversation') res.status(409).json({ success: false, message: 'x', code: 'FORBIDDEN', requestId: 'other' })
  })
  const { faults } = await driveContract({ baseUrl, tokens, runs: 1, seed: 1 })
  const found = (id: string) =>
    faults
      .filter(({ operation }) => operation === id)
      .map(({ fault }) => fault)
      .join('\n')
  expect(found('getConversation')).toMatch(/does not fit/)
  expect(found('listAgents')).toMatch(/additional properties/)
  expect(found('getStats')).toMatch(/does not fit/)
  expect(found('markRead')).toMatch(/418 is not documented/)
  expect(found('listConversations')).toMatch(/is not JSON/)
  expect(found('claimConversation')).toMatch(/FORBIDDEN does not go with 409[\s\S]*requestId and X-Request-Id differ/)
  expect(faults.map(({ operation }) => operation)).not.toContain('setAvailability')
})
