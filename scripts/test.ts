// `npm test`: types, lint, the dependency rule, documents and every suite, against the real servers that can be had; its last lines say what ran, and on what.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Backing, backing, type ServerName } from '@fieldline/testing/backing'

interface Totals {
  numPassedTests: number
  numFailedTests: number
  numPendingTests: number
  numTodoTests: number
  numFailedTestSuites: number
  numRuntimeErrorTestSuites: number
}

const variables: Record<ServerName, string> = { mongodb: 'MONGODB_URL', rabbitmq: 'AMQP_URL', s3: 'S3_URL', redis: 'REDIS_URL' }
const root = join(import.meta.dirname, '..')

const taken: Backing[] = []
const missing: ServerName[] = []
for (const name of Object.keys(variables) as ServerName[]) {
  const server = await backing(name)
  if (server) {
    taken.push(server)
    process.env[variables[name]] = server.url
  } else missing.push(name)
}

const folder = mkdtempSync(join(tmpdir(), 'fieldline-test-'))
const report = join(folder, 'report.json')
let failed = false
let totals: Totals | undefined
try {
  for (const check of ['types', 'lint', 'deps', 'docs:check']) failed = !run(check, 'npm', ['run', '-s', check]) || failed
  const jest = [
    '--experimental-vm-modules',
    '--disable-warning=ExperimentalWarning',
    'node_modules/jest/bin/jest.js',
    '--json',
    `--outputFile=${report}`,
  ]
  failed = !run('jest', process.execPath, [...jest, ...process.argv.slice(2)], 'pipe') || failed
  totals = JSON.parse(readFileSync(report, 'utf8')) as Totals
} finally {
  rmSync(folder, { recursive: true, force: true })
  for (const server of taken) await server.stop()
}

const used =
  [...taken.map(({ name, from }) => `${name} (${from})`), ...(process.env.JAEGER_URL ? ['jaeger (environment)'] : [])].join(', ') || 'none'
console.log(`\nBacking services: ${used}; embedded: sqlite, memory bus, files`)
if (missing.length > 0) console.log(`!!! NOT RUN for want of a server: the suites on ${missing.join(', ')}`)
const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, numFailedTestSuites } = totals
console.log(`Suites that failed: ${numFailedTestSuites}`)
console.log(`${numPassedTests} passed, ${numFailedTests} failed, ${numPendingTests + numTodoTests} skipped`)
process.exit(failed || numPassedTests === 0 ? 1 : 0)

/** Runs one step in front of the reader. @returns whether it succeeded */
function run(name: string, command: string, args: string[], stdout: 'inherit' | 'pipe' = 'inherit'): boolean {
  console.log(`\n--- ${name}`)
  // Jest prints its JSON on stdout as well as into the file; what people read goes to stderr.
  const { status } = spawnSync(command, args, { cwd: root, stdio: ['ignore', stdout === 'pipe' ? 'ignore' : 'inherit', 'inherit'] })
  if (status !== 0) console.log(`--- ${name} FAILED`)
  return status === 0
}
