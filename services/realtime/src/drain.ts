// An end that loses nothing: what runs is answered, then connections close one after the other over a window, so that clients come back elsewhere without a storm.
import type { Audience } from './audience.ts'
import type { Session } from './session.ts'

export class Running {
  readonly #counts = new Map<Session, number>()
  readonly #idle = new Map<Session, () => void>()

  /** An event of this socket is being answered; returns how to say that it is. */
  begin(session: Session): () => void {
    this.#counts.set(session, (this.#counts.get(session) ?? 0) + 1)
    return () => {
      const left = (this.#counts.get(session) ?? 1) - 1
      if (left > 0) {
        this.#counts.set(session, left)
        return
      }
      this.#counts.delete(session)
      this.#idle.get(session)?.()
      this.#idle.delete(session)
    }
  }

  has(session: Session): boolean {
    return this.#counts.has(session)
  }

  /** Resolves when nothing of this socket runs any more. */
  ended(session: Session): Promise<void> {
    if (!this.#counts.has(session)) return Promise.resolve()
    return new Promise((resolve) => this.#idle.set(session, resolve))
  }
}

/** Closes every session at a random moment of `spreadMs`, none before what it asked is answered; resolves when all are closed, or after `withinMs`. */
export async function drain(
  audience: Audience,
  running: Running,
  confirmed: (session: Session) => Promise<void>,
  { spreadMs, withinMs }: { spreadMs: number; withinMs: number },
): Promise<void> {
  const lastWord = performance.now() + Math.max(spreadMs, withinMs / 2)
  const closing = [...audience.sessions()].map(async (session) => {
    await pause(Math.random() * spreadMs)
    do {
      await Promise.race([running.ended(session), pause(Math.max(0, lastWord - performance.now()))])
      // Who never stops talking is told to, and answered what was taken.
      session.leaving = performance.now() >= lastWord
      if (session.leaving) await running.ended(session)
      // What it has is known then, so nothing of it comes twice on its next connection.
      if (!session.closed) await confirmed(session)
    } while (running.has(session) && !session.leaving)
    if (!session.closed) session.end()
  })
  await Promise.race([Promise.all(closing), pause(withinMs)])
  for (const session of [...audience.sessions()]) session.close()
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref()
  })
}
