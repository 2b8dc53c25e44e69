// What stands against starting a plan: every fault of every service's configuration at once, a port or a folder that another run has.
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { ConfigError, type Fields, loadConfig } from '@fieldline/service/config'
import type { Plan } from './plan.ts'
import { listenFault } from './ports.ts'

/** Faults, one sentence each, none twice: services share most variables. None: the run may start, and holds its DATA_DIR from now on. */
export async function faultsOf(plan: Plan): Promise<string[]> {
  const faults = await configFaults(plan)
  if (faults.length > 0) return faults
  const door = plan.replicas.find(({ service }) => service === 'gateway')
  const code = door && (await listenFault(door.port, door.env.HOST))
  if (door && code) return [`PORT: nothing can listen on ${door.env.HOST}:${door.port} (${code})`]
  const ownFiles = plan.replicas.some(({ env }) => env.DATABASE_URL?.startsWith('sqlite:'))
  if (ownFiles && !hold(plan.dataDir)) return [`DATA_DIR: another run is working in ${plan.dataDir}`]
  return []
}

async function configFaults({ replicas }: Plan): Promise<string[]> {
  const faults = new Set<string>()
  for (const { service, env } of replicas) {
    const { fields } = (await import(`../../services/${service}/src/config.ts`)) as { fields: Fields }
    try {
      loadConfig(fields, env)
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      for (const fault of error.faults) faults.add(fault)
    }
  }
  return [...faults]
}

/** Kept for the life of the process: collected as garbage it would let go. */
let held: DatabaseSync | undefined

/** Two runs in one folder would take each other's events out of the outbox. Let go by the system, however the process ends. @returns false where another process holds it */
function hold(dataDir: string): boolean {
  held = new DatabaseSync(join(dataDir, 'lock.db'), { timeout: 0 })
  try {
    held.exec('BEGIN EXCLUSIVE')
    return true
  } catch (error) {
    const busy = 5
    if (Error.isError(error) && 'errcode' in error && error.errcode === busy) return false
    throw error
  }
}
