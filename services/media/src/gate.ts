// Lets so many through at a time and shares the places among people: what bounds memory while pictures are decoded and files are stored.

/** @throws the signal's reason, where it aborts before the turn has come */
export type Gate = <Result>(person: string, signal: AbortSignal, work: () => Promise<Result>) => Promise<Result>

/** A place goes to who has the fewest, among those to who was served longest ago: a flood of one person holds up another by one turn. */
export function createGate(width: number): Gate {
  const inside = new Map<string, number>()
  /** Who waits, next in turn first. */
  const waiting = new Map<string, Set<() => void>>()
  let all = 0

  function enter(person: string): void {
    inside.set(person, (inside.get(person) ?? 0) + 1)
    all += 1
  }
  function leave(person: string): void {
    const rest = (inside.get(person) ?? 0) - 1
    if (rest > 0) inside.set(person, rest)
    else inside.delete(person)
    all -= 1
    const own = waiting.get(person)
    if (own && waiting.delete(person)) waiting.set(person, own)
    const [next] = [...waiting].sort(([one], [other]) => (inside.get(one) ?? 0) - (inside.get(other) ?? 0))
    if (next) call(...next)
  }
  function call(person: string, turns: Set<() => void>): void {
    const [turn] = turns
    if (turn) turns.delete(turn)
    if (turns.size === 0) waiting.delete(person)
    enter(person)
    turn?.()
  }
  function turnOf(person: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const turns = waiting.get(person) ?? new Set()
      const turn = () => {
        signal.removeEventListener('abort', give)
        resolve()
      }
      const give = () => {
        turns.delete(turn)
        if (turns.size === 0) waiting.delete(person)
        reject(signal.reason)
      }
      waiting.set(person, turns.add(turn))
      signal.addEventListener('abort', give, { once: true })
    })
  }

  return async (person, signal, work) => {
    signal.throwIfAborted()
    if (all < width) enter(person)
    else await turnOf(person, signal)
    try {
      return await work()
    } finally {
      leave(person)
    }
  }
}
