// What a run leaves: a table for people, JSON for later, and pictures.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { goalText, type Judged } from './figures.ts'
import { draw } from './plot.ts'
import type { Outcome, Row } from './row.ts'

export interface Finished extends Omit<Outcome, 'figures'> {
  row: Row
  figures: readonly Judged[]
  seconds: number
  /** Why the row has no figures. */
  failure?: string
}

const results = new URL('../results/', import.meta.url)
/** Its table is the last kept run's. */
const page = new URL('../../docs/performance.md', import.meta.url)

/** One Markdown table over all rows. */
export function table(finished: readonly Finished[]): string {
  const lines = [['row', 'figure', 'floor', 'product', 'ratio', 'rounds from – to', "floor's spread", 'goal', 'verdict']]
  for (const { row, figures, failure } of finished) {
    if (failure) lines.push([row.name, failure.split('\n')[0] ?? '', '', '', '', '', '', '', 'FAILED'])
    for (const figure of figures) {
      const { name, unit, floor, product, ratio, ratioRange, floorSpread, goals, verdict } = figure
      lines.push([
        row.name,
        name,
        `${short(floor)} ${unit}`,
        `${short(product)} ${unit}`,
        `${ratio.toFixed(2)}×`,
        ratioRange.map((each) => each.toFixed(2)).join(' – '),
        `${floorSpread.toFixed(2)}×`,
        goals.map((goal) => goalText(goal, unit)).join(', '),
        verdict === 'shown' ? '' : verdict,
      ])
    }
  }
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)))
  const drawn = lines.map((line) => `| ${line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`)
  drawn.splice(1, 0, `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`)
  const notes = finished.flatMap(({ row, notes = [] }) => notes.map((note) => `- ${row.name}: ${note}`))
  return [...drawn, ...(notes.length > 0 ? ['', ...notes] : [])].join('\n')
}

/** How long each row took, and all of them: `send 151 s, … ; 998 s in all`. */
export function timesText(finished: readonly Finished[], seconds: number): string {
  return `${finished.map(({ row, seconds }) => `${row.name} ${seconds.toFixed(0)} s`).join(', ')}; ${seconds.toFixed(0)} s in all`
}

/** Writes results/<date>.json and the pictures the README shows. @returns the files */
export function keep(
  finished: readonly Finished[],
  { quick, rounds, seconds }: { quick: boolean; rounds: number; seconds: number },
): string[] {
  mkdirSync(results, { recursive: true })
  const at = new Date()
  const machine = { cpus: cpus().length, model: cpus()[0]?.model, memoryBytes: totalmem(), kernel: release(), node: process.version }
  const files = [
    [
      `${at.toISOString().slice(0, 10)}.json`,
      `${JSON.stringify({ at, quick, rounds, seconds: Math.round(seconds), machine, rows: finished.map(plain) }, null, 2)}\n`,
    ] as const,
    ...finished.flatMap(({ charts = [], row }) => charts.map((chart) => [`${row.name}.svg`, draw(chart)] as const)),
  ]
  for (const [name, text] of files) writeFileSync(new URL(name, results), text)
  const told = readFileSync(page, 'utf8').replace(
    /(<!-- table -->).*(<!-- \/table -->)/s,
    (_all, begin: string, end: string) =>
      `${begin}\n${at.toISOString().slice(0, 10)}, ${rounds} rounds, ${machine.cpus} cores. Took ${timesText(finished, seconds)}.\n\n${table(finished)}\n${end}`,
  )
  writeFileSync(page, told)
  return [...files.map(([name]) => `bench/results/${name}`), 'docs/performance.md']
}

function plain({ row, figures, notes, charts, failure, seconds }: Finished): object {
  return { name: row.name, what: row.what, seconds: Math.round(seconds), figures, notes, charts, failure }
}

function short(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2)
}
