// Load of a chat: sockets in rooms, sends at a fixed rate or with a fixed number under way; counts every delivery. Its own process, one clock for both ends.
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'
import { io, type Socket } from 'socket.io-client'
import type { Seat } from '../lib/product.ts'
import { answer } from '../lib/roles.ts'

/** Microseconds by percentile, from an HdrHistogram of three digits. */
export interface Latencies {
  p50: number
  p90: number
  p99: number
  p999: number
  max: number
  /** Percentile and microseconds, for a plot. */
  percentiles: [number, number][]
}
export interface Load {
  sent: number
  /** From the scheduled send to `message:new` at the other side of the room. */
  deliver: Latencies
  /** From the scheduled send to its acknowledgement. */
  acknowledge: Latencies
  perSecond: number
}

interface Expected {
  due: number
  /** Members who have not heard it yet. */
  left: number
  heard: Set<Socket>
}
interface Room {
  id: string
  members: Socket[]
}

const deadlineMs = 30_000
const rooms: Room[] = []
const sockets: Socket[] = []
const expected = new Map<string, Expected>()
/** Newest number heard, by receiving socket and sender. */
const newest = new Map<Socket, Map<string, number>>()
let faults: string[] = []
/** Connections that ended by themselves, since the first of them: who comes back has to be joined again by the product, and is no measured member any more. */
const ended: string[] = []
let serial = 0
/** A floor promises no order: what one sender sends may overtake itself there when something stalls. */
let isOrdered = true
let histograms = fresh()
let onDelivered: (() => void) | undefined

function fresh(): { deliver: RecordableHistogram; acknowledge: RecordableHistogram } {
  return { deliver: createHistogram(), acknowledge: createHistogram() }
}

answer({
  /** Opens a socket a token and joins it to its rooms. */
  async connect({
    url,
    seats,
    transports,
    ordered,
  }: {
    url: string
    seats: Seat[]
    transports: string[]
    ordered: boolean
  }): Promise<void> {
    isOrdered = ordered
    const byToken = new Map<string, Socket>()
    for (const token of new Set(seats.flatMap(({ tokens }) => tokens))) {
      const socket = io(url, { auth: { token }, transports, forceNew: true })
      byToken.set(token, socket)
      sockets.push(socket)
      socket.on('message:new', ({ message }: { message: { content: string } }) => heard(socket, message.content))
      socket.on('error', (error: { message: string }) => faults.push(`error: ${error.message}`))
      socket.on('disconnect', (reason) => ended.push(`connection ended: ${reason}`))
      await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject))
    }
    for (const { room, tokens } of seats) {
      const members = tokens.map((token) => byToken.get(token)).filter((socket) => socket !== undefined)
      for (const socket of members) {
        const { ok, error } = await socket.timeout(10_000).emitWithAck('conversation:join', { conversationId: room })
        if (!ok) throw new Error(`join: ${JSON.stringify(error)}`)
      }
      rooms.push({ id: room, members })
    }
  },

  /** Sends `rate` messages a second for `seconds`, each due at its own time whatever became of the one before. */
  async open({ rate, seconds }: { rate: number; seconds: number }): Promise<Load> {
    begin()
    const began = performance.now()
    const total = rate * seconds
    const acknowledged: Promise<void>[] = []
    await new Promise<void>((resolve) => {
      let next = 0
      const tick = () => {
        const now = performance.now()
        for (; next < total && began + (next * 1_000) / rate <= now; next += 1) acknowledged.push(send(next, began + (next * 1_000) / rate))
        if (next < total) setTimeout(tick, 1)
        else resolve()
      }
      tick()
    })
    await Promise.all(acknowledged)
    return end(total, began)
  },

  /** Keeps `window` messages under way until `count` are sent; a message is under way until it is acknowledged. */
  async closed({ window, count }: { window: number; count: number }): Promise<Load> {
    begin()
    const began = performance.now()
    let next = 0
    const one = async (): Promise<void> => {
      while (next < count) {
        const turn = next
        next += 1
        await send(turn, performance.now())
      }
    }
    await Promise.all(Array.from({ length: window }, one))
    return end(count, began)
  },
})

function begin(): void {
  if (rooms.length === 0) throw new Error('nobody is connected')
  histograms = fresh()
  faults = []
}

/** Rooms take turns; inside a room its members do. */
async function send(turn: number, due: number): Promise<void> {
  const room = rooms[turn % rooms.length] as Room
  const sender = Math.floor(turn / rooms.length) % room.members.length
  const socket = room.members[sender] as Socket
  serial += 1
  const content = `${room.id} ${sender} ${serial} ${'My tomato leaves are turning yellow, what can I do?'}`
  expected.set(content, { due, left: room.members.length, heard: new Set() })
  const { ok, error } = await socket
    .timeout(deadlineMs)
    .emitWithAck('message:send', { conversationId: room.id, messageType: 'text', content })
  if (!ok) faults.push(`send: ${JSON.stringify(error)}`)
  histograms.acknowledge.record(micros(due))
}

function heard(socket: Socket, content: string): void {
  const message = expected.get(content)
  const [roomId = '', sender = '', number = '0'] = content.split(' ')
  if (!message || message.heard.has(socket)) {
    faults.push(`twice: ${content}`)
    return
  }
  message.heard.add(socket)
  message.left -= 1
  const lane = `${roomId} ${sender}`
  const before = newest.get(socket) ?? new Map<string, number>()
  newest.set(socket, before)
  if (isOrdered && Number(number) < (before.get(lane) ?? 0)) faults.push(`out of order: ${content}`)
  before.set(lane, Number(number))
  const isOther = rooms.find(({ id }) => id === roomId)?.members.indexOf(socket) !== Number(sender)
  if (isOther) histograms.deliver.record(micros(message.due))
  if (message.left > 0) return
  expected.delete(content)
  if (expected.size === 0) onDelivered?.()
}

async function end(count: number, began: number): Promise<Load> {
  if (expected.size > 0) {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, deadlineMs)
      onDelivered = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    onDelivered = undefined
  }
  const seconds = (performance.now() - began) / 1_000
  if (expected.size > 0) faults.unshift(`${expected.size} lost: ${lostText()}`)
  expected.clear()
  const all = [...ended, ...faults]
  if (all.length > 0) throw new Error(`${all.length} faults: ${all.slice(0, 5).join('; ')}`)
  return { sent: count, deliver: latencies(histograms.deliver), acknowledge: latencies(histograms.acknowledge), perSecond: count / seconds }
}

/** Who did not hear what, by room and place in it: one deaf member reads otherwise than a first second that nobody heard. */
function lostText(): string {
  const byMember = new Map<string, number[]>()
  for (const [content, { heard }] of expected) {
    const [roomId = '', , number = ''] = content.split(' ')
    for (const [place, socket] of (rooms.find(({ id }) => id === roomId)?.members ?? []).entries()) {
      if (heard.has(socket)) continue
      const name = `${roomId} member ${place}${socket.connected ? '' : ' (not connected)'}`
      byMember.set(name, [...(byMember.get(name) ?? []), Number(number)])
    }
  }
  return [...byMember].map(([name, numbers]) => `${name} did not hear ${numbers.length}, ${numbers[0]} to ${numbers.at(-1)}`).join(', ')
}

function micros(due: number): number {
  return Math.max(1, Math.round((performance.now() - due) * 1_000))
}

function latencies(histogram: RecordableHistogram): Latencies {
  const at = (percentile: number) => histogram.percentile(percentile)
  const shown = [1, 10, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.9, 99.99, 100]
  return {
    ...{ p50: at(50), p90: at(90), p99: at(99), p999: at(99.9), max: histogram.max },
    percentiles: shown.map((percentile) => [percentile, at(percentile)]),
  }
}
