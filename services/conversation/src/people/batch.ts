// Many look-ups in one turn of the event loop become one question to the store: as fresh as each alone, at a part of the cost.
import { setImmediate as nextTurn } from 'node:timers/promises'

/** More ids than this in a turn are asked for in several questions. */
const most = 500

/** Every question is asked after the call that it answers, so a caller sees whatever was written before it called. */
export function batched<Item extends { readonly id: string }>(
  find: (ids: readonly string[]) => Promise<Item[]>,
): (ids: readonly string[]) => Promise<ReadonlyMap<string, Item>> {
  let collecting: { ids: Set<string>; answer: Promise<ReadonlyMap<string, Item>> } | null = null

  async function ask(ids: ReadonlySet<string>): Promise<ReadonlyMap<string, Item>> {
    await nextTurn()
    collecting = null
    const all = [...ids]
    const parts = Array.from({ length: Math.ceil(all.length / most) }, (_, part) => find(all.slice(part * most, (part + 1) * most)))
    return new Map((await Promise.all(parts)).flat().map((item) => [item.id, item]))
  }

  return (ids) => {
    if (!collecting) {
      const asked = new Set<string>()
      collecting = { ids: asked, answer: ask(asked) }
    }
    for (const id of ids) collecting.ids.add(id)
    return collecting.answer
  }
}
