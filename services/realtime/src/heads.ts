// Compares all joined conversations with where they really stand: now and then, and whenever the broker was away.
import type { ConversationId } from '@fieldline/contracts/ids'
import type { Logger } from '@fieldline/service/logger'
import type { Conversations } from './conversation.client.ts'
import { backOff } from './cursor.ts'
import type { Rooms } from './rooms.ts'

const atOnce = 1_000
/** What is on its way from the broker arrives within this; only what doesn't is fetched. */
const onItsWayMs = 300

export class HeadsCheck {
  readonly #deps: {
    readonly rooms: Rooms
    readonly conversations: Conversations
    readonly log: Logger
    readonly everyMs: number
    readonly pauseMs: number
  }
  #timer: NodeJS.Timeout | undefined
  #stopped = false
  #failures = 0

  constructor(deps: { rooms: Rooms; conversations: Conversations; log: Logger; everyMs: number; pauseMs: number }) {
    this.#deps = deps
  }

  start(): void {
    this.#later(this.#deps.everyMs)
  }
  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  /** The broker was away: what came meanwhile will not come by itself. */
  now(): void {
    clearTimeout(this.#timer)
    void this.#round('resubscribed', 0)
  }

  #later(ms: number): void {
    if (this.#stopped) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.#round('heads', onItsWayMs), ms).unref()
  }

  async #round(cause: string, patienceMs: number): Promise<void> {
    try {
      await this.check(cause, patienceMs)
      this.#failures = 0
      this.#later(this.#deps.everyMs)
    } catch (error) {
      this.#failures += 1
      this.#deps.log.debug({ err: error }, 'heads could not be read')
      const pause = backOff(this.#failures, this.#deps.pauseMs, Math.random())
      if (!this.#stopped) this.#timer = setTimeout(() => void this.#round(cause, patienceMs), pause).unref()
    }
  }

  /** One round over all rooms. @throws AppError */
  async check(cause: string, patienceMs: number): Promise<void> {
    const ids = [...this.#deps.rooms.all()].flatMap(({ id, cursor }) => (cursor ? [id] : []))
    for (let at = 0; at < ids.length; at += atOnce) {
      const heads = await this.#deps.conversations.heads(ids.slice(at, at + atOnce))
      const behind = heads.filter(({ conversationId, eventNo }) => this.#isBehind(conversationId, eventNo))
      if (behind.length === 0) continue
      if (patienceMs === 0) for (const { conversationId, eventNo } of behind) this.#deps.rooms.get(conversationId)?.check(eventNo, cause)
      else
        setTimeout(() => {
          for (const { conversationId, eventNo } of behind) this.#deps.rooms.get(conversationId)?.check(eventNo, cause)
        }, patienceMs).unref()
    }
  }

  #isBehind(id: ConversationId, eventNo: number): boolean {
    const cursor = this.#deps.rooms.get(id)?.cursor
    return cursor !== null && cursor !== undefined && cursor.eventNo < eventNo
  }
}
