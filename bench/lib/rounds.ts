// Alternating rounds: floor and product take turns at going first, so that what drifts on the machine falls on both.

export interface Rounds {
  rounds: number
  progress(text: string): void
}

/** Runs both sides `rounds` times and gives what each round found. */
export async function alternate<Floor, Product>(
  { rounds, progress }: Rounds,
  sides: { floor(round: number): Promise<Floor>; product(round: number): Promise<Product> },
): Promise<{ floor: Floor; product: Product }[]> {
  const found: { floor: Floor; product: Product }[] = []
  for (let round = 0; round < rounds; round += 1) {
    progress(`round ${round + 1} of ${rounds}`)
    if (round % 2 === 0) {
      const floor = await sides.floor(round)
      found.push({ floor, product: await sides.product(round) })
    } else {
      const product = await sides.product(round)
      found.push({ floor: await sides.floor(round), product })
    }
  }
  return found
}
