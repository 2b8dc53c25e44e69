// The relay: takes committed events out of outboxes to the broker, in order per conversation, and sweeps up what a dead process left.
import { type EventBus, namespacedName, Unroutable } from '@fieldline/bus/bus'
import type { ConversationId } from '@fieldline/contracts/ids'
import { eventsExchange } from '@fieldline/contracts/topology'
import type { Clock } from '@fieldline/service/clock'
import type { Part } from '@fieldline/service/lifecycle'
import type { Logger } from '@fieldline/service/logger'
import { counter, gauge, histogram, type Registry } from '@fieldline/service/metrics'
import { LRUCache } from 'lru-cache'
import type { ConversationStore } from './conversations/conversation.store.ts'
import type { Entry } from './conversations/conversation.ts'
import { outgoing } from './outbox.event.ts'

export interface Relay extends Part {
  /** Takes what stands in an outbox, oldest first. What it has already, it knows; what it can't hold, the sweeper finds again. */
  offer(outbox: readonly Entry[]): void
  /** These are in the log: with the broker's confirm, in either order, they may leave their outboxes. */
  logged(entries: readonly Entry[]): void
  /** The broker has confirmed this event and the log has it. It may stand in the outbox for a moment: the next command takes it out on its way. */
  isDone(entry: Entry): boolean
  /** These have left with a command's write. */
  left(entries: readonly Entry[]): void
  start(): Promise<void>
  stop(): Promise<void>
}

export interface RelayDeps {
  store: Pick<ConversationStore, 'load' | 'forget' | 'unpublished'>
  /** How long what is done waits for a command to take it out of its outbox, before a write of its own does. Default 1,000. */
  forgetAfterMs?: number
  bus: EventBus
  clock: Clock
  log: Logger
  registry: Registry
  namespace: string
  /** Offers a found outbox and brings it into the log. */
  settle(outbox: readonly Entry[]): Promise<void>
  forgotten(entries: readonly Entry[]): void
  sweepMs: number
  /** What stands in an outbox for so long was left by its process. */
  orphanedAfterMs: number
}

/** Events of one conversation, by eventNo: the first `sent` are on their way. */
interface Line {
  readonly id: ConversationId
  entries: Entry[]
  sent: number
  unsettled: number
  /** Something of it failed: nothing more goes out before the rest is settled, and then it begins at the head. */
  failed: number | null
}

/** How far an event has come; `done` is both. */
type Progress = 'confirmed' | 'logged' | 'done'

/** What is beyond stays in its outbox, so that memory stays flat while the broker is away. */
const mostHeld = 2_000
const mostUnconfirmed = 512
const forgetAtOnce = 5_000
const remembered = 50_000
const sweptAtOnce = 200
const mostForgotten = 1_000
const retryMs = { unavailable: 250, nacked: 500, unroutable: 5_000 }
const flushWithinMs = 5_000

export function createRelay(deps: RelayDeps): Relay {
  const { store, bus, clock, log, forgetAfterMs = 1_000 } = deps
  const exchange = namespacedName(eventsExchange, deps.namespace)
  const lines = new Map<ConversationId, Line>()
  const ready = new Set<Line>()
  /** By event id. What falls out of it is found again by the sweeper, at worst published twice. */
  const progress = new LRUCache<string, Progress>({ max: remembered })
  /** Done and still in their outboxes, by event id, oldest first. */
  const leaving = new Map<string, { entry: Entry; since: number }>()
  const timers = new Set<NodeJS.Timeout>()
  let ticking = false
  let held = 0
  let unconfirmed = 0
  let pumping = false
  let stopping = false
  let forgetting: Promise<void> | null = null
  let sweeping: Promise<void> | null = null
  let onEmpty: (() => void)[] = []
  let stopListening = () => {}

  const outcomes = counter(deps.registry, 'fieldline_outbox_events_total', 'Events handed to the broker', ['outcome'])
  const lag = histogram(deps.registry, 'fieldline_outbox_lag_seconds', "From an event's commit to the broker's confirm")
  const heldGauge = gauge(deps.registry, 'fieldline_outbox_held_events', 'Events this process holds for the broker')

  function offer(outbox: readonly Entry[]): void {
    for (const [id, entries] of Map.groupBy(outbox, ({ event }) => event.conversationid)) {
      const line = lines.get(id) ?? { id, entries: [], sent: 0, unsettled: 0, failed: null }
      const known = new Set(line.entries.map(({ event }) => event.id))
      const fresh = entries.filter(({ event }) => !known.has(event.id) && (progress.peek(event.id) ?? 'logged') === 'logged')
      if (fresh.length === 0) continue
      if (held + fresh.length > mostHeld) {
        outcomes.inc({ outcome: 'left' }, fresh.length)
        continue
      }
      const last = line.entries.at(-1)?.event.eventno ?? 0
      if (fresh.some(({ event }) => event.eventno < last)) {
        // Another process's event turned up below ours: it goes first, whatever is on its way.
        line.entries = [...line.entries, ...fresh].sort((a, b) => a.event.eventno - b.event.eventno)
        line.sent = 0
      } else line.entries.push(...fresh)
      hold(fresh.length)
      lines.set(id, line)
      if (line.failed === null) ready.add(line)
    }
    void pump()
  }

  async function pump(): Promise<void> {
    if (pumping) return
    pumping = true
    try {
      while (ready.size > 0 && bus.state === 'up' && unconfirmed < mostUnconfirmed) {
        await bus.writable()
        const [line] = ready
        if (!line) break
        ready.delete(line)
        send(line)
      }
    } catch (error) {
      log.debug({ err: error }, 'the bus takes nothing now')
    } finally {
      pumping = false
    }
  }

  /** Hands on what the line still holds back, each after the one before, on the bus's one channel. */
  function send(line: Line): void {
    for (const entry of line.entries.slice(line.sent)) {
      line.sent += 1
      line.unsettled += 1
      unconfirmed += 1
      bus.publish(outgoing(entry.event, exchange)).then(
        () => settled(line, entry, null),
        (error: unknown) => settled(line, entry, error),
      )
    }
  }

  function settled(line: Line, entry: Entry, error: unknown): void {
    line.unsettled -= 1
    unconfirmed -= 1
    if (error === null) confirm(line, entry)
    else fail(line, entry, error)
    if (line.unsettled === 0 && line.failed !== null) restart(line, line.failed)
    if (line.entries.length === 0 && line.unsettled === 0) lines.delete(line.id)
    if (lines.size === 0) for (const resolve of onEmpty.splice(0)) resolve()
    void pump()
  }

  function confirm(line: Line, entry: Entry): void {
    outcomes.inc({ outcome: 'confirmed' })
    lag.observe(Math.max(0, (clock.now().getTime() - Date.parse(entry.event.time)) / 1_000))
    const at = line.entries.indexOf(entry)
    if (at !== -1) {
      line.entries.splice(at, 1)
      if (at < line.sent) line.sent -= 1
      hold(-1)
    }
    advance(entry, 'confirmed')
  }

  function advance(entry: Entry, to: 'confirmed' | 'logged'): void {
    const { id } = entry.event
    const from = progress.peek(id)
    if (from === to || from === 'done') return
    progress.set(id, from ? 'done' : to)
    if (from) mayLeave(entry)
  }

  function isDone({ event }: Entry): boolean {
    return progress.peek(event.id) === 'done'
  }

  function mayLeave(entry: Entry): void {
    leaving.set(entry.event.id, { entry, since: performance.now() })
    if (leaving.size % forgetAtOnce === 0) void forget(0)
    if (ticking) return
    ticking = true
    later(forgetAfterMs, tick)
  }

  /** What nobody took along for so long leaves by a write of its own. */
  function tick(): void {
    void forget(forgetAfterMs).finally(() => {
      ticking = leaving.size > 0 && !stopping
      if (ticking) later(forgetAfterMs, tick)
    })
  }

  function fail(line: Line, { event }: Entry, error: unknown): void {
    const unroutable = error instanceof Unroutable
    const away = error instanceof Error && error.name === 'Unavailable'
    outcomes.inc({ outcome: unroutable ? 'unroutable' : away ? 'unavailable' : 'nacked' })
    if (!away)
      log.error(
        { conversationId: line.id, eventNo: event.eventno, type: event.type, err: error },
        'an event was not taken; it stays in its outbox',
      )
    line.failed = Math.max(line.failed ?? 0, unroutable ? retryMs.unroutable : away ? retryMs.unavailable : retryMs.nacked)
    ready.delete(line)
  }

  function restart(line: Line, afterMs: number): void {
    if (stopping) {
      // It stays in its outbox, for whoever comes next.
      leave(line)
      return
    }
    line.sent = 0
    later(afterMs, () => {
      line.failed = null
      if (line.entries.length > 0) ready.add(line)
      void pump()
    })
  }

  function leave(line: Line): void {
    hold(-line.entries.length)
    line.entries = []
    ready.delete(line)
    lines.delete(line.id)
  }

  /** Takes what waits for so long out of its outbox, many in one write. What fails is tried again: it is published, so nobody waits for it. */
  function forget(waitedMs: number): Promise<void> {
    forgetting ??= (async () => {
      const until = performance.now() - waitedMs
      await takeOut([...leaving.values()].filter(({ since }) => since <= until).map(({ entry }) => entry))
    })()
      .catch((error: unknown) => log.warn({ err: error, events: leaving.size }, 'outboxes could not be cleared yet'))
      .finally(() => {
        forgetting = null
      })
    return forgetting
  }

  async function takeOut(entries: readonly Entry[]): Promise<void> {
    for (let at = 0; at < entries.length; at += mostForgotten) {
      const batch = entries.slice(at, at + mostForgotten)
      await store.forget(batch)
      left(batch)
      deps.forgotten(batch)
    }
  }

  function left(entries: readonly Entry[]): void {
    for (const { event } of entries) leaving.delete(event.id)
  }

  /** Publishes what stands in outboxes since before `before` and isn't held here. What is done was put back by a write that came late: it leaves again. */
  function sweep(before: Date): Promise<void> {
    sweeping ??= (async () => {
      while (!stopping && bus.state === 'up' && held < mostHeld / 2) {
        const found = await store.unpublished(before.toISOString(), sweptAtOnce)
        let taken = 0
        const done: Entry[] = []
        for (const id of found.filter((id) => !lines.has(id))) {
          const { outbox } = (await store.load(id)) ?? { outbox: [] }
          done.push(...outbox.filter(isDone))
          const missing = outbox.filter((entry) => !isDone(entry))
          if (missing.length === 0) continue
          taken += 1
          await deps.settle(missing)
        }
        await takeOut(done)
        if (taken > 0) log.info({ conversations: taken }, 'published what was left in outboxes')
        if (found.length < sweptAtOnce || taken + done.length === 0) return
      }
    })()
      .catch((error: unknown) => log.warn({ err: error }, 'the outbox sweep failed; it will be tried again'))
      .finally(() => {
        sweeping = null
      })
    return sweeping
  }

  function hold(count: number): void {
    held += count
    heldGauge.set(held)
  }

  function later(ms: number, task: () => void): void {
    const timer = setTimeout(() => {
      timers.delete(timer)
      task()
    }, ms)
    timers.add(timer)
  }

  function sweepAgain(): void {
    later(deps.sweepMs, () => void sweep(new Date(clock.now().getTime() - deps.orphanedAfterMs)).finally(() => stopping || sweepAgain()))
  }

  return {
    name: 'relay',
    offer,
    logged(entries) {
      for (const entry of entries) advance(entry, 'logged')
    },
    isDone,
    left,
    async start() {
      stopListening = bus.onState((state) => {
        if (state !== 'up') return
        void pump()
        void sweep(clock.now())
      })
      // What a process before this one left; another replica's events under way may come twice, which consumers know.
      void sweep(clock.now())
      sweepAgain()
    },
    async stop() {
      stopping = true
      stopListening()
      for (const line of [...lines.values()]) if (line.failed !== null && line.unsettled === 0) leave(line)
      if (lines.size > 0 && bus.state === 'up') {
        const emptied = new Promise<void>((resolve) => onEmpty.push(resolve))
        await Promise.race([emptied, new Promise<void>((resolve) => later(flushWithinMs, resolve))])
      }
      for (const timer of timers) clearTimeout(timer)
      timers.clear()
      onEmpty = []
      await sweeping
      await forgetting
      await forget(0)
    },
  }
}
