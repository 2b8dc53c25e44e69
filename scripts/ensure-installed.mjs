// Makes a fresh clone runnable: installs from the lock file when node_modules is missing or older than the lock. Runs on Node 20 and newer, before anything else.
import { spawnSync } from 'node:child_process'
import { existsSync, statSync, utimesSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const stamp = `${root}node_modules/.package-lock.json`
const fresh =
  existsSync(stamp) &&
  existsSync(`${root}node_modules/.bin/node`) &&
  statSync(stamp).mtimeMs >= statSync(`${root}package-lock.json`).mtimeMs
if (!fresh) {
  console.error('fieldline: installing dependencies from package-lock.json …')
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: root, stdio: ['ignore', 2, 2] })
  if (status !== 0) process.exit(status ?? 1)
  const now = new Date()
  utimesSync(stamp, now, now)
}
