// What stats reads from the environment.
import { type Config, commonFields, int, ms, url } from '@fieldline/service/config'
import { databaseUrl } from '@fieldline/service/database-url'

export const fields = {
  ...commonFields,
  databaseUrl: databaseUrl('stats', { default: 'sqlite:./data/stats.db', doc: 'where facts and their sums are kept' }),
  conversationUrl: url('CONVERSATION_URL', {
    default: 'http://127.0.0.1:5002',
    protocols: ['http', 'https'],
    doc: 'the conversation service, whose log fills gaps',
  }),
  maxRangeDays: int('STATS_MAX_RANGE_DAYS', {
    default: 366,
    min: 1,
    max: 3_660,
    unit: 'days',
    doc: 'longest range one question may ask for',
  }),
  gatherMs: ms('STATS_GATHER_MS', {
    default: 1_000,
    min: 0,
    doc: 'how long an event waits for others to be taken in with it; busy conversations then cost less',
  }),
  prefetch: int('STATS_PREFETCH', { default: 2_000, min: 1, max: 10_000, doc: 'broker deliveries taken ahead, and so the largest batch' }),
  maxAttempts: int('STATS_MAX_ATTEMPTS', { default: 5, min: 1, max: 100, doc: 'handlings of an event before it goes to the dead letters' }),
  gapWaitMs: ms('STATS_GAP_WAIT_MS', {
    default: 5_000,
    min: 10,
    doc: 'how long an event waits for those before it until the log is asked',
  }),
  rollUpMs: ms('STATS_ROLL_UP_MS', { default: 5_000, min: 10, doc: 'pause between two bringings of the kept sums up to date' }),
  signalMs: ms('STATS_SIGNAL_MS', { default: 3_000, min: 100, doc: 'least time between two `stats.changed`' }),
} as const
export type StatsConfig = Config<typeof fields>
