// The seed's two samples (quality "Lossless" 18): they join once and never again, lose their connection 20 times, and show the whole history, once, in order; replicas killed under them too.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { MongoClient } from 'mongodb'
import { eventually } from '../support/client.ts'
import { type Link, link } from '../support/link.ts'
import { chance } from '../support/random.ts'
import { flutterScreen, nextScreen, type Screen } from '../support/samples.ts'
import { type Agent, answered, line, type Scene, say, scene } from '../support/scene.ts'
import { needAll } from '../support/servers.ts'
import { kill, startServices, type Whole } from '../support/whole.ts'

const cuts = 20
const kills = 4

const suite = needAll('the seed’s two samples', 'AMQP_URL', 'MONGODB_URL')
describe.each(suite ? [suite] : [])('%s', () => {
  let toGateway: Link
  let whole: Whole
  let people: Scene

  beforeAll(async () => {
    // How long a new socket has before a record is taken over is shortened: these clients never join again, and 20 waits add up.
    whole = await startServices({
      replicas: 'realtime=2',
      env: { TAKEOVER_MS: '300', CONFIRM_MS: '50', TYPING_EVERY_MS: '0', PRESENCE_LEASE_MS: '3000', AGENT_GRACE_MS: '3600000' },
    })
    toGateway = await link(Number(new URL(whole.url).port))
    people = scene(whole)
  }, 90_000)
  afterAll(async () => {
    people?.close()
    await toGateway?.close()
    await whole?.stop()
  }, 40_000)

  test(`18: the samples, unmodified, through ${cuts} lost connections show the whole history, once, in order`, async () => {
    const random = chance('samples')
    const asha: Agent = await people.agent('asha')
    // Known to be there, she goes on with the sample alone: one device, so that its record is the one taken over.
    const farmer = await people.farmer()
    const { conversationId } = farmer
    asha.client.close()
    for (const index of [1, 2, 3]) await say(farmer, conversationId, `before ${index}`)
    const url = `http://127.0.0.1:${toGateway.port}`
    const phone = flutterScreen(url, farmer.token, conversationId)
    const desk = nextScreen(url, asha.token, conversationId)
    const screens = [phone, desk]
    try {
      await Promise.all(screens.map(({ started }) => started))
      const confirmed = screens.map(watchConfirmation)
      await Promise.all([roundTrip(phone, desk, conversationId), roundTrip(desk, phone, conversationId)])

      for (let cut = 1; cut <= cuts; cut += 1) {
        for (const [who, screen] of [
          ['farmer', phone],
          ['agent', desk],
        ] as const) {
          screen.send(`${who} says ${cut}`)
        }
        await bothShow(screens, [`farmer says ${cut}`, `agent says ${cut}`])
        await Promise.all(confirmed.map((each) => each()))
        // What they say last before the cut shows that the pongs before it have arrived.
        await Promise.all([roundTrip(phone, desk, conversationId), roundTrip(desk, phone, conversationId)])

        const ended = Promise.all(screens.map((screen) => new Promise((resolve) => screen.socket().once('disconnect', resolve))))
        const long = random.next() < 0.25
        if (long) toGateway.cut()
        else toGateway.drop()
        await ended
        for (const each of [farmer, asha]) await say(each, conversationId, `${each.id} while away ${cut}`)
        if (long) toGateway.restore()
        await bothShow(screens, [`${farmer.id} while away ${cut}`, `asha while away ${cut}`])
      }
      await say(farmer, conversationId, 'the end')
      await bothShow(screens, ['the end'])
      const history = await people.history(conversationId)
      expect(history).toHaveLength(3 + cuts * 4 + 1)
      for (const screen of screens) expect(screen.messages().map(line)).toEqual(history)
    } finally {
      for (const screen of screens) screen.close()
    }
  }, 180_000)

  test(`the samples, unmodified, while replicas are killed ${kills} times with kill -9, get their rooms and what they missed, in order`, async () => {
    const meena: Agent = await people.agent('meena')
    const farmer = await people.farmer()
    const { conversationId } = farmer
    await answered(() => people.admin('POST', '/support/reassign', { conversationId, supportId: meena.id }))
    meena.client.close()
    const phone = flutterScreen(whole.url, farmer.token, conversationId)
    const desk = nextScreen(whole.url, meena.token, conversationId)
    const screens = [phone, desk]
    try {
      await Promise.all(screens.map(({ started }) => started))
      await Promise.all([roundTrip(phone, desk, conversationId), roundTrip(desk, phone, conversationId)])
      // A join is recorded PRESENCE_FLUSH_MS after it was wished for; from then on no kill may come between.
      await recorded(whole, [farmer.id, meena.id], conversationId)
      for (let round = 1; round <= kills; round += 1) {
        phone.send(`farmer says ${round}`)
        await bothShow(screens, [`farmer says ${round}`])
        // Whoever's replica it is; both go in turn, and a killed one is back before the other goes.
        const replica = 1 + (round % 2)
        const restarted = whole.nextStart('realtime')
        kill(whole.processOf('realtime', replica).pid)
        for (const each of [farmer, meena]) await say(each, conversationId, `${each.id} while it was dead ${round}`)
        await restarted
        await bothShow(
          screens,
          [farmer, meena].map(({ id }) => `${id} while it was dead ${round}`),
        )
      }
      const history = await people.history(conversationId)
      expect(history).toHaveLength(kills * 3)
      // What a dead replica had not recorded yet as confirmed may come again; nothing is missing, nothing out of order.
      for (const screen of screens) {
        const shown = screen.messages().map(line)
        expect(shown.filter(({ seq }, index) => shown.findIndex((other) => other.seq === seq) === index)).toEqual(history)
      }
    } finally {
      for (const screen of screens) screen.close()
    }
  }, 180_000)
})

async function bothShow(screens: readonly Screen[], contents: readonly string[]): Promise<void> {
  for (const screen of screens) {
    for (const content of contents) {
      await eventually(() => screen.messages().some((message) => message.content === content), 30_000).catch((error: Error) => {
        const shown = screen.messages().map((message) => message.content)
        throw new Error(
          `'${content}' is not shown (${screens.indexOf(screen) === 0 ? 'phone' : 'desk'}): ${shown.slice(-8).join(' | ')}\n${error.message}`,
        )
      })
    }
  }
}

/** Resolves when the database knows a device of each of them that has joined. */
async function recorded({ namespace }: Whole, people: readonly string[], conversationId: string): Promise<void> {
  const mongo = await MongoClient.connect(process.env.MONGODB_URL ?? '', { directConnection: true })
  try {
    const { databases } = await mongo.db().admin().listDatabases({ nameOnly: true })
    const realtime = databases.find(({ name }) => name.startsWith(namespace) && name.endsWith('realtime'))
    const presence = mongo.db(realtime?.name).collection<{ _id: string }>('presence')
    const filter = { _id: { $in: [...people] }, 'document.devices.rooms.conversationId': conversationId }
    await eventually(async () => (await presence.countDocuments(filter)) === people.length)
  } finally {
    await mongo.close()
  }
}

/** Resolves when the server has asked for a confirmation after the last message, over a WebSocket. */
function watchConfirmation(screen: Screen): () => Promise<unknown> {
  let heardAt = 0
  let askedAt = 0
  const { io: manager } = screen.socket()
  screen.socket().on('message:new', () => {
    heardAt = performance.now()
  })
  manager.on('ping', () => {
    askedAt = performance.now()
  })
  return () => eventually(() => manager.engine.transport.name === 'websocket' && askedAt >= heardAt, 40_000)
}

/** One types, the other sees it: all that went before it has arrived. */
async function roundTrip(from: Screen, to: Screen, conversationId: string): Promise<void> {
  const seen = new Promise<void>((resolve) => to.socket().once('typing:user-typing', () => resolve()))
  let arrived = false
  void seen.then(() => {
    arrived = true
  })
  await eventually(() => {
    from.socket().emit('typing:start', { conversationId })
    return arrived
  })
  from.socket().emit('typing:stop', { conversationId })
}
