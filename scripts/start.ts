// `npm start`: all five services in this one process, embedded stores under DATA_DIR, the gateway on PORT. Nothing else is needed.

import { loadConfig } from '@fieldline/service/config'
import { flushTelemetry } from '@fieldline/service/telemetry'
import { createApp as createConversation } from '../services/conversation/src/app.ts'
import { fields as conversationFields } from '../services/conversation/src/config.ts'
import { createApp as createGateway } from '../services/gateway/src/app.ts'
import { fields as gatewayFields } from '../services/gateway/src/config.ts'
import { createApp as createMedia } from '../services/media/src/app.ts'
import { fields as mediaFields } from '../services/media/src/config.ts'
import { createApp as createRealtime } from '../services/realtime/src/app.ts'
import { fields as realtimeFields } from '../services/realtime/src/config.ts'
import { createApp as createStats } from '../services/stats/src/app.ts'
import { fields as statsFields } from '../services/stats/src/config.ts'
import { faultsOf } from './lib/faults.ts'
import { embedded, plan, type ServiceName } from './lib/plan.ts'
import { tokenFor } from './lib/token.ts'

const run = await plan(embedded).catch(fail)
const faults = await faultsOf(run)
if (faults.length > 0) fail(...faults)
// Logs go to stderr, and only what is amiss, so that the address and the tokens stay in sight.
const quiet = { LOG_LEVEL: process.env.LOG_LEVEL || 'warn', READY_LINE: '1' }
// The memory bus confirms an event when all have taken it: stats makes nobody wait.
const prompt = { STATS_GATHER_MS: process.env.STATS_GATHER_MS || '20' }
const envOf = (service: ServiceName): Record<string, string> => ({
  ...run.replicas.find((replica) => replica.service === service)?.env,
  ...quiet,
  ...prompt,
})

const conversation = await createConversation(loadConfig(conversationFields, envOf('conversation')))
const media = await createMedia(loadConfig(mediaFields, envOf('media')))
const stats = await createStats(loadConfig(statsFields, envOf('stats')))
const realtime = await createRealtime(loadConfig(realtimeFields, envOf('realtime')))
const inner = [conversation, media, stats, realtime]
const gateway = await createGateway(loadConfig(gatewayFields, envOf('gateway')), { admin: inner })
const apps = [...inner, gateway]

let ending: Promise<never> | undefined
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void end(0))

try {
  for (const app of apps) await app.start()
  greet()
} catch (error) {
  // A stop that was asked for meanwhile is no failure.
  if (!ending) console.error(`start: ${textOf(error)}`)
  await end(1)
}

function end(code: number): Promise<never> {
  ending ??= stop(code)
  return ending
}

async function stop(code: number): Promise<never> {
  for (const app of apps.toReversed()) await app.stop()
  await flushTelemetry()
  process.exit(code)
}

function fail(...reasons: unknown[]): never {
  for (const reason of reasons) console.error(`start: ${textOf(reason)}`)
  process.exit(1)
}

function textOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason)
}

function greet(): void {
  const env = envOf('gateway')
  console.log(`
Fieldline is ready at ${run.url}   (API: ${run.url}/api/v1/chat, documents: ${run.url}/docs)
Data is kept in ${run.dataDir}
`)
  // Without a secret tokens come from the identity provider alone.
  if (!env.JWT_SECRET) return
  console.log(`export FARMER=${tokenFor({ role: 'User', sub: 'user123', firstName: 'Rajesh', lastName: 'Kumar' }, env)}
export AGENT=${tokenFor({ role: 'Support', sub: 'support123', firstName: 'Asha', lastName: 'Patil' }, env)}
export ADMIN=${tokenFor({ role: 'Admin', sub: 'admin123', firstName: 'Meena', lastName: 'Iyer' }, env)}
`)
}
