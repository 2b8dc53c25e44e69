// The secrets of a run on this machine: made once, kept in DATA_DIR with mode 600, never printed.
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const names = ['JWT_SECRET', 'INTERNAL_SECRET', 'MEDIA_SIGNING_SECRET'] as const
export type Secrets = Record<(typeof names)[number], string>

/** What the environment sets wins; the rest is read from `<dataDir>/secrets.json` or made there. @throws Error with NODE_ENV=production and a secret missing */
export function localSecrets(dataDir: string, env: NodeJS.ProcessEnv = process.env): Secrets {
  const file = join(dataDir, 'secrets.json')
  const kept = readKept(file)
  const missing = names.filter((name) => !env[name] && !kept[name])
  if (env.NODE_ENV === 'production' && names.some((name) => !env[name])) {
    throw new Error(`NODE_ENV=production needs ${names.filter((name) => !env[name]).join(', ')} in the environment`)
  }
  if (missing.length > 0) {
    for (const name of missing) kept[name] = randomBytes(32).toString('base64url')
    mkdirSync(dataDir, { recursive: true })
    const fresh = `${file}.${process.pid}`
    writeFileSync(fresh, `${JSON.stringify(kept, null, 2)}\n`, { mode: 0o600 })
    renameSync(fresh, file)
    chmodSync(file, 0o600)
  }
  return Object.fromEntries(names.map((name) => [name, env[name] || kept[name]])) as Secrets
}

function readKept(file: string): Partial<Secrets> {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Partial<Secrets>
  } catch (error) {
    if (Error.isError(error) && 'code' in error && error.code === 'ENOENT') return {}
    throw error
  }
}
