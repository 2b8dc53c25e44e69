// Tells the desks that figures changed: `stats.changed` on `chat.signals`, at once and then at most every few seconds.

import { type EventBus, namespacedName } from '@fieldline/bus/bus'
import type { StatsChanged } from '@fieldline/contracts/events'
import { signalsExchange } from '@fieldline/contracts/topology'
import type { Part } from '@fieldline/service/lifecycle'

export interface Changes extends Part {
  /** Figures have changed. */
  note(): void
}

export function createChanges(
  bus: Pick<EventBus, 'signal'>,
  { namespace, everyMs, now }: { namespace: string; everyMs: number; now: () => Date },
): Changes {
  let timer: NodeJS.Timeout | undefined
  let again = false
  let stopped = false

  function tell(): void {
    const at = now().toISOString()
    const body: StatsChanged = { type: 'stats.changed', at }
    bus.signal({
      exchange: namespacedName(signalsExchange, namespace),
      routingKey: body.type,
      id: `stats.changed ${at}`,
      body,
      carrier: {},
    })
    again = false
    timer = setTimeout(() => {
      timer = undefined
      if (again) tell()
    }, everyMs)
  }

  return {
    name: 'changes',
    note() {
      if (stopped) return
      if (timer) again = true
      else tell()
    },
    async stop() {
      stopped = true
      clearTimeout(timer)
    },
  }
}
