// `npm start` killed at random moments under load: one process, embedded stores, the memory bus. What was answered is in history once, is told once, and is counted once.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from '@jest/globals'
import { freePort } from '../../scripts/lib/ports.ts'
import { eventually } from '../support/client.ts'
import { chance, rounds } from '../support/random.ts'
import { answered, type Scene, scene } from '../support/scene.ts'
import { kill, startEmbedded, type Whole } from '../support/whole.ts'
import { writeThroughKills } from '../support/writers.ts'

const kills = 3 * rounds
const writers = 4

let dataDir: string
let whole: Whole | undefined
let people: Scene | undefined
afterEach(async () => {
  people?.close()
  await whole?.stop()
  rmSync(dataDir, { recursive: true, force: true })
}, 40_000)

test(
  `${kills} kills of the embedded process: every answered message is in history once, with its seq, is told once to who has joined, and counts once`,
  async () => {
    const random = chance('the embedded process killed')
    dataDir = mkdtempSync(join(tmpdir(), 'fieldline-embedded-'))
    const port = await freePort()
    const env = {
      AGENT_CAPACITY: '100',
      AGENT_GRACE_MS: '3600000',
      STATS_ROLL_UP_MS: '200',
      STATS_GATHER_MS: '50',
      STATS_GAP_WAIT_MS: '500',
    }
    const start = () => startEmbedded({ dataDir, port, env })
    const running = await start()
    whole = running
    people = scene(running)
    const { admin } = people
    const said = await writeThroughKills({
      people,
      url: running.url,
      random,
      writers,
      kills,
      async kill() {
        if (whole) kill(whole.processOf('all').pid)
        whole = await start()
      },
    })
    await eventually(async () => {
      const { body } = await answered(() => admin('GET', '/support/stats'))
      expect(body.data).toMatchObject({ conversations: { total: writers }, totals: { created: writers, messages: { User: said } } })
      return true
    }, 30_000)
  },
  120_000 * rounds,
)
