// Farmers who write without pause while something is killed, and what must hold at the end: every answered message is in history once, with its seq, and was told once to who has joined.
import { expect } from '@jest/globals'
import { eventually } from './client.ts'
import type { Chance } from './random.ts'
import { type Reader, reader } from './reader.ts'
import { type Farmer, type Line, type Scene, say } from './scene.ts'
import { token, type Whole } from './whole.ts'

export interface Trial {
  people: Scene
  url: Whole['url']
  random: Chance
  writers: number
  kills: number
  /** Kills, and resolves when what was killed is back. */
  kill(): Promise<void>
}

/** Returns how many messages there are. */
export async function writeThroughKills({ people, url, random, writers, kills, kill }: Trial): Promise<number> {
  const farmers: Farmer[] = []
  const readers: Reader[] = []
  for (let index = 0; index < writers; index += 1) {
    const farmer = await people.farmer()
    farmers.push(farmer)
    readers.push(reader(url, token('Admin', 'watcher'), farmer.conversationId))
  }
  try {
    const answers = new Map<string, Line[]>(farmers.map(({ id }) => [id, []]))
    let count = 0
    let going = true
    const writing = Promise.all(
      farmers.map(async (farmer) => {
        for (let index = 0; going; index += 1) {
          answers.get(farmer.id)?.push(await say(farmer, farmer.conversationId, `${farmer.id} ${index}`))
          count += 1
        }
      }),
    )
    writing.catch(() => undefined)
    try {
      for (let round = 0; round < kills; round += 1) {
        const at = count + 20 + random.below(60)
        await eventually(() => count >= at, 30_000)
        await kill()
      }
    } finally {
      going = false
    }
    await writing
    let said = 0
    for (const [index, farmer] of farmers.entries()) {
      const last = await say(farmer, farmer.conversationId, `${farmer.id} last`)
      const history = await people.history(farmer.conversationId)
      expect(history.map(({ seq }) => seq).join(' ')).toBe(Array.from({ length: last.seq }, (_, at) => at + 1).join(' '))
      expect(history).toEqual([...(answers.get(farmer.id) ?? []), last])
      const list = readers[index]?.list ?? []
      await eventually(() => list.some(({ content }) => content === last.content), 30_000)
      expect(list.map(({ seq }) => seq).join(' ')).toBe(history.map(({ seq }) => seq).join(' '))
      said += history.length
    }
    return said
  } finally {
    for (const each of readers) each.close()
  }
}
