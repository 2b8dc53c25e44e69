// The broker itself (quality "Lossless" 4–6): killed, away, back, short of memory. A RabbitMQ of the test's own, so that it may be killed.

import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { eventually } from '../support/client.ts'
import { type OwnRabbit, ownRabbit, rabbitServer } from '../support/own-rabbit.ts'
import { type Agent, type Farmer, heard, join, type Scene, say, scene } from '../support/scene.ts'
import { startServices, type Whole } from '../support/whole.ts'

/** How long the broker stays away; quality.md names a minute: FAULT_OUTAGE_MS=60000. */
const outageMs = Number(process.env.FAULT_OUTAGE_MS || 12_000)
const backWithinMs = 30_000
/** Readiness while the broker is away: who still answers for its clients stays ready, and tells. */
const readiness = { conversation: 200, media: 200, realtime: 503, stats: 503 }

const script = rabbitServer('the broker killed and blocked')
describe.each(script ? [script] : [])('the broker killed and blocked', (rabbitScript) => {
  let broker: OwnRabbit
  let whole: Whole
  let people: Scene
  let asha: Agent

  beforeAll(async () => {
    broker = await ownRabbit(rabbitScript)
    await broker.start()
    whole = await startServices({ env: { AMQP_URL: broker.url, AGENT_CAPACITY: '100', AGENT_GRACE_MS: '600000' } })
    people = scene(whole)
    asha = await people.agent('asha')
  }, 120_000)
  afterAll(async () => {
    people?.close()
    await whole?.stop()
    await broker?.remove()
  }, 40_000)

  async function farmersWatched(count: number): Promise<Farmer[]> {
    const farmers = await Promise.all(Array.from({ length: count }, () => people.farmer()))
    for (const { conversationId } of farmers) await join(asha.client, conversationId)
    return farmers
  }

  async function expectAllHeard(farmers: readonly Farmer[], each: number, withinMs: number) {
    for (const { conversationId } of farmers) {
      await eventually(() => heard(asha.client, conversationId).length >= each, withinMs)
    }
    for (const farmer of farmers) await say(farmer, farmer.conversationId, `${farmer.id} last`)
    for (const { id, conversationId } of farmers) {
      await asha.client.next('message:new', ({ message }) => message.content === `${id} last`, 30_000)
      const history = await people.history(conversationId)
      expect(heard(asha.client, conversationId)).toEqual(history)
      expect(history.map(({ seq }) => seq)).toEqual(Array.from({ length: each + 1 }, (_, index) => index + 1))
    }
  }

  test(`4, 5: the broker killed and away ${outageMs / 1_000} s: sends are answered all the while, readiness tells, all are back within 30 s, the backlog arrives in order`, async () => {
    const farmers = await farmersWatched(3)
    await broker.kill()
    const gone = performance.now()
    const first = performance.now()
    for (const farmer of farmers) expect(await say(farmer, farmer.conversationId, `${farmer.id} 1`, 5_000)).toMatchObject({ seq: 1 })
    expect(performance.now() - first).toBeLessThan(5_000)
    for (const [service, status] of Object.entries(readiness)) {
      await eventually(async () => {
        const now = await people.ready(whole.processOf(service).url)
        return now.status === status && now.down.includes('broker')
      })
    }
    // Spread over the outage, so that every pause between attempts to reconnect sees some.
    for (let count = 2; count <= 12; count += 1) {
      await eventually(() => performance.now() - gone >= (outageMs * count) / 12, outageMs)
      for (const farmer of farmers) {
        expect(await say(farmer, farmer.conversationId, `${farmer.id} ${count}`, 5_000)).toMatchObject({ seq: count })
      }
    }
    await broker.start()
    const back = performance.now()
    for (const service of Object.keys(readiness)) {
      await eventually(async () => {
        const now = await people.ready(whole.processOf(service).url)
        return now.status === 200 && !now.down.includes('broker')
      }, backWithinMs)
    }
    expect(performance.now() - back).toBeLessThan(backWithinMs)
    await expectAllHeard(farmers, 12, backWithinMs)
  }, 180_000)

  test('6: the broker blocks: sends are answered, memory stays flat, and everything arrives once it takes again', async () => {
    const each = 25
    const burst = async (): Promise<Farmer[]> => {
      const farmers = await farmersWatched(12)
      const content = 'x'.repeat(3_900)
      await Promise.all(
        farmers.map(async (farmer) => {
          for (let count = 1; count <= each; count += 1)
            await say(farmer, farmer.conversationId, `${farmer.id} ${count} ${content}`, 20_000)
        }),
      )
      return farmers
    }
    await expectAllHeard(await burst(), each, 30_000)
    const before = residentBytes(whole.processOf('conversation').pid)
    await broker.block()
    const blocked = await burst()
    const grown = residentBytes(whole.processOf('conversation').pid) - before
    const arrived = blocked.map(({ conversationId }) => heard(asha.client, conversationId).length)
    expect(Math.max(...arrived)).toBeLessThan(each)
    expect(grown).toBeLessThan(64 * 2 ** 20)
    await broker.unblock()
    await expectAllHeard(blocked, each, 60_000)
  }, 180_000)
})

/** RSS of a process, from the kernel. */
function residentBytes(pid: number): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kilobytes) * 1_024
}
