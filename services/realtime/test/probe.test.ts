// A device that may have come back already is asked whether it still lives: only its own silence ends it.
import { asha, rajesh, tokenFor } from '@fieldline/testing/factories'
import { eventually } from '@fieldline/testing/until'
import { expect, test } from '@jest/globals'
import { openHouse } from './house.ts'

const probeMs = 100

test('a replica that stood still itself takes no device for dead that has answered meanwhile', async () => {
  const house = await openHouse()
  try {
    // No other ping is asked for in this time than the probe's.
    const app = await house.replica({ TAKEOVER_MS: '30', PROBE_MS: `${probeMs}`, CONFIRM_MS: '60000' })
    const id = house.conversation.create(rajesh, asha)
    const token = tokenFor(asha)
    const joined = await house.client(app, asha, { token, nameless: true })
    await joined.join(id)
    const { id: connection } = joined.socket
    const probed = new Promise<void>((resolve) => joined.socket.io.engine.once('ping', () => resolve()))
    await house.client(app, asha, { token, nameless: true })
    await probed
    // The answer is on its way: next the timers are looked at, and only then what has arrived.
    await new Promise((resolve) => setImmediate(resolve))
    standStill(2 * probeMs)
    await house.conversation.send(id, rajesh, 'still there?')
    await eventually(() => joined.texts.includes('still there?'))
    expect(joined.socket.id).toBe(connection)
  } finally {
    await house.stop()
  }
})

test('a tab that answered beside a newer one gets its room back after a lost connection; the newer one, which joined nothing, gets none', async () => {
  const house = await openHouse()
  try {
    const app = await house.replica({ TAKEOVER_MS: '300', CONFIRM_MS: '60000' })
    const id = house.conversation.create(rajesh, asha)
    const token = tokenFor(asha)
    const joined = await house.client(app, asha, {
      token,
      nameless: true,
      reconnectionDelay: 600,
      reconnectionDelayMax: 600,
      randomizationFactor: 0,
    })
    await joined.join(id)
    const { engine } = joined.socket.io
    const probed = new Promise<void>((resolve) => engine.once('ping', () => resolve()))
    const newer = await house.client(app, asha, { token, nameless: true })
    await probed
    // What the newer one says is read after the answer, which left before it on the same machine; only then is the line cut.
    await newer.ask('conversation:leave', { conversationId: id })
    engine.transport.close()
    engine.close()
    await house.conversation.send(id, rajesh, 'both see me?')
    await eventually(() => joined.texts.length + newer.texts.length > 0)
    expect({ joined: joined.texts, newer: newer.texts }).toEqual({ joined: ['both see me?'], newer: [] })
  } finally {
    await house.stop()
  }
})

function standStill(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until);
}
