// `npm run stats:replay-dead [-- --limit 100]`: puts dead letters of `stats.events` back into the queue, their attempts forgotten.
// Environment as of services/stats (BROKER_URL, DATABASE_URL, NAMESPACE); what is unset is the last run's of DATA_DIR.
import { parseArgs } from 'node:util'
import { loadConfig } from '@fieldline/service/config'
import { runCommand } from '../services/stats/src/commands.ts'
import { fields } from '../services/stats/src/config.ts'
import { replayDead } from '../services/stats/src/replay.ts'
import { statsEnv } from './lib/last-run.ts'

const code = await runCommand(async () => {
  const { values } = parseArgs({ options: { limit: { type: 'string', default: '10000' } } })
  const limit = Number(values.limit)
  if (!Number.isInteger(limit) || limit < 1) throw new Error('--limit must be a whole number of at least 1')
  const { databaseUrl, brokerUrl, namespace, prefetch, logLevel } = fields
  const config = loadConfig({ databaseUrl, brokerUrl, namespace, prefetch, logLevel }, statsEnv())
  const { replayed, left } = await replayDead(config, limit)
  console.log(`${replayed} tried again, ${left} lie there now`)
  return 0
})
process.exit(code)
