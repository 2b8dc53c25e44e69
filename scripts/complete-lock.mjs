// Completes package-lock.json: adds the optional builds of other platforms that the registry at hand does not offer,
// so that `npm ci` accepts the lock everywhere ("Missing … from lock file" otherwise). Run after every `npm install`: npm run lock:complete
import { readFileSync, writeFileSync } from 'node:fs'

const file = new URL('../package-lock.json', import.meta.url)
const lock = JSON.parse(readFileSync(file, 'utf8'))
const systems = {
  darwin: 'darwin',
  win32: 'win32',
  windows: 'win32',
  linux: 'linux',
  linuxmusl: 'linux',
  freebsd: 'freebsd',
  android: 'android',
  openharmony: 'openharmony',
  wasm32: null,
}
const processors = ['arm64', 'x64', 'ia32', 'arm', 'ppc64', 'riscv64', 's390x', 'loong64', 'wasm32']

let added = 0
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const nested = `${path}/node_modules/${name}`
    const hoisted = `node_modules/${name}`
    if (lock.packages[nested] || lock.packages[hoisted]) continue
    if (!/^\d/.test(version)) continue // a range needs a registry; exact versions are what native builds use
    const words = name.split(/[/-]/)
    const os = words.map((word) => systems[word]).find(Boolean)
    const cpu = words.find((word) => processors.includes(word))
    if (!os && !cpu) continue
    const libc = words.some((word) => word.includes('musl')) ? 'musl' : words.includes('gnu') || os === 'linux' ? 'glibc' : undefined
    lock.packages[hoisted] = {
      version,
      ...(cpu && { cpu: [cpu] }),
      ...(entry.dev && { dev: true }),
      ...(os === 'linux' && libc && { libc: [libc] }),
      optional: true,
      ...(os && { os: [os] }),
    }
    added += 1
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)))
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`)
console.log(`${added} optional builds added to package-lock.json`)
