// Conversation killed at random moments under load (issue 5), on MongoDB and on SQLite: what was answered is in history exactly once, with its seq, and reaches who has joined.
import { afterEach, describe, test } from '@jest/globals'
import { chance, rounds } from '../support/random.ts'
import { type Scene, scene } from '../support/scene.ts'
import { need } from '../support/servers.ts'
import { kill, startServices, type Whole } from '../support/whole.ts'
import { writeThroughKills } from '../support/writers.ts'

/** 20 with FAULT_ROUNDS=10. */
const kills = 2 * rounds
const writers = 6

const ways = [
  [need('conversation killed under load, on MongoDB', 'MONGODB_URL'), {}],
  [need('conversation killed under load, on SQLite', 'AMQP_URL'), { MONGODB_URL: '' }],
] as const

describe.each(ways.filter(([name]) => name !== null && process.env.AMQP_URL))('%s', (name, env) => {
  let whole: Whole | undefined
  let people: Scene | undefined
  afterEach(async () => {
    people?.close()
    await whole?.stop()
  }, 40_000)

  test(
    `${kills} kills: every answered message is in history once, with its seq, and is told once to who has joined`,
    async () => {
      const random = chance(String(name))
      const running = await startServices({ env: { ...env, AGENT_CAPACITY: '100', AGENT_GRACE_MS: '3600000' } })
      whole = running
      people = scene(running)
      await writeThroughKills({
        people,
        url: running.url,
        random,
        writers,
        kills,
        async kill() {
          const restarted = running.nextStart('conversation')
          kill(running.processOf('conversation').pid)
          await restarted
        },
      })
    },
    120_000 * rounds,
  )
})
