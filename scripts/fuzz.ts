// `npm run fuzz [-- --seconds 300 --seed 1 --way services]`: random half-right input at every door, bounded; exits with 1 on a 5xx, a crash, a hang or growing memory.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import jwt from 'jsonwebtoken'
import sharp from 'sharp'
import { io, type Socket } from 'socket.io-client'
import { Agent, FormData, request, WebSocket } from 'undici'
import { rest } from '../tests/support/client.ts'
import { withBroker } from '../tests/support/servers.ts'
import { startEmbedded, startServices, token, type Whole } from '../tests/support/whole.ts'
import { type Attack, attackOf, attacks, type World } from './lib/fuzz-attacks.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '300' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
    way: { type: 'string', default: 'both' },
  },
})
const seconds = Number(values.seconds)
const firstSeed = Number(values.seed)
if (!(seconds >= 1 && seconds <= 3_600) || !Number.isInteger(firstSeed) || !['both', 'embedded', 'services'].includes(values.way)) {
  console.error('fuzz: --seconds 1 to 3600, --seed a whole number, --way embedded, services or both')
  process.exit(2)
}
// The inner services have doors of their own only where they are processes of their own: that way gets most of the time.
if (values.way === 'both')
  process.exit(withBroker('fuzz of separate processes') ? inTurn({ embedded: 1 / 3, services: 2 / 3 }) : inTurn({ embedded: 1 }))
const atOnce = 8
const hangMs = 15_000
const mostGrowthBytes = 200_000_000
/** A 5xx, an event nobody acknowledged, or a connection ended (undici's and Node's codes) where an answer was due. */
const faulty = /^5\d\d$|INTERNAL|no acknowledgement|^UND_ERR_|^E[A-Z]+$/

const whole = await (values.way === 'services' ? startServices() : startEmbedded())
const agent = new Agent({ connections: 64, headersTimeout: hangMs, bodyTimeout: hangMs })
const inside = whole.started.filter(({ service }) => service !== 'all' && service !== 'gateway')
const urls = [whole.url, whole.url, whole.url, ...inside.map(({ url }) => url)]
const socketUrls = [whole.url, ...inside.filter(({ service }) => service === 'realtime').map(({ url }) => url)]
const pids = whole.started.map(({ pid }) => pid)
const findings: string[] = []
const counts: Record<string, number> = {}

const tokens = [
  token('User', 'fuzz-farmer'),
  token('Support', 'fuzz-agent'),
  token('Admin', 'fuzz-admin'),
  internalToken(whole),
  'not.a.token',
]
const arbitrary = attacks(await prepare())
const deadline = performance.now() + seconds * 1_000
let done = 0
let warm: number | undefined
await Promise.all(Array.from({ length: atOnce }, work))
await settle()
report()
await agent.close()
await whole.stop()
process.exit(findings.length === 0 ? 0 : 1)

/** Each way for its share of the time, in a process of its own. @returns the exit code */
function inTurn(shares: Readonly<Record<string, number>>): number {
  const codes = Object.entries(shares).map(([way, share]) => {
    const args = ['--way', way, '--seconds', String(Math.max(1, Math.round(seconds * share))), '--seed', String(firstSeed)]
    return spawnSync(process.execPath, [...process.execArgv, import.meta.filename, ...args], { stdio: 'inherit' }).status
  })
  return codes.every((code) => code === 0) ? 0 : 1
}

async function work(): Promise<void> {
  while (performance.now() < deadline && findings.length < 20) {
    const seed = firstSeed + done
    done += 1
    // Memory counts from when everything has been through once.
    if (warm === undefined && performance.now() > deadline - seconds * 700) warm = memory()
    const attack = attackOf(arbitrary, seed)
    const timer = setTimeout(() => found(seed, attack, `no answer within ${hangMs} ms`), hangMs)
    try {
      const outcome = await send(attack, seed)
      counts[`${attack.kind} ${outcome}`] = (counts[`${attack.kind} ${outcome}`] ?? 0) + 1
      if (faulty.test(outcome)) found(seed, attack, outcome)
    } finally {
      clearTimeout(timer)
    }
    const dead = pids.filter((pid) => !alive(pid))
    if (dead.length > 0) {
      found(seed, attack, `process ${dead.join(', ')} is gone (this attack or one beside it)`)
      return
    }
  }
}

/** @returns a status, an error code, or how a connection ended */
function send(attack: Attack, seed: number): Promise<string> {
  const url = urls[seed % urls.length] ?? whole.url
  const socketUrl = socketUrls[seed % socketUrls.length] ?? whole.url
  const as = tokens[seed % tokens.length] ?? ''
  if (attack.kind === 'call') return call(url, as, attack)
  if (attack.kind === 'bytes') return bytes(url, as, attack.text)
  if (attack.kind === 'event') return event(socketUrl, tokens[seed % 3] ?? '', attack)
  if (attack.kind === 'packet') return packet(socketUrl, tokens[seed % 3] ?? '', attack.packet)
  return upload(url, as, attack)
}

async function call(url: string, as: string, { method, path, headers, body }: Attack & { kind: 'call' }): Promise<string> {
  try {
    const answer = await request(`${url}${path}`, {
      dispatcher: agent,
      method: method as 'GET',
      headers: { authorization: `Bearer ${as}`, 'content-type': 'application/json', ...headers },
      ...(body === undefined || method === 'GET' || method === 'HEAD' ? {} : { body: body.toWellFormed() }),
    })
    await answer.body.dump({ limit: 50_000_000 })
    return String(answer.statusCode)
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : 'refused by the client'
  }
}

function bytes(url: string, as: string, text: string): Promise<string> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname, () => socket.write(text.replace('\r\n', `\r\nAuthorization: Bearer ${as}\r\n`)))
    let heard = ''
    // A request that never ends is ours to end: what counts is that the service lives.
    const timer = setTimeout(() => socket.destroy(), 2_000)
    socket.on('data', (chunk: Buffer) => {
      heard = (heard + chunk.toString('latin1')).slice(0, 200)
    })
    socket.on('error', () => undefined)
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(/^HTTP\/1\.1 (\d{3})/.exec(heard)?.[1] ?? 'closed')
    })
  })
}

async function event(url: string, as: string, attack: Attack & { kind: 'event' }): Promise<string> {
  const socket: Socket = io(url, { auth: { token: as }, forceNew: true, reconnection: false, transports: ['websocket'] })
  try {
    return await new Promise((resolve) => {
      socket.on('connect_error', () => resolve('connect_error'))
      socket.on('disconnect', () => resolve('disconnected'))
      socket.on('connect', () => {
        try {
          socket
            .timeout(hangMs - 2_000)
            .emit(attack.event, ...attack.args, (late: Error | null, answer?: { ok: boolean; error?: { code: string } }) =>
              resolve(late ? 'no acknowledgement' : answer?.ok ? 'ok' : (answer?.error?.code ?? 'odd')),
            )
        } catch {
          resolve('refused by the client')
        }
      })
    })
  } finally {
    socket.disconnect()
  }
}

function packet(url: string, as: string, text: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`)
    const timer = setTimeout(() => socket.close(), 300)
    socket.addEventListener('message', ({ data }) => {
      const heard = String(data)
      if (heard.startsWith('0')) socket.send(`40${JSON.stringify({ token: as })}`)
      if (heard.startsWith('40')) socket.send(text.toWellFormed())
      if (heard.includes('"INTERNAL"')) resolve('INTERNAL')
    })
    socket.addEventListener('error', () => undefined)
    socket.addEventListener('close', () => {
      clearTimeout(timer)
      resolve('closed')
    })
  })
}

async function upload(url: string, as: string, { type, name, file }: Attack & { kind: 'upload' }): Promise<string> {
  const form = new FormData()
  form.append('type', type.toWellFormed())
  form.append('media', new File([file], name.toWellFormed()))
  try {
    const answer = await request(`${url}/api/v1/chat/media`, {
      dispatcher: agent,
      method: 'POST',
      headers: { authorization: `Bearer ${as}` },
      body: form,
    })
    await answer.body.dump()
    return String(answer.statusCode)
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : 'refused by the client'
  }
}

/** A conversation with a message, and files that are good before they are altered. */
async function prepare(): Promise<World> {
  const farmer = rest(whole.url, tokens[0])
  const conversation = (await farmer('POST', '/conversations')).body.data._id as string
  const message = (await farmer('POST', '/messages', { conversationId: conversation, content: 'Hello' })).body.data._id as string
  const picture = sharp({ create: { width: 24, height: 24, channels: 3, background: '#3a6' } })
  const files = await Promise.all([
    picture.clone().jpeg().toBuffer(),
    picture.clone().png().toBuffer(),
    picture.clone().webp().toBuffer(),
    picture.clone().gif().toBuffer(),
  ])
  const wav = Buffer.concat([
    Buffer.from('RIFF\x2c\x01\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\x00\x01\0\0', 'latin1'),
    Buffer.alloc(256, 128),
  ])
  const mp4 = Buffer.from('00000018667479706d703432000000006d70343269736f6d000000106d6f6f7600000008747261', 'hex')
  return {
    ids: [conversation, message, 'f'.repeat(24), 'fuzz-farmer', 'fuzz-agent'],
    files: [...files, wav, mp4].map((each) => new Uint8Array(each)),
  }
}

function internalToken({ dataDir }: Whole): string {
  const { INTERNAL_SECRET } = JSON.parse(readFileSync(join(dataDir, 'secrets.json'), 'utf8')) as { INTERNAL_SECRET: string }
  return jwt.sign({}, INTERNAL_SECRET, { algorithm: 'HS256', audience: 'fieldline-internal', issuer: 'realtime', expiresIn: 7_200 })
}

/** Everything lives, still answers, and is no bigger than it was. */
async function settle(): Promise<void> {
  for (const url of new Set(urls)) {
    const { statusCode, body } = await request(`${url}/health/ready`).catch(() => ({ statusCode: 0, body: undefined }))
    await body?.dump()
    if (statusCode !== 200) findings.push(`${url} is not ready afterwards: ${statusCode}`)
  }
  const growth = memory() - (warm ?? memory())
  counts['MB grown'] = Math.round(growth / 1_000_000)
  if (growth > mostGrowthBytes) findings.push(`memory grew by ${Math.round(growth / 1_000_000)} MB since the first third`)
  if (/uncaught|unhandled/i.test(whole.output())) findings.push(`something was not caught:\n${whole.output().slice(-2_000)}`)
}

/** Resident bytes of all processes (Linux; elsewhere 0). */
function memory(): number {
  return pids.reduce((sum, pid) => {
    try {
      return sum + Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1_024
    } catch {
      return sum
    }
  }, 0)
}

function alive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

function found(seed: number, attack: Attack, what: string): void {
  findings.push(`seed ${seed}: ${what}\n  ${JSON.stringify(attack).slice(0, 1_000)}`)
}

function report(): void {
  console.log(`fuzz: ${done} attacks in ${seconds} s, seeds from ${firstSeed}, ${values.way}`)
  for (const [outcome, count] of Object.entries(counts).sort()) console.log(`  ${outcome}: ${count}`)
  for (const finding of findings) console.error(`FOUND ${finding}`)
  if (findings.length > 0)
    console.error(
      whole
        .output()
        .split('\n')
        .filter((line) => !line.startsWith('export '))
        .slice(-30)
        .join('\n'),
    )
  console.log(findings.length === 0 ? 'fuzz: no 5xx, no crash, no hang, no growth' : `fuzz: ${findings.length} findings`)
}
