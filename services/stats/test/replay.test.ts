// Dead letters of an embedded run are handled on command, beside it.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { namespaced, Poison } from '@fieldline/bus/bus'
import { connectBus } from '@fieldline/bus/connect'
import { eventsExchange, statsQueue, topology } from '@fieldline/contracts/topology'
import { expect, test } from '@jest/globals'
import { openSqliteFacts } from '../src/facts.store.sqlite.ts'
import { replayDead } from '../src/replay.ts'
import { rajesh, story } from './story.ts'

test('what an embedded run gave up is counted by the command, what is hopeless stays', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'stats-'))
  const bus = await connectBus('memory:given-up', {
    topology: namespaced(topology, ''),
    name: 'test',
    deadLetterFile: join(folder, 'dead-letters.db'),
  })
  const giveUp = async () => {
    throw new Poison('a fault of that day')
  }
  await bus.consume(statsQueue, giveUp, { prefetch: 10, maxAttempts: 1, handlerTimeoutMs: 1_000 })
  const tale = story(1).created(new Date('2026-11-02T09:00:00Z')).says(rajesh, new Date('2026-11-02T09:01:00Z'))
  const publish = (id: string, body: unknown) => bus.publish({ exchange: eventsExchange, routingKey: 'message.created', id, body })
  for (const event of tale.events) await publish(event.id, event)
  await publish('hopeless', { hello: 'world' })
  await bus.close()
  const databaseUrl = `sqlite:${join(folder, 'stats.db')}`
  const config = { databaseUrl, brokerUrl: 'memory:fieldline', namespace: '', prefetch: 10, logLevel: 'silent' }
  expect(await replayDead(config, 100)).toEqual({ replayed: 3, left: 1 })
  const store = openSqliteFacts(join(folder, 'stats.db'))
  expect((await (await store.generation(1)).heads([tale.id])).get(tale.id)?.eventNo).toBe(2)
  await store.close()
  await rm(folder, { recursive: true })
})
