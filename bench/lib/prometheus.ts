// Means of a service's histograms between two looks at its /metrics.

/** Sums and counts by metric and labels, as the text has them. */
export type Histograms = ReadonlyMap<string, number>

export function scrape(text: string): Histograms {
  const lines = text.split('\n').filter((line) => /_(sum|count)[{ ]/.test(line))
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]))
}

/** NaN where nothing was observed in between. */
export function meanBetween(before: Histograms, after: Histograms, metric: string, labels: Readonly<Record<string, string>>): number {
  const wanted = Object.entries(labels).map(([name, value]) => `${name}="${value}"`)
  const grown = (part: 'sum' | 'count') => {
    let total = 0
    for (const [series, value] of after)
      if (series.startsWith(`${metric}_${part}`) && wanted.every((label) => series.includes(label)))
        total += value - (before.get(series) ?? 0)
    return total
  }
  return grown('sum') / grown('count')
}
