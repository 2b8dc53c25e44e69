// `npm run stats:rebuild`: counts all statistics anew from conversation's log, while the service goes on answering, and swaps them in.
// Environment as of services/stats (DATABASE_URL, CONVERSATION_URL, INTERNAL_SECRET, NAMESPACE); what is unset is the last run's of DATA_DIR.
import { runCommand, withStore } from '../services/stats/src/commands.ts'
import { rebuild } from '../services/stats/src/rebuild.ts'
import { statsEnv } from './lib/last-run.ts'

const code = await runCommand(() =>
  withStore(statsEnv(), async (store, feed) => {
    const began = performance.now()
    const number = await rebuild({
      store,
      feed,
      graceMs: 5_000,
      onProgress: ({ phase, conversations, events }) => console.log(`${phase}: ${conversations} conversations, ${events} events taken in`),
    })
    console.log(`Generation ${number} is in use after ${((performance.now() - began) / 1_000).toFixed(1)} s`)
    return 0
  }),
)
process.exit(code)
