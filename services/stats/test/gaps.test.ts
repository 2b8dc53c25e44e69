// Gaps are filled from conversation's log, and one that can't be holds up nobody.
import { AppError } from '@fieldline/contracts/errors'
import { createHealth } from '@fieldline/service/health'
import { createInternalTokens } from '@fieldline/service/internal'
import { silentLogger } from '@fieldline/service/logger'
import { createPeer } from '@fieldline/service/peer'
import { testInternalSecret } from '@fieldline/testing/factories'
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { entryOf } from '../src/entries.ts'
import { openSqliteFacts } from '../src/facts.store.sqlite.ts'
import type { FactsStore } from '../src/facts.store.ts'
import { createFeed, type Feed } from '../src/feed.ts'
import { fillGaps } from '../src/gaps.ts'
import { ingest } from '../src/ingest.ts'
import { type FakeConversation, startFakeConversation } from './fake-conversation.ts'
import { rajesh, type Story, story } from './story.ts'

const at = (minute: number) => new Date(Date.parse('2026-11-02T09:00:00Z') + minute * 60_000)
let conversation: FakeConversation
let peer: ReturnType<typeof createPeer>
let feed: Feed
let store: FactsStore
let now: Date

beforeAll(async () => {
  conversation = await startFakeConversation()
  const internalTokens = createInternalTokens({ secrets: [testInternalSecret], name: 'stats' })
  peer = createPeer({ name: 'conversation', url: conversation.url, internalTokens, log: silentLogger, health: createHealth() })
  feed = createFeed(peer)
})
beforeEach(() => {
  conversation.log.clear()
  store = openSqliteFacts(':memory:')
  now = new Date()
})
afterAll(async () => {
  await peer.stop?.()
  await conversation.stop()
})

const told = (number: number) => story(number).created(at(0)).says(rajesh, at(1)).says(rajesh, at(2))
/** Only the last of its events has come. */
const comesEarly = async ({ events }: Story) => ingest(store, { entries: events.slice(-1).map(entryOf), uploads: [] })
const headOf = async ({ id }: Story) => (await (await store.generation(1)).heads([id])).get(id)?.eventNo
/** A round of the filler, `seconds` after the last one. */
async function fill(seconds: number): Promise<number> {
  now = new Date(now.getTime() + seconds * 1_000)
  return fillGaps({ store, feed, log: silentLogger, waitMs: 5_000, now: () => now, onFilled: () => undefined })
}

test('a gap whose events the log cannot give, or that cannot be counted, holds up no other, and is tried again later', async () => {
  const [unknown, broken, sound] = [told(1), told(2), told(3)]
  // A log that begins in the middle: its first event is no creation.
  conversation.add(broken.events.slice(1).map((event, index) => ({ ...event, eventno: index + 1 })))
  conversation.add(sound.events)
  for (const tale of [unknown, broken, sound]) await comesEarly(tale)
  expect(await fill(6)).toBe(3)
  expect(await headOf(sound)).toBe(3)
  expect(await fill(6)).toBe(0)
  conversation.log.clear()
  conversation.add([...unknown.events, ...broken.events])
  expect(await fill(60)).toBe(2)
  expect([await headOf(unknown), await headOf(broken)]).toEqual([3, 3])
})

test('more gaps that stay than are looked at in one round do not starve those behind them', async () => {
  for (let number = 1; number <= 200; number += 1) await comesEarly(told(number))
  const sound = told(999)
  conversation.add(sound.events)
  await comesEarly(sound)
  expect(await fill(6)).toBe(200)
  await fill(1)
  expect(await headOf(sound)).toBe(3)
})

test('while conversation is away every gap keeps its turn', async () => {
  await comesEarly(told(1))
  const away = createFeed({ call: () => Promise.reject(new AppError('UNAVAILABLE', 'conversation is not available now')) })
  now = new Date(now.getTime() + 6_000)
  const options = { store, feed: away, log: silentLogger, waitMs: 5_000, now: () => now, onFilled: () => undefined }
  await expect(fillGaps(options)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  expect(await fill(0)).toBe(1)
})

test('a conversation of the longest messages is fetched whole', async () => {
  const tale = story(1).created(at(0))
  for (let minute = 1; minute <= 900; minute += 1) tale.says(rajesh, at(minute))
  for (const event of tale.events) if (event.type === 'message.created') event.data.message.content = '\u0001'.repeat(4_000)
  conversation.add(tale.events)
  await comesEarly(tale)
  await fill(6)
  expect(await headOf(tale)).toBe(901)
})
