// Stats as it runs: a process over RabbitMQ, killed, poisoned, with gaps, rebuilt while it answers.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { namespacedName } from '@fieldline/bus/bus'
import { apiBase } from '@fieldline/contracts/envelopes'
import type { ConversationEvent, MediaUploaded, StatsChanged } from '@fieldline/contracts/events'
import { StatsView } from '@fieldline/contracts/stats'
import { eventsExchange, signalsExchange, statsQueue } from '@fieldline/contracts/topology'
import { createHealth } from '@fieldline/service/health'
import { silentLogger } from '@fieldline/service/logger'
import { connectMongo } from '@fieldline/service/mongo'
import { backing } from '@fieldline/testing/backing'
import { describeWith } from '@fieldline/testing/describe-with'
import { admin, meena as agentMeena, rajesh as farmer, tokenFor } from '@fieldline/testing/factories'
import { api } from '@fieldline/testing/http'
import { eventually } from '@fieldline/testing/until'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { readQuestion } from '../src/question.ts'
import { type FakeConversation, startFakeConversation } from './fake-conversation.ts'
import { type Desk, desks, disorder, randomFrom } from './histories.ts'
import { recount } from './recount.ts'
import { createWorld, type World } from './running.ts'
import { asha, meena, story, upload } from './story.ts'

const begin = Date.parse('2026-10-23T05:00:00Z')
const range = 'from=2026-10-20&to=2026-11-20&tz=Europe/Berlin'
const path = `${apiBase}/support/stats`
const adminToken = tokenFor(admin)
const mongodb = await backing('mongodb')

await describeWith('rabbitmq', 'the stats service', (broker) => {
  const databases = ['sqlite', ...(mongodb ? ['mongodb'] : [])]
  describe.each(databases)('over %s', (kind) => {
    let conversation: FakeConversation
    let world: World
    // What does not depend on the database is tried once.
    const onSqlite = kind === 'sqlite' ? test : test.skip
    beforeAll(async () => {
      conversation = await startFakeConversation()
    })
    beforeEach(async () => {
      conversation.log.clear()
      world = await createWorld(broker, conversation.url, kind === 'mongodb' ? mongodb?.url : undefined)
    })
    afterEach(() => endWorld(world))
    afterAll(() => conversation.stop())

    async function endWorld(one: World): Promise<void> {
      await one.end()
      if (kind === 'mongodb' && mongodb) await dropDatabase(mongodb.url, `${one.namespace}fieldline_stats`)
    }

    onSqlite('answers the right people the right way', async () => {
      const { url } = await world.run()
      const { get } = api(url)
      expect((await get('/health/live')).status).toBe(200)
      await eventually(async () => (await get('/health/ready')).status === 200, { what: 'readiness' })
      expect((await get(path)).status).toBe(401)
      expect((await get(path, { token: tokenFor(farmer) })).status).toBe(403)
      expect((await get(`${path}?agentId=somebody-else`, { token: tokenFor(agentMeena) })).status).toBe(403)
      const own = await get(path, { token: tokenFor(agentMeena) })
      expect(own.status).toBe(200)
      expect(own.body.message).toBe('Statistics fetched successfully')
      expect(own.body.data.agents).toMatchObject([{ agent: { _id: 'meena', role: 'Support' }, active: 0, messages: 0 }])
      const all = await get(path, { token: adminToken })
      expect(StatsView.parse(all.body.data)).toEqual(all.body.data)
      expect(all.body.data.perDay).toHaveLength(30)
      for (const [query, field] of [
        ['from=yesterday', 'from'],
        ['to=2026-02-30', 'to'],
        ['from=2026-11-05&to=2026-11-01', 'from'],
        ['tz=Mars/Olympus', 'tz'],
        ['from=2020-01-01&to=2026-01-01', 'from'],
        ['from=2026-11-01&from=2026-11-02', 'from'],
      ]) {
        const { status, body } = await get(`${path}?${query}`, { token: adminToken })
        expect({ query, status, code: body.code, field: body.details[0].field }).toEqual({
          query,
          status: 400,
          code: 'VALIDATION_FAILED',
          field,
        })
      }
      expect((await get('/metrics')).text).toContain('fieldline_stats_lag_seconds')
    })

    test('equals a recount after kills at random moments, whatever the history and the order and number its events come in', async () => {
      const arbitrary = fc.record({ desk: desks(begin, { least: 10, most: 20 }), seed: fc.integer() })
      const property = fc.asyncProperty(arbitrary, ({ desk, seed }) => survivesKills(desk, randomFrom(seed)))
      // A history takes seconds, so a failing one is not shrunk; fast-check prints the seed that replays it.
      await fc.assert(property, { numRuns: kind === 'sqlite' ? 4 : 2, endOnFailure: true })
    }, 120_000)

    async function survivesKills(desk: Desk, random: () => number): Promise<void> {
      const own = await createWorld(broker, conversation.url, kind === 'mongodb' ? mongodb?.url : undefined)
      const events = disorder([...desk.log.flat(), ...desk.uploads], random)
      const kills = new Set(Array.from({ length: 1 + Math.floor(random() * 3) }, () => Math.floor(random() * events.length)))
      const published: Promise<void>[] = []
      try {
        let process = own.launch({ STATS_PREFETCH: '20' })
        for (const [index, event] of events.entries()) {
          published.push(own.publish(event))
          if (!kills.has(index)) continue
          // Some die while they start, most while they count what was published so far.
          if (random() < 0.8) await process.url()
          process.kill('SIGKILL')
          await process.exited
          process = own.launch({ STATS_PREFETCH: '20' })
        }
        await Promise.all(published)
        await expectRecount(await process.url(), desk.log, desk.uploads)
      } finally {
        await endWorld(own)
      }
    }

    test('asks the log for what never comes', async () => {
      const tale = story(1).created(day(9)).says(asFarmer, day(10)).assign(asha, day(11)).says(asha, day(12)).resolve(day(13))
      conversation.add(tale.events)
      const { url } = await world.run()
      const [, lost] = tale.events
      for (const event of tale.events) if (event !== lost) await world.publish(event)
      await expectRecount(url, [tale.events], [])
      expect((await api(url).get('/metrics')).text).toMatch(/fieldline_stats_fetched_events_total\{[^}]*\} [1-9]/)
    })

    onSqlite('puts poison aside after its attempts, counts its neighbours, and takes it back on command', async () => {
      const tale = story(1).created(day(9)).says(asFarmer, day(10)).assign(asha, day(11)).says(asha, day(12))
      const { url } = await world.run({ STATS_MAX_ATTEMPTS: '2' })
      const [first, ...rest] = tale.events
      const exchange = namespacedName(eventsExchange, world.namespace)
      const queue = namespacedName(statsQueue, world.namespace)
      const raw = (id: string, body: unknown) => world.bus.publish({ exchange, routingKey: 'message.created', id, body, carrier: {} })
      await raw('no-json', Buffer.from('{"no json'))
      await raw('no-event', { hello: 'world' })
      // The first of a conversation is always its creation: this one throws in the tally, each time.
      await raw('no-beginning', { ...(rest[0] as ConversationEvent), conversationid: 'f'.repeat(24), eventno: 1 })
      for (const event of tale.events) await world.publish(event)
      await expectRecount(url, [tale.events], [])
      expect(first).toBeDefined()
      await eventually(async () => (await world.bus.deadLetters(queue)) === 3, { what: 'three dead letters', timeoutMs: 30_000 })
      await eventually(async () => /fieldline_stats_dead_letters\{[^}]*\} 3/.test((await api(url).get('/metrics')).text), {
        what: 'the metric',
      })
      const { text } = await api(url).get('/metrics')
      const handled = (outcome: string) =>
        Number(new RegExp(`stats_events_total\\{[^}]*outcome="${outcome}"[^}]*\\} (\\d+)`).exec(text)?.[1])
      expect({ done: handled('done'), retry: handled('retry'), dead: handled('dead') }).toEqual({
        done: tale.events.length,
        retry: 1,
        dead: 3,
      })
      const lag = Number(/fieldline_stats_lag_seconds\{[^}]*\} ([\d.]+)/.exec(text)?.[1])
      const ages = tale.events.map(({ time }) => (Date.now() - Date.parse(time)) / 1_000)
      expect(ages.some((age) => Math.abs(age - lag) < 60)).toBe(true)
      expect(await command('scripts/stats-replay.ts', world.env)).toMatchObject({ code: 0, out: expect.stringContaining('3 tried again') })
      await eventually(async () => (await world.bus.deadLetters(queue)) === 3, { what: 'the same three again', timeoutMs: 30_000 })
    })

    test('is counted anew while it goes on counting and answering', async () => {
      const [desk] = fc.sample(desks(begin, { least: 60, most: 60 }), { numRuns: 1, seed: 3 })
      if (!desk) throw new Error('no history')
      const { url } = await world.run()
      // One conversation's events were lost altogether, another's are wrong in the log's favour: neither was ever published.
      const [never, ...published] = desk.log
      conversation.add(desk.log.flat())
      for (const event of [...published.slice(0, 30).flat(), ...desk.uploads]) await world.publish(event)
      await expectRecount(url, published.slice(0, 30), desk.uploads)
      const late = published.slice(30)
      let answers = 0
      const rebuilding = command('scripts/stats-rebuild.ts', world.env)
      const busy = (async () => {
        for (const events of late) {
          for (const event of events) await world.publish(event)
          if ((await api(url, adminToken).get(`${path}?${range}`)).status === 200) answers += 1
        }
      })()
      const [rebuilt] = await Promise.all([rebuilding, busy])
      expect(rebuilt).toMatchObject({ code: 0, out: expect.stringContaining('Generation 2 is in use') })
      expect(answers).toBe(late.length)
      await expectRecount(url, [never ?? [], ...published], desk.uploads)
      expect(await command('scripts/stats-verify.ts', world.env)).toMatchObject({ code: 0, out: expect.stringContaining(' 0 differences') })
    })

    onSqlite('tells the desks that figures changed, a while apart at most', async () => {
      const heard: number[] = []
      const bindings = [{ exchange: namespacedName(signalsExchange, world.namespace), keys: ['stats.changed'] }]
      const listener = await world.bus.listen(
        bindings,
        (delivery) => {
          heard.push(Date.parse((delivery.body as StatsChanged).at))
          delivery.ack()
        },
        { prefetch: 10, onResubscribed: () => undefined },
      )
      const { url } = await world.run()
      const tale = story(1).created(day(1))
      for (let hour = 2; hour < 42; hour += 1) tale.says(asFarmer, day(hour))
      for (const event of tale.events) await world.publish(event)
      await world.publish(upload(1, 'image', meena.id, day(3)))
      await expectRecount(url, [tale.events], [upload(1, 'image', meena.id, day(3))])
      await eventually(() => heard.length >= 1, { what: 'a signal' })
      for (const [index, at] of heard.entries()) if (index > 0) expect(at - (heard[index - 1] ?? 0)).toBeGreaterThan(290)
      await listener.stop()
    })
  })
})

const asFarmer = { id: 'rajesh', role: 'User' as const, firstName: 'Rajesh', lastName: 'Kumar' }

function day(hours: number): Date {
  return new Date(begin + hours * 3_600_000)
}

async function expectRecount(url: string, log: ConversationEvent[][], uploads: MediaUploaded[]): Promise<void> {
  const { get } = api(url, adminToken)
  const question = readQuestion(
    { tz: 'Europe/Berlin', from: '2026-10-20', to: '2026-11-20' },
    { id: 'admin', role: 'Admin' },
    new Date(),
    366,
  )
  let last: unknown
  await eventually(
    async () => {
      const { body } = await get(`${path}?${range}`)
      last = timeless(body.data)
      expect(last).toEqual(timeless(recount(log, uploads, question, new Date())))
      return true
    },
    { timeoutMs: 30_000, what: 'a recount' },
  ).catch(() => expect(last).toEqual(timeless(recount(log, uploads, question, new Date()))))
}

/** The oldest wait grows while we look. */
function timeless(view: StatsView): unknown {
  return { ...view, queue: { ...view.queue, oldestWaitSeconds: view.queue.oldestWaitSeconds === null ? null : 'some' } }
}

async function command(script: string, env: Record<string, string>): Promise<{ code: number; out: string }> {
  const { PATH, HOME } = process.env
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script], {
    env: { PATH, HOME, NODE_OPTIONS: '', ...env },
  })
  let out = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (out += text))
  const [code] = await once(child, 'close')
  return { code, out }
}

async function dropDatabase(url: string, database: string): Promise<void> {
  const part = connectMongo(url, database, { log: silentLogger, health: createHealth() })
  await part.start()
  await part.connection.dropDatabase()
  await part.stop()
}
