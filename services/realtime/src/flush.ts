// What is sent to one connection in a turn of the event loop leaves in one write: a system call costs more than the frame it carries.
import type { EngineConnection } from './confirm.ts'

interface Corkable {
  cork(): void
  uncork(): void
}

/** The engine's own way to hand its waiting packets to the transport; called by it after each packet. */
type Flushing = EngineConnection & { flush(): void }

const waiting = new Set<Flushing>()

/** From now on the connection's packets wait for the end of the turn in which the first of them was sent. */
export function flushOncePerTurn(connection: EngineConnection): void {
  // Where a later engine.io does it otherwise, it goes on as it does.
  if (canFlush(connection)) connection.flush = soon
}

function soon(this: Flushing): void {
  if (waiting.size === 0) setImmediate(flushAll)
  waiting.add(this)
}

function flushAll(): void {
  const now = [...waiting]
  waiting.clear()
  for (const connection of now) {
    try {
      flush(connection)
    } catch {
      // The others still get theirs; this one's client comes back by itself.
      connection.close(true)
    }
  }
}

function flush(connection: Flushing): void {
  const tcp = connection.transport.socket?._socket
  const own = Object.getPrototypeOf(connection) as Flushing
  if (isCorkable(tcp)) tcp.cork()
  try {
    own.flush.call(connection)
  } finally {
    if (isCorkable(tcp)) tcp.uncork()
  }
}

function canFlush(connection: EngineConnection): connection is Flushing {
  return 'flush' in connection && typeof connection.flush === 'function'
}
function isCorkable(tcp: unknown): tcp is Corkable {
  return typeof tcp === 'object' && tcp !== null && 'cork' in tcp && 'uncork' in tcp
}
