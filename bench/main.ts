// `npm run bench [-- ROW … | profile send] [--quick] [--rounds N]`: floors and product side by side; prints the table, keeps it in bench/results, draws it.
import { parseArgs } from 'node:util'
import { backing } from '@fieldline/testing/backing'
import { judge } from './lib/figures.ts'
import { listenerOn } from './lib/proc.ts'
import { startProduct } from './lib/product.ts'
import { type Finished, keep, table, timesText } from './lib/report.ts'
import { startRole } from './lib/roles.ts'
import type { Bench, Row, Servers } from './lib/row.ts'
import { profileSend } from './profile.ts'
import { rows } from './rows.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false }, rounds: { type: 'string' }, keep: { type: 'boolean', default: false } },
})
const quick = values.quick
const rounds = Number(values.rounds ?? (quick ? 3 : 5))
if (!Number.isInteger(rounds) || rounds < 1) fail(`--rounds: '${values.rounds}' is not a number of rounds`)
const isProfile = positionals[0] === 'profile'
if (isProfile && positionals[1] !== 'send') fail('what can be profiled is: send')
const unknown = isProfile ? undefined : positionals.find((name) => !rows.some((row) => row.name === name))
if (unknown) fail(`there is no row '${unknown}'; there are: ${rows.map(({ name }) => name).join(' ')}`)
const wanted = positionals.length > 0 ? rows.filter(({ name }) => positionals.includes(name)) : rows

const { servers, stop } = await findServers()
const began = performance.now()
const finished: Finished[] = []
if (isProfile) {
  const profile = async (bench: Bench) => {
    console.log(await profileSend(bench))
    return { figures: [] }
  }
  const { failure } = await runRow({ name: 'profile', what: 'a send, by process and by hop', run: profile })
  await stop()
  process.exit(failure ? 1 : 0)
}
for (const row of wanted) finished.push(await runRow(row))

console.log(`\n${table(finished)}`)
const voids = finished.flatMap(({ figures }) => figures).filter(({ verdict }) => verdict === 'void')
if (voids.length > 0)
  console.log(`\n${voids.length} void: the floor moved by more than 1.5× between rounds; run it again on a quieter machine.`)
const seconds = (performance.now() - began) / 1_000
console.log(`\n${timesText(finished, seconds)}`)
const hasFailed = finished.some(({ failure }) => failure)
const isWhole = positionals.length === 0 && !quick && !hasFailed
if (isWhole || values.keep) console.log(`kept: ${keep(finished, { quick, rounds, seconds }).join(', ')}`)
await stop()
process.exit(hasFailed ? 1 : 0)

async function runRow(row: Row): Promise<Finished> {
  const started = performance.now()
  const ends: (() => unknown)[] = []
  const progress = (text: string) =>
    process.stderr.write(`${row.name.padEnd(10)} ${`${Math.round((performance.now() - started) / 1_000)}`.padStart(4)} s  ${text}\n`)
  progress(row.what)
  const bench: Bench = {
    ...{ quick, rounds, servers, progress },
    async product(options) {
      progress('starting the services')
      const product = await startProduct(options)
      ends.push(() => product.stop())
      return product
    },
    async role(file, nodeArgs) {
      const role = await startRole(file, nodeArgs)
      ends.push(() => role.stop())
      return role
    },
    atEnd: (end) => void ends.push(end),
  }
  try {
    const { figures, ...rest } = await row.run(bench)
    const judged = figures.map(judge)
    for (const { name, ratio, floorSpread, verdict } of judged)
      progress(`${name}: ${ratio.toFixed(2)}× (${verdict}; floor's spread ${floorSpread.toFixed(2)}×)`)
    return { row, figures: judged, ...rest, seconds: (performance.now() - started) / 1_000 }
  } catch (error) {
    // A message lost or doubled, or a row that could not run: the others are still worth their time.
    const failure = Error.isError(error) ? (error.stack ?? error.message) : String(error)
    progress(`FAILED: ${failure}`)
    return { row, figures: [], failure, seconds: (performance.now() - started) / 1_000 }
  } finally {
    for (const end of ends.reverse()) await Promise.resolve(end()).catch((error: unknown) => progress(`clean-up: ${error}`))
  }
}

/** Found as the tests find theirs; the services are started from the same environment. Without MongoDB both sides go without: SQLite, and no insert. */
async function findServers(): Promise<{ servers: Servers; stop(): Promise<void> }> {
  const [database, broker] = [await backing('mongodb'), await backing('rabbitmq')]
  if (!broker) fail('no RabbitMQ: AMQP_URL is not set, no Docker engine answers, and nothing is on 127.0.0.1:5672')
  process.env.AMQP_URL = broker.url
  if (database) process.env.MONGODB_URL = database.url
  const pidOf = (url: string) => listenerOn(Number(new URL(url).port))
  return {
    servers: {
      mongodb: database?.url,
      amqp: broker.url,
      pids: { broker: pidOf(broker.url), database: database && pidOf(database.url) },
    },
    async stop() {
      await database?.stop()
      await broker.stop()
    },
  }
}

function fail(message: string): never {
  console.error(`bench: ${message}`)
  process.exit(2)
}
