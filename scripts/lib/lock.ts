// What a lock file says about the packages we ship and build with: licences, integrity, install scripts, known holes. Pure.

export interface LockEntry {
  version?: string
  integrity?: string
  license?: string
  link?: boolean
  optional?: boolean
  /** Of a link: the workspace's folder. */
  resolved?: string
  hasInstallScript?: boolean
  dependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
}
export interface Lock {
  packages: Record<string, LockEntry>
}
export interface Package {
  /** As in the lock: `node_modules/a/node_modules/b`. */
  path: string
  name: string
  version: string
  licence: string | undefined
  /** Only for building and testing: not in an image. */
  dev: boolean
  /** A build for one platform; absent where it does not fit. */
  optional: boolean
  integrity: string | undefined
  runsAtInstall: boolean
}

/** @param licenceOf what a package itself says, where the lock says nothing */
export function packagesOf(lock: Lock, licenceOf: (path: string) => string | undefined = () => undefined): Package[] {
  const shipped = shippedPaths(lock)
  return Object.entries(lock.packages)
    .filter(([path, { link }]) => path.includes('node_modules/') && !link)
    .map(([path, entry]) => ({
      path,
      name: path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length),
      version: entry.version ?? '',
      licence: entry.license ?? licenceOf(path),
      dev: !shipped.has(path),
      optional: entry.optional === true,
      integrity: entry.integrity,
      runsAtInstall: entry.hasInstallScript === true,
    }))
}

/** What the services need at run time, found as Node finds it: in the nearest node_modules upwards. */
function shippedPaths({ packages }: Lock): Set<string> {
  const shipped = new Set<string>()
  const open = Object.keys(packages).filter((path) => /^services\/[^/]+$/.test(path))
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (shipped.has(path)) continue
    shipped.add(path)
    const entry = packages[path]
    if (entry?.link && entry.resolved) open.push(entry.resolved)
    for (const name of Object.keys({ ...entry?.dependencies, ...entry?.optionalDependencies })) {
      const found = nearest(packages, path, name)
      if (found) open.push(found)
    }
  }
  return shipped
}

function nearest(packages: Lock['packages'], from: string, name: string): string | undefined {
  for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/')))) {
    const path = `${folder === '' ? '' : `${folder}/`}node_modules/${name}`
    if (packages[path]) return path
    if (folder === '') return undefined
  }
}

/** Licences that let us ship: permissive ones; LGPL for libraries that are linked as they come (libvips). */
const shippable = new Set([
  'MIT',
  'ISC',
  'BSD-2-Clause',
  'BSD-3-Clause',
  '0BSD',
  'Apache-2.0',
  'BlueOak-1.0.0',
  'CC0-1.0',
  'Unlicense',
  'Python-2.0',
  'LGPL-3.0-or-later',
])
/** Fine beside, for what only builds and tests. */
const buildable = new Set([...shippable, 'CC-BY-4.0', 'MPL-2.0'])

/** Whether an SPDX expression (without WITH) leaves a choice that is allowed. */
export function isAllowed(expression: string, dev: boolean): boolean {
  const allowed = dev ? buildable : shippable
  const tokens = expression.match(/\(|\)|[^\s()]+/g) ?? []
  let at = 0
  const either = (): boolean => {
    let good = both()
    while (tokens[at] === 'OR') {
      at += 1
      good = both() || good
    }
    return good
  }
  const both = (): boolean => {
    let good = one()
    while (tokens[at] === 'AND') {
      at += 1
      good = one() && good
    }
    return good
  }
  const one = (): boolean => {
    const token = tokens[at]
    at += 1
    if (token !== '(') return token !== undefined && allowed.has(token)
    const good = either()
    if (tokens[at] !== ')') return false
    at += 1
    return good
  }
  return either() && at === tokens.length
}

/** Versions below these have holes that are known to us, whatever a registry offers. */
export const floors: Readonly<Record<string, string>> = {
  'engine.io': '6.6.10',
  'socket.io-parser': '4.2.7',
  multer: '2.5.0',
  amqplib: '2.3.0',
  mongoose: '9.9.2',
  jsonwebtoken: '9.0.0',
  'path-to-regexp': '8.0.0',
  'body-parser': '1.20.3',
  sharp: '0.32.6',
  ws: '8.17.1',
}

/** Numeric parts compared; a pre-release counts as its release. */
export function isBelow(version: string, floor: string): boolean {
  const parts = (text: string) => (text.split('-')[0] ?? '').split('.').map(Number)
  const [own, least] = [parts(version), parts(floor)]
  for (let index = 0; index < 3; index += 1) {
    const difference = (own[index] ?? 0) - (least[index] ?? 0)
    if (difference !== 0) return difference < 0
  }
  return false
}

export interface Findings {
  /** Each is a reason to fail. */
  faults: string[]
  /** Each is worth a line. */
  notes: string[]
}

/** @param permitted packages whose install scripts may run (`allowScripts` in package.json); others' are not run by npm */
export function inspect(packages: readonly Package[], permitted: readonly string[]): Findings {
  const faults: string[] = []
  const unlocked: string[] = []
  const silent: string[] = []
  for (const { path, name, version, licence, dev, optional, integrity, runsAtInstall } of packages) {
    const floor = floors[name]
    if (floor && isBelow(version, floor)) faults.push(`${path} ${version} is below ${floor}, which closes known holes`)
    if (licence !== undefined && !isAllowed(licence, dev))
      faults.push(`${path} ${version} has a licence that is not on our list: ${licence}`)
    if (licence === undefined && !optional) faults.push(`${path} ${version} names no licence`)
    if (!integrity && optional) unlocked.push(name)
    if (!integrity && !optional) faults.push(`${path} ${version} has no integrity in the lock: whatever is served would be installed`)
    if (runsAtInstall && !permitted.includes(name)) silent.push(name)
  }
  const notes: string[] = []
  if (unlocked.length > 0)
    notes.push(`${unlocked.length} builds of other platforms stand in the lock without integrity, as this registry did not offer them`)
  if (silent.length > 0) notes.push(`install scripts that are not run: ${silent.join(', ')}`)
  return { faults, notes }
}
