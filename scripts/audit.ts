// `npm run audit`: licences, lock, known holes, and advisories where the registry offers them; says so where it doesn't. `-- --list` names every package.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { inspect, type Lock, type Package, packagesOf } from './lib/lock.ts'

const root = join(import.meta.dirname, '..')
const { values } = parseArgs({ options: { list: { type: 'boolean', default: false } } })
const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lock
const { allowScripts = {} } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { allowScripts?: Record<string, boolean> }

const packages = packagesOf(lock, licenceOf)
const { faults, notes } = inspect(packages, Object.keys(allowScripts))
console.log(`${packages.length} packages, ${packages.filter(({ dev }) => !dev).length} of them shipped\n`)
console.log(table(packages))
if (values.list)
  for (const { name, version, licence, dev } of packages) console.log(`${name}@${version}\t${licence ?? 'not told'}${dev ? '\tdev' : ''}`)

const advisories = ask(root, ['audit', '--json', '--package-lock-only'])
if ('refused' in advisories) notes.push(`ADVISORIES WERE NOT CHECKED: ${advisories.refused}`)
else if (!knowsAHole()) notes.push('ADVISORIES WERE NOT CHECKED: the registry answers, but does not know a hole that everybody knows')
else {
  for (const { name, severity, range } of advisories.found) {
    const line = `${name} ${range}: ${severity}`
    if (severity === 'high' || severity === 'critical') faults.push(line)
    else notes.push(line)
  }
  console.log(`Advisories: ${advisories.found.length} packages concerned`)
}

for (const note of notes) console.log(`note: ${note}`)
for (const fault of faults) console.error(`FAULT: ${fault}`)
console.log(faults.length === 0 ? '\naudit: nothing wrong in what could be checked' : `\naudit: ${faults.length} faults`)
process.exit(faults.length === 0 ? 0 : 1)

/** Packages older than SPDX fields say it in their own file, in a list of `{ type }`. */
function licenceOf(path: string): string | undefined {
  try {
    const { license, licenses } = JSON.parse(readFileSync(join(root, path, 'package.json'), 'utf8')) as {
      license?: unknown
      licenses?: { type?: string }[]
    }
    return typeof license === 'string' ? license : licenses?.map(({ type }) => type).join(' OR ') || undefined
  } catch {
    // Not installed here: a build for another platform.
    return undefined
  }
}

/** Licences and how many packages have each, shipped ones apart. */
function table(all: readonly Package[]): string {
  const counts = new Map<string, { shipped: number; built: number }>()
  for (const { licence = 'not told (builds of other platforms)', dev } of all) {
    const count = counts.get(licence) ?? { shipped: 0, built: 0 }
    count[dev ? 'built' : 'shipped'] += 1
    counts.set(licence, count)
  }
  const rows = [...counts].sort(([, a], [, b]) => b.shipped + b.built - a.shipped - a.built)
  return [
    'licence | shipped | only to build and test',
    ...rows.map(([licence, { shipped, built }]) => `${licence} | ${shipped} | ${built}`),
    '',
  ].join('\n')
}

type Advisories = { found: { name: string; severity: string; range: string }[] } | { refused: string }

function ask(cwd: string, args: readonly string[]): Advisories {
  const { stdout, error } = spawnSync('npm', args, { cwd, encoding: 'utf8', timeout: 60_000, maxBuffer: 64_000_000 })
  if (error) return { refused: error.message }
  try {
    const answer = JSON.parse(stdout) as {
      vulnerabilities?: Record<string, { name: string; severity: string; range: string }>
      message?: string
      error?: { summary?: string }
    }
    if (answer.vulnerabilities) return { found: Object.values(answer.vulnerabilities) }
    return { refused: withoutAddress(answer.message ?? answer.error?.summary ?? 'the registry gave no advisories') }
  } catch {
    return { refused: 'npm gave no answer that can be read' }
  }
}

/** A mirror may answer "no advisories" to everything: one that does not know this one knows none. */
function knowsAHole(): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'fieldline-audit-'))
  try {
    const dependencies = { lodash: '4.17.4' }
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'canary', version: '1.0.0', dependencies }))
    const packagesInLock = { '': { name: 'canary', version: '1.0.0', dependencies }, 'node_modules/lodash': { version: '4.17.4' } }
    writeFileSync(
      join(folder, 'package-lock.json'),
      JSON.stringify({ name: 'canary', version: '1.0.0', lockfileVersion: 3, requires: true, packages: packagesInLock }),
    )
    const answer = ask(folder, ['audit', '--json', '--package-lock-only'])
    return 'found' in answer && answer.found.length > 0
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function withoutAddress(text: string): string {
  return text.replace(/https?:\/\/\S+/g, 'the registry')
}
