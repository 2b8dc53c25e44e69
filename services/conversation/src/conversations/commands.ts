// How a command gets in: one at a time per conversation, decided on what is, written in one conditional write, tried again within bounds.
import { AppError } from '@fieldline/contracts/errors'
import type { ConversationId } from '@fieldline/contracts/ids'
import type { Clock } from '@fieldline/service/clock'
import { newId } from '@fieldline/service/ids'
import type { Logger } from '@fieldline/service/logger'
import { currentCarrier } from '@fieldline/service/telemetry'
import { LRUCache } from 'lru-cache'
import type { Relay } from '../outbox.ts'
import type { Committed, ConversationStore } from './conversation.store.ts'
import { type Conversation, type Decision, type Entry, type Instant, numbered } from './conversation.ts'
import { createLanes } from './lanes.ts'

export interface Command {
  /**
   * Decides on what is; called anew at each try. It may wait (to reserve a place), and may start from a cached conversation: a decision then fails on
   * `version`, and a refusal, or nothing to do, is decided again on what is stored.
   */
  decide(conversation: Conversation, now: Instant): Decision | Promise<Decision>
  /** Looked up before each decision: the entry by which this very command is in already, through an earlier call. */
  known?(conversation: Conversation): Promise<Entry | null>
  /** That decision's write did not get in, for sure: gives back what was reserved for it. */
  abandoned?(decision: Decision): Promise<void>
}

export interface Executed {
  /** As written, or as it was where nothing was to do. */
  readonly conversation: Conversation
  /** What this command made happen; empty where nothing was to do. */
  readonly entries: readonly Entry[]
  /** `known` found it: `entries` holds that one. */
  readonly repeated: boolean
}

export interface Commands {
  /** @throws AppError CONVERSATION_NOT_FOUND, UNAVAILABLE (too many conflicts, outbox full, store away), or what the rule throws */
  execute(id: ConversationId, command: Command): Promise<Executed>
  /** Writes a new conversation. `created` is false if it was there already; the one that is there comes back. */
  insert(decision: Decision): Promise<{ conversation: Conversation; created: boolean }>
  /** As this process knows it, perhaps behind what is stored: to start a decision from, never to answer a reader. */
  cached(id: ConversationId): Promise<Conversation | null>
  /** Brings what stands in an outbox into the log and on its way; what the sweeper found, too. */
  settle(outbox: readonly Entry[]): Promise<void>
  /** These have left their outboxes. */
  forgotten(entries: readonly Entry[]): void
  /** Resolves when no command runs, and what they committed is in the log or left to the sweeper. */
  idle(): Promise<void>
}

export interface CommandsDeps {
  store: ConversationStore
  clock: Clock
  log: Logger
  /** Takes what stands in an outbox, oldest first. Late bound: the relay stands on the commands. */
  relay(): Pick<Relay, 'offer' | 'logged' | 'isDone' | 'left'>
  /** A place that a write no longer holds. */
  freed(agentId: string, placeToken: string): void
}

const maxTries = 12
const laneLength = 256
/** Conversations and the events in their outboxes, together. */
const mostCached = 20_000
/** Events that one command makes, at most. */
const mostFacts = 4
/** Pauses between tries: a conflict means that another replica was faster, an unknown outcome that the store has trouble. */
const pauseMs = (tries: number) => Math.min(5 * 2 ** tries, 200) * (0.5 + Math.random())

export function createCommands({ store, clock, log, relay, freed }: CommandsDeps): Commands {
  const lanes = createLanes(laneLength)
  /** Each with its outbox as stored, or a little more: what the relay took out meanwhile. A commit writes an outbox anew from it. */
  const cache = new LRUCache<ConversationId, Conversation>({ maxSize: mostCached, sizeCalculation: ({ outbox }) => 1 + outbox.length })
  /** What this process has written to the log, or is writing. */
  const logged = new WeakSet<Entry>()
  const settling = new Set<Promise<void>>()

  async function load(id: ConversationId): Promise<Conversation> {
    const conversation = await store.load(id)
    if (!conversation) throw new AppError('CONVERSATION_NOT_FOUND', 'There is no such conversation')
    cache.set(id, conversation)
    return conversation
  }

  /** Up to the commit. `outbox` is what stands in the outbox with it. */
  async function attempt(id: ConversationId, command: Command): Promise<{ executed: Executed; outbox: readonly Entry[] }> {
    const commandId = newId()
    let written: { before: Conversation; next: Conversation }[] = []
    const cached = cache.get(id)
    let conversation = cached ?? (await load(id))
    let stored = cached === undefined
    const reload = async () => {
      conversation = await load(id)
      stored = true
    }
    const ended = (entries: readonly Entry[], repeated = false) => ({
      executed: { conversation, entries, repeated },
      outbox: entries.length === 0 ? [] : conversation.outbox,
    })

    for (let tries = 0; tries < maxTries; tries += 1) {
      const repeated = await command.known?.(conversation)
      if (repeated) return ended([repeated], true)

      const now = clock.now().toISOString()
      let decision: Decision
      try {
        decision = await command.decide(conversation, now)
      } catch (error) {
        if (stored || !(error instanceof AppError)) throw error
        await reload()
        continue
      }
      if (decision.facts.length === 0) {
        if (stored) return ended([])
        await reload()
        continue
      }

      const before = conversation
      const { next, entries } = numbered(decision, { commandId, now, trace: currentCarrier() })
      // All that is done, also what the relay is taking out at this moment: its write may come before this one, which must not put it back.
      const leaving = before.outbox.filter((entry) => relay().isDone(entry))
      const outcome = await commit(before, next, entries, leaving)
      if (outcome === 'committed') {
        const gone = new Set(leaving)
        conversation = { ...next, outbox: next.outbox.filter((entry) => !gone.has(entry)) }
        cache.set(id, conversation)
        tellFreed(before, next)
        return ended(entries)
      }
      cache.delete(id)
      // A write without an answer may get in yet: what was reserved for it stays, until the sweeper has made sure that it can't.
      if (outcome !== 'unknown') await command.abandoned?.(decision)
      if (outcome === 'full') throw new AppError('UNAVAILABLE', 'Too much waits to be published; try again soon', { retryAfter: 5 })
      if (outcome === 'unknown') written = [...written, { before, next }]
      await pause(pauseMs(tries))
      await reload()
      // Also after a conflict: the write of an earlier try, whose answer was lost, may be what it ran into.
      const own = await ownEntries(conversation, commandId, written)
      if (own) {
        for (const each of written) if (own[0]?.event.eventno === each.before.eventNo + 1) tellFreed(each.before, each.next)
        return ended(own)
      }
    }
    log.warn({ conversationId: id, tries: maxTries }, 'command gave up after conflicts')
    throw new AppError('UNAVAILABLE', 'The conversation is too busy now; try again soon')
  }

  /** What a write whose answer was lost has pushed: looked for in the outbox, then in the log, which it reaches before it leaves the outbox. */
  async function ownEntries(
    conversation: Conversation,
    commandId: string,
    written: readonly { before: Conversation }[],
  ): Promise<Entry[] | null> {
    if (written.length === 0) return null
    const isOwn = ({ event }: Entry) => event.id.startsWith(`${commandId}-`)
    const inOutbox = conversation.outbox.filter(isOwn)
    if (inOutbox.length > 0) return inOutbox
    for (const { before } of written) {
      if (conversation.eventNo <= before.eventNo) continue
      const own = (await store.entries(conversation.id, before.eventNo, mostFacts)).filter(isOwn)
      if (own.length > 0) return own
    }
    return null
  }

  async function commit(
    before: Conversation,
    next: Conversation,
    entries: readonly Entry[],
    leaving: readonly Entry[],
  ): Promise<Committed | 'unknown'> {
    try {
      const committed = await store.commit(before, next, entries, leaving)
      if (committed === 'committed') relay().left(leaving)
      return committed
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'UNAVAILABLE') throw error
      log.warn({ conversationId: before.id, err: error }, 'a write has an unknown outcome')
      return 'unknown'
    }
  }

  function tellFreed(before: Conversation, next: Conversation): void {
    const held = before.assigned
    if (held?.placeToken && held.placeToken !== next.assigned?.placeToken) freed(held.person.id, held.placeToken)
  }

  /**
   * After the commit nothing fails for the sender, who is answered at once: readers and look-ups of keys merge the outbox, which an event leaves when the
   * log has it and the broker has confirmed it. What can't go into the log now, the sweeper takes there.
   */
  function handOn(outbox: readonly Entry[]): void {
    if (outbox.length === 0) return
    const settled = settle(outbox)
    settling.add(settled)
    void settled.finally(() => settling.delete(settled))
  }

  async function settle(outbox: readonly Entry[]): Promise<void> {
    relay().offer(outbox)
    const missing = outbox.filter((entry) => !logged.has(entry))
    for (const entry of missing) logged.add(entry)
    try {
      await store.append(missing)
      relay().logged(missing)
    } catch (error) {
      for (const entry of missing) logged.delete(entry)
      log.warn({ conversationId: missing[0]?.event.conversationid, err: error }, 'the log could not be written; left to the sweeper')
    }
  }

  return {
    async execute(id, command) {
      const { executed, outbox } = await lanes.run(id, () => attempt(id, command))
      handOn(outbox)
      return executed
    },

    async insert(decision) {
      const { id } = decision.after
      const { next, entries } = numbered(decision, { commandId: newId(), now: clock.now().toISOString(), trace: currentCarrier() })
      const conversation = await lanes.run(id, async () => {
        if (!(await store.insert(next, entries))) return load(id)
        cache.set(id, next)
        return next
      })
      handOn(conversation.outbox)
      return { conversation, created: conversation === next }
    },

    async cached(id) {
      return cache.get(id) ?? (await store.load(id))
    },

    settle,

    forgotten(entries) {
      for (const [id, gone] of Map.groupBy(entries, ({ event }) => event.conversationid)) {
        const conversation = cache.get(id)
        if (!conversation || conversation.outbox.length === 0) continue
        const ids = new Set(gone.map(({ event }) => event.id))
        cache.set(id, { ...conversation, outbox: conversation.outbox.filter(({ event }) => !ids.has(event.id)) })
      }
    },

    async idle() {
      await lanes.idle()
      await Promise.allSettled(settling)
    },
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
