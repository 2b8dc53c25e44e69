// The day at a desk that the README works out by hand: its table is played, its answers are expected.
import { readFileSync } from 'node:fs'
import type { ConversationEvent, MediaUploaded } from '@fieldline/contracts/events'
import { StatsView } from '@fieldline/contracts/stats'
import { expect, test } from '@jest/globals'
import { DateTime } from 'luxon'
import { itemOf } from '../src/events.consumer.ts'
import { openSqliteFacts } from '../src/facts.store.sqlite.ts'
import { figures } from '../src/figures.ts'
import { ingest } from '../src/ingest.ts'
import { readQuestion } from '../src/question.ts'
import { rollUpDirty } from '../src/rollup.ts'
import { disorder, randomFrom } from './histories.ts'
import { recount } from './recount.ts'
import { anil, asha, meena, type Story, story, upload, type Who } from './story.ts'

const zone = 'Asia/Kolkata'
const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
const day = readme.slice(readme.indexOf('<!-- the day -->'), readme.indexOf('<!-- end of the day -->'))
const answers = [...day.matchAll(/```json\n([\s\S]+?)```/g)].map(([, json]) => StatsView.parse(JSON.parse(json ?? '')))
const asked = DateTime.fromISO('2026-11-02T18:30', { zone }).toJSDate()
const query = { from: '2026-11-02', to: '2026-11-02', tz: zone }
const people = new Map<string, Who>([asha, meena, anil].map((who) => [who.firstName, who]))
const farmerOf = (name: string): Who => ({ id: name.toLowerCase(), role: 'User', firstName: name, lastName: '' })

test.each([null, 1, 2])('has the figures that were worked out by hand, shuffled or not (%s)', async (seed) => {
  const { log, uploads } = play()
  const store = openSqliteFacts(':memory:')
  const events = [...log.flat(), ...uploads]
  for (const event of seed === null ? events : disorder(events, randomFrom(seed))) {
    const item = itemOf(event)
    await ingest(store, 'entry' in item ? { entries: [item.entry], uploads: [] } : { entries: [], uploads: [item.upload] })
  }
  const generation = await store.generation(await store.current())
  const byAdmin = readQuestion(query, { id: 'anil', role: 'Admin' }, asked, 366)
  const byAsha = readQuestion(query, { id: 'asha', role: 'Support' }, asked, 366)
  expect(await figures(generation, byAdmin, null, asked)).toEqual(answers[0])
  await rollUpDirty(store)
  expect(await figures(generation, byAdmin, null, asked)).toEqual(answers[0])
  expect(await figures(generation, byAsha, null, asked)).toEqual(answers[1])
  // So that the recount of the other tests is held to the same day.
  expect(recount(log, uploads, byAdmin, asked)).toEqual(answers[0])
  expect(recount(log, uploads, byAsha, asked)).toEqual(answers[1])
})

function play(): { log: ConversationEvent[][]; uploads: MediaUploaded[] } {
  const tales = new Map<string, Story>()
  const uploads: MediaUploaded[] = []
  const rows = [...day.matchAll(/^\| (\d{4}-\d\d-\d\d \d\d:\d\d) +\| (\w+)'s +\| ([^|]+?) +\|/gm)]
  expect(rows).toHaveLength(29)
  for (const [, when = '', owner = '', what = ''] of rows) {
    const at = DateTime.fromFormat(when, 'yyyy-MM-dd HH:mm', { zone }).toJSDate()
    const tale = tales.get(owner) ?? story(tales.size + 1, farmerOf(owner))
    tales.set(owner, tale)
    if (what.endsWith('uploads an image')) uploads.push(upload(uploads.length + 1, 'image', owner.toLowerCase(), at))
    else take(tale, what, at)
  }
  return { log: [...tales.values()].map(({ events }) => events), uploads }
}

function take(tale: Story, what: string, at: Date): Story {
  const named = /(\w+)$/.exec(what)?.[1] ?? ''
  if (what.endsWith('creates it')) return tale.created(at)
  if (what.endsWith('writes and reopens it')) return tale.reopen(at, true, false)
  if (what.startsWith('assigned to')) return tale.assign(people.get(named) ?? asha, at)
  if (what.startsWith('reassigned to')) return tale.assign(people.get(named) ?? asha, at, 'reassigned')
  if (what === 'given back, empty') return tale.empty(at)
  if (what === 'resolved') return tale.resolve(at)
  if (what === 'closed') return tale.close(at)
  const [, name = ''] = /^(\w+) writes$/.exec(what) ?? []
  if (name === '') throw new Error(`the table says "${what}", which nobody understands`)
  return tale.says(people.get(name) ?? farmerOf(name), at)
}
