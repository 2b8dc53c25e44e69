// Presence of one person across replicas (spec 5): who is online, since which device is gone, and what each ended device had joined. Pure: no I/O, no clock of its own.
import type { ConversationId } from '@fieldline/contracts/ids'
import type { PersonSummary } from '@fieldline/contracts/people'

/** Where a device stands in a conversation: behind the newest message it has confirmed, or, while a join is under way, where that began; the earlier of both. */
export interface Standpoint {
  /** Null: it is not known yet what was the newest when the join was wished for. */
  readonly seq: number | null
  /** When a join that is under way was wished for, in milliseconds since 1970. */
  readonly wishedAt?: number | undefined
}

/** A conversation a device has joined or is about to. */
export interface JoinedRoom extends Standpoint {
  readonly conversationId: ConversationId
  /** The client joins it again by itself and says what it has. */
  readonly managed?: boolean
}

export interface Device {
  /** The socket's id. */
  readonly id: string
  /** The incarnation of a replica that holds it; null once it has ended and is only a record. */
  readonly instance: string | null
  readonly tokenMark: string
  readonly userAgent: string
  /** The name we gave its client; absent in what a former release wrote. */
  readonly clientId?: string
  /** The client has shown that name: it comes back with it. */
  readonly shown?: boolean
  readonly rooms: readonly JoinedRoom[]
}

export interface Presence {
  readonly personId: string
  readonly person: PersonSummary
  /** `iat` of the token that told names and role; they move forward by it only. */
  readonly iat: number
  readonly devices: readonly Device[]
  readonly online: boolean
  /** Counts changes between online and offline (and of the role while online), not devices. */
  readonly version: number
  readonly announcedVersion: number
  /** Counts changes of the set of live devices: a grace runs while it stands still. */
  readonly epoch: number
  readonly lastSeenAt: string | null
  /** Records taken over lately, so that a repeated write of one doesn't bring it back. */
  readonly taken: readonly string[]
}

const mostRecords = 8
const mostTaken = 16

export function liveDevices({ devices }: Presence): readonly Device[] {
  return devices.filter(({ instance }) => instance !== null)
}
export function records({ devices }: Presence): readonly Device[] {
  return devices.filter(({ instance }) => instance === null)
}

export interface LocalTruth {
  readonly instance: string
  readonly person: PersonSummary
  readonly iat: number
  /** The person's sockets on this instance now. */
  readonly live: readonly Omit<Device, 'instance'>[]
  /** Those that ended since the last write. */
  readonly ended: readonly Omit<Device, 'instance'>[]
}

/** What one instance knows of its own sockets, put into the document; the others' stay as they are. Idempotent. */
export function reconcile(before: Presence | null, local: LocalTruth, now: string): Presence {
  const base = before ?? unknownPerson(local)
  const live = local.live.map((device) => ({ ...device, instance: local.instance }))
  const known = new Set(live.map(({ id }) => id))
  const ended = new Map(local.ended.map((device) => [device.id, { ...device, instance: null }]))
  // Ours that are neither live nor told as ended: the end was told before and lost.
  for (const device of base.devices) {
    if (device.instance === local.instance && !known.has(device.id) && !ended.has(device.id))
      ended.set(device.id, { ...device, instance: null })
  }
  const others = base.devices.filter(({ id, instance }) => instance !== local.instance && !ended.has(id) && !known.has(id))
  return settle(base, [...others, ...live, ...ended.values()], now, local)
}

/** All devices of a dead instance have ended. */
export function endInstance(before: Presence, instance: string, now: string): Presence {
  const ended = before.devices.filter((device) => device.instance === instance).map((device) => ({ ...device, instance: null }))
  // The last to end stands last.
  return settle(before, [...before.devices.filter((device) => device.instance !== instance), ...ended], now)
}

/** Offline, if still nobody is there and nothing has changed since `epoch`. */
export function goOffline(before: Presence, epoch: number): Presence {
  if (!before.online || before.epoch !== epoch || liveDevices(before).length > 0) return before
  return { ...before, online: false, version: before.version + 1 }
}

export function announced(before: Presence, version: number): Presence {
  return before.announcedVersion >= version ? before : { ...before, announcedVersion: version }
}

/** What misses nothing of either. */
export function earliest(one: Standpoint, other: Standpoint): Standpoint {
  const seqs = [one.seq, other.seq].filter((seq) => seq !== null)
  const times = [one.wishedAt, other.wishedAt].filter((time) => time !== undefined)
  return { seq: seqs.length > 0 ? Math.min(...seqs) : null, ...(times.length > 0 && { wishedAt: Math.min(...times) }) }
}

/** Drops records that are too old to be taken over. */
export function forget(before: Presence, ids: ReadonlySet<string>): Presence {
  return { ...before, devices: before.devices.filter(({ id, instance }) => instance !== null || !ids.has(id)) }
}

export interface Claim extends Pick<Device, 'tokenMark' | 'userAgent' | 'clientId' | 'shown'> {
  /** Only a record that has joined this. */
  readonly conversationId?: ConversationId | undefined
  /** Also of a device whose client joins by itself, and was given the time to. */
  readonly managedToo?: boolean
  /** Devices that were alive beside the claimer: it is none of them come back. */
  readonly beside?: ReadonlySet<string>
}

/** Has the client of this device joined by itself and said what it has? Then it does so again, and must not be told that unasked. */
export function isManaged({ rooms }: Pick<Device, 'rooms'>): boolean {
  return rooms.some(({ managed }) => managed === true)
}

/** Could a new socket with these marks be the device that `device` is or was? Known where its client shows its name, else guessed. */
export function matches(device: Omit<Device, 'instance' | 'rooms'>, claim: Claim): boolean {
  if (claim.shown) return device.clientId === claim.clientId
  return !device.shown && (device.tokenMark === claim.tokenMark || device.userAgent === claim.userAgent) && !claim.beside?.has(device.id)
}

/** Nothing tells one from the other. */
export function looksLike(device: Pick<Device, 'tokenMark' | 'userAgent'>, { tokenMark, userAgent }: Claim): boolean {
  return device.tokenMark === tokenMark && device.userAgent === userAgent
}

/**
 * The record a new socket takes over, which is gone from the document then, so the same write must put its rooms to the socket that took it: either may die
 * at any moment. Null if there is none.
 */
export function takeRecord(before: Presence, claim: Claim): { record: Device; after: Presence } | null {
  return claim.shown ? takeOwn(before, claim) : takeAlike(before, claim)
}

/** Of a client that shows its name: where it stood last. What it left behind before that is over. */
function takeOwn(before: Presence, { clientId, conversationId, managedToo }: Claim): ReturnType<typeof takeRecord> {
  const own = records(before).filter((device) => device.clientId === clientId)
  const record = own.findLast(({ rooms }) => conversationId === undefined || rooms.some((room) => room.conversationId === conversationId))
  if (!record || (isManaged(record) && managedToo !== true)) return null
  const over = own.slice(0, own.indexOf(record) + 1)
  const taken = [...before.taken, ...over.map(({ id }) => id)].slice(-mostTaken)
  return { record, after: { ...before, devices: before.devices.filter((device) => !over.includes(device)), taken } }
}

/**
 * Of a client that cannot: same token, then same User-Agent, then the lowest cursor.
 * Where several fit alike nobody can tell which device came back: all of them go on from the lowest cursor, so that none misses anything.
 */
function takeAlike(before: Presence, claim: Claim): ReturnType<typeof takeRecord> {
  // The same app, by all that is known: it joins by itself, and what it left behind when it did not yet is over.
  if (claim.managedToo !== true && before.devices.some((device) => looksLike(device, claim) && isManaged(device))) return null
  const fitting = records(before).filter(
    (device) =>
      device.rooms.length > 0 &&
      matches(device, claim) &&
      (claim.conversationId === undefined || device.rooms.some(({ conversationId }) => conversationId === claim.conversationId)) &&
      (claim.managedToo === true || !isManaged(device)),
  )
  const sameToken = fitting.filter(({ tokenMark }) => tokenMark === claim.tokenMark)
  const byToken = sameToken.length > 0 ? sameToken : fitting.filter(({ userAgent }) => userAgent === claim.userAgent)
  const sameAgent = byToken.filter(({ userAgent }) => userAgent === claim.userAgent)
  const alike = [...(sameAgent.length > 0 ? sameAgent : byToken)].sort((one, other) => lowest(one) - lowest(other))
  const [first] = alike
  if (!first) return null
  const floor = new Map<ConversationId, Standpoint>()
  for (const { rooms } of alike)
    for (const room of rooms) floor.set(room.conversationId, earliest(room, floor.get(room.conversationId) ?? room))
  const lowered = (device: Device): Device => ({
    ...device,
    rooms: device.rooms.map((room) => ({ ...room, ...floor.get(room.conversationId) })),
  })
  const devices = before.devices.filter((device) => device !== first).map((device) => (alike.includes(device) ? lowered(device) : device))
  return { record: lowered(first), after: { ...before, devices, taken: [...before.taken, first.id].slice(-mostTaken) } }
}

function lowest({ rooms }: Device): number {
  return Math.min(...rooms.map(({ seq }) => seq ?? Number.POSITIVE_INFINITY))
}

function unknownPerson({ person, iat }: LocalTruth): Presence {
  return {
    personId: person.id,
    person,
    iat,
    devices: [],
    online: false,
    version: 0,
    announcedVersion: 0,
    epoch: 0,
    lastSeenAt: null,
    taken: [],
  }
}

/** The consequences of a new set of devices. */
function settle(before: Presence, devices: readonly Device[], now: string, token?: { person: PersonSummary; iat: number }): Presence {
  const live = devices.filter(({ instance }) => instance !== null)
  const ended = devices.filter(({ id, instance, rooms }) => instance === null && rooms.length > 0 && !before.taken.includes(id))
  const was = new Set(liveDevices(before).map(({ id, instance }) => `${instance} ${id}`))
  const changed = live.length !== was.size || live.some(({ id, instance }) => !was.has(`${instance} ${id}`))
  const newer = token !== undefined && token.iat >= before.iat
  const person = newer ? token.person : before.person
  const isOnline = before.online || live.length > 0
  const turned = isOnline !== before.online || (isOnline && person.role !== before.person.role)
  return {
    ...before,
    person,
    iat: newer ? token.iat : before.iat,
    devices: [...live, ...ended.slice(-mostRecords)],
    online: isOnline,
    version: before.version + (turned ? 1 : 0),
    epoch: before.epoch + (changed ? 1 : 0),
    lastSeenAt: changed && live.length < was.size ? now : before.lastSeenAt,
  }
}
