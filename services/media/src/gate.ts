// Lets so many through at a time, in the order they came: what bounds memory while pictures are decoded and files are stored.

export type Gate = <Result>(work: () => Promise<Result>) => Promise<Result>

export function createGate(width: number): Gate {
  const waiting: (() => void)[] = []
  let inside = 0
  return async (work) => {
    if (inside >= width) await new Promise<void>((enter) => waiting.push(enter))
    else inside += 1
    try {
      return await work()
    } finally {
      // Whoever is next takes this place as it is.
      const next = waiting.shift()
      if (next) next()
      else inside -= 1
    }
  }
}
