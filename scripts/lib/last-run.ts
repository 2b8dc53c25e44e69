// Where the last run on this machine has its stores and services, for commands that work beside it: kept in DATA_DIR with mode 600.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { localSecrets } from './secrets.ts'

const names = ['DATABASE_URL', 'BROKER_URL', 'CONVERSATION_URL'] as const

/** Remembers what a command beside stats needs to know of the run that begins. */
export function keepRun(dataDir: string, statsEnv: Readonly<Record<string, string>>): void {
  const kept = Object.fromEntries(names.map((name) => [name, statsEnv[name]]))
  writeFileSync(join(dataDir, 'last-run.json'), `${JSON.stringify(kept, null, 2)}\n`, { mode: 0o600 })
}

/** The environment of stats: what is set wins, the rest is the last run's. @throws Error with NODE_ENV=production and a secret missing */
export function statsEnv(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const dataDir = resolve(env.DATA_DIR || 'data')
  const file = join(dataDir, 'last-run.json')
  const kept = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>) : {}
  const secrets = env.INTERNAL_SECRET ? {} : { INTERNAL_SECRET: localSecrets(dataDir, env).INTERNAL_SECRET }
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''))
  return { ...kept, ...secrets, ...set }
}
