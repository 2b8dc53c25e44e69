// `npm run stats:verify`: recounts from conversation's log and prints every difference; exit code 1 if there is one.
// Environment as of services/stats (DATABASE_URL, CONVERSATION_URL, INTERNAL_SECRET, NAMESPACE); what is unset is the last run's of DATA_DIR.
import { runCommand, withStore } from '../services/stats/src/commands.ts'
import { verify } from '../services/stats/src/verify.ts'
import { statsEnv } from './lib/last-run.ts'

const code = await runCommand(() =>
  withStore(statsEnv(), async (store, feed) => {
    const { conversations, events, days, behind, differences } = await verify(store, feed, (text) => console.log(text))
    console.log(
      `${conversations} conversations with ${events} events and ${days} days compared; ${behind} behind their log; ${differences} differences`,
    )
    return differences === 0 ? 0 : 1
  }),
)
process.exit(code)
