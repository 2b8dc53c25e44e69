// Takes away what nobody uses: uploads that died, files no message came for, objects without a row, temporary files. And announces what wasn't.
import type { ObjectStore } from '@fieldline/objects/store'
import type { Clock } from '@fieldline/service/clock'
import type { Part } from '@fieldline/service/lifecycle'
import type { Logger } from '@fieldline/service/logger'
import type { Announce } from './announce.ts'
import type { Conversations } from './conversations.ts'
import type { MediaStore } from './media.store.ts'
import { conversationsOf, type Media, originalKey, thumbnailKey } from './media.ts'
import type { Spool } from './spool.ts'

export interface SweepDeps {
  store: MediaStore
  objects: ObjectStore
  spool: Pick<Spool, 'sweep'>
  conversations: Pick<Conversations, 'committed'>
  announce: Announce
  clock: Clock
  log: Logger
  /** How long a file waits for its message. */
  unusedMs: number
  /** How long an upload may take from its row to its end; more than any really takes. */
  uploadingMs: number
  /** Pause between two sweeps. */
  everyMs: number
  /** Every so many sweeps the whole bucket is compared with the rows. */
  orphansEvery: number
}

export interface Swept {
  rows: number
  orphans: number
  temporary: number
  kept: number
}

export interface Sweeper extends Part {
  /** One sweep now; `orphans` compares every object with the rows. @throws AppError UNAVAILABLE, ObjectsUnavailable */
  sweep(options?: { orphans?: boolean }): Promise<Swept>
}

const page = 100

export function createSweeper(deps: SweepDeps): Sweeper {
  const { store, objects, spool, conversations, announce, clock, log, unusedMs, uploadingMs } = deps
  let timer: NodeJS.Timeout | undefined
  let running: Promise<unknown> = Promise.resolve()
  let stopped = false
  let count = 0

  const ago = (milliseconds: number) => new Date(clock.now().getTime() - milliseconds)

  async function sweep({ orphans = false } = {}): Promise<Swept> {
    await announceAll()
    const swept = { rows: 0, orphans: 0, temporary: 0, kept: 0 }
    const limits = { uploadingBefore: ago(uploadingMs), unusedBefore: ago(unusedMs) }
    for (let after = ''; !stopped; ) {
      const rows = await store.expired(limits, after, page)
      const used = await attached(rows)
      swept.kept += used.size
      for (const row of rows) if (!used.has(row.id) && (await remove(row))) swept.rows += 1
      const last = rows.at(-1)
      if (!last || rows.length < page) break
      after = last.id
    }
    swept.temporary = (await spool.sweep(ago(uploadingMs))) + (await objects.sweep(ago(uploadingMs)))
    if (orphans) swept.orphans = await removeOrphans()
    if (swept.rows + swept.orphans + swept.temporary > 0) log.info(swept, 'swept')
    return swept
  }

  /** What a broker's absence left, all of it; while there is none, the first page only. */
  async function announceAll(): Promise<void> {
    const before = ago(Math.min(uploadingMs, 30_000))
    while (!stopped) {
      const files = await store.unannounced(before, page)
      if ((await announce(files)) < page) return
    }
  }

  /** Which of these files a message uses after all: they are marked, so that nobody asks again. While conversation does not answer, all that are reserved count as used. */
  async function attached(rows: readonly Media[]): Promise<Set<string>> {
    const asked = rows.filter((row) => row.state === 'stored' && row.messageIds.length > 0)
    const messages = asked.flatMap((row) =>
      conversationsOf(row).flatMap((conversationId) => row.messageIds.map((messageId) => ({ messageId, conversationId }))),
    )
    const committed = new Set<string>()
    try {
      for (let at = 0; at < messages.length; at += 500) {
        for (const id of await conversations.committed(messages.slice(at, at + 500))) committed.add(id)
      }
    } catch (error) {
      log.warn({ err: error, files: asked.length }, 'conversation does not say which files are used; they stay')
      return new Set(asked.map((row) => row.id))
    }
    const used = asked.filter((row) => row.messageIds.some((id) => committed.has(id)))
    for (const row of used) await store.replace(row, { ...row, attached: true })
    return new Set(used.map((row) => row.id))
  }

  /** Row marked, objects gone, row gone: a crash in between is finished by the next sweep. False where somebody used it meanwhile. */
  async function remove(row: Media): Promise<boolean> {
    if (row.state !== 'deleting' && !(await store.replace(row, { ...row, state: 'deleting' }))) return false
    await objects.remove(originalKey(row.id))
    if (row.type === 'image') await objects.remove(thumbnailKey(row.id))
    await store.remove([row.id])
    return true
  }

  /** Rows come before objects, so an old object without one is nobody's. */
  async function removeOrphans(): Promise<number> {
    const before = ago(uploadingMs)
    let removed = 0
    let keys: string[] = []
    const flush = async () => {
      const known = await store.existing([...new Set(keys.map(idOf))])
      for (const key of keys) {
        if (known.has(idOf(key))) continue
        await objects.remove(key)
        removed += 1
      }
      keys = []
    }
    for await (const { key, modifiedAt } of objects.list('')) {
      if (modifiedAt >= before) continue
      keys.push(key)
      if (keys.length >= 500) await flush()
      if (stopped) break
    }
    await flush()
    return removed
  }

  function schedule(): void {
    timer = setTimeout(
      () => {
        count += 1
        running = sweep({ orphans: count % deps.orphansEvery === 0 })
          .catch((error: unknown) => log.warn({ err: error }, 'sweep failed; the next one goes on'))
          .finally(() => {
            if (!stopped) schedule()
          })
      },
      // Replicas that start together don't sweep together.
      deps.everyMs * (0.75 + Math.random() / 2),
    )
  }

  return {
    name: 'sweep',
    sweep,
    start: async () => schedule(),
    stop: async () => {
      stopped = true
      clearTimeout(timer)
      await running
    },
  }
}

function idOf(key: string): string {
  return key.slice(0, Math.max(0, key.indexOf('/'))) || key
}
