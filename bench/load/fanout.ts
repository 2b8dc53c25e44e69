// Feeds a room by the broker and counts what its members hear: each message once, in order, at each of them.
import { type Channel, connect } from 'amqplib'
import { asEvent, asPayload, type Feed } from '../lib/feed.ts'
import { answer } from '../lib/roles.ts'
import { ThinClient } from '../lib/thin-client.ts'

export interface Scene {
  feed: Feed
  /** A member each; it connects to the address beside its token. */
  members: { url: string; token: string }[]
  exchange: string
  /** The floor is given what it emits, the product the event. */
  as: 'floor' | 'product'
}
export interface Fanout {
  deliveries: number
  perSecond: number
}
interface Member {
  /** Newest seq heard. */
  heard: number
}

const joinsAtOnce = 32
const deadlineMs = 30_000
const seqMark = Buffer.from('"seq":')
const newMark = Buffer.from('2["message:new"')

const scenes: { scene: Scene; members: Member[]; seq: number }[] = []
let channel: Channel | undefined
let faults: string[] = []
/** Connections that ended by themselves, at any time. */
const ended: string[] = []
/** Members that have not heard a message yet, by seq; a message is under way until there are none. */
const left = new Map<number, number>()
let onDone: (() => void) | undefined

answer({
  /** Connects a room's members. @returns the scene's number */
  async enter({ amqp, scene }: { amqp: string; scene: Scene }): Promise<number> {
    channel ??= await (await connect(amqp, { noDelay: true })).createChannel()
    const members: Member[] = []
    for (let from = 0; from < scene.members.length; from += joinsAtOnce)
      await Promise.all(
        scene.members.slice(from, from + joinsAtOnce).map(async ({ url, token }) => {
          const member = { heard: 0 }
          const onEvent = (packet: Buffer) => hear(member, packet)
          const client = await ThinClient.connect({ url, token, onEvent, onLost: (reason) => ended.push(`connection ended: ${reason}`) })
          const joined = (await client.ask('conversation:join', { conversationId: scene.feed.conversationId })) as { ok: boolean }
          if (!joined.ok) throw new Error(`join: ${JSON.stringify(joined)}`)
          members.push(member)
        }),
      )
    return scenes.push({ scene, members, seq: 0 }) - 1
  },

  /** Publishes `count` messages into a room, `window` of them under way, and waits until everyone has all. */
  async feed({ number, count, window }: { number: number; count: number; window: number }): Promise<Fanout> {
    const entered = scenes[number]
    if (!entered || !channel) throw new Error('nobody is there')
    const { scene, members } = entered
    faults = []
    const last = entered.seq + count
    const began = performance.now()
    const done = Promise.withResolvers<void>()
    const timer = setTimeout(done.resolve, deadlineMs)
    const publish = () => {
      while (entered.seq < last && left.size < window) {
        entered.seq += 1
        left.set(entered.seq, members.length)
        write(scene, entered.seq)
      }
      if (entered.seq === last && left.size === 0) done.resolve()
    }
    onDone = publish
    publish()
    await done.promise
    clearTimeout(timer)
    const seconds = (performance.now() - began) / 1_000
    if (left.size > 0) faults.push(`${left.size} messages did not reach everyone`)
    left.clear()
    const all = [...ended, ...faults]
    if (all.length > 0) throw new Error(`${all.length} faults: ${all.slice(0, 5).join('; ')}`)
    return { deliveries: count * members.length, perSecond: (count * members.length) / seconds }
  },
})

function write({ feed, exchange, as }: Scene, seq: number): void {
  if (as === 'floor') {
    channel?.publish(exchange, 'message.created', Buffer.from(JSON.stringify(asPayload(feed, seq))))
    return
  }
  const { routingKey, id, body, headers } = asEvent(feed, seq, exchange)
  channel?.publish(exchange, routingKey, Buffer.from(JSON.stringify(body)), {
    messageId: id,
    contentType: 'application/json',
    headers: { ...headers },
  })
}

function hear(member: Member, packet: Buffer): void {
  if (packet.compare(newMark, 0, newMark.length, 0, newMark.length) !== 0) return
  const seq = Number.parseInt(packet.toString('latin1', packet.indexOf(seqMark) + seqMark.length).slice(0, 12), 10)
  if (seq !== member.heard + 1) faults.push(`${seq} after ${member.heard}`)
  member.heard = seq
  const others = (left.get(seq) ?? 0) - 1
  if (others > 0) {
    left.set(seq, others)
    return
  }
  left.delete(seq)
  onDone?.()
}
