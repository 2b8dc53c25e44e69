// The rules of presence: who is online, whose record is taken over, what a repeated write does.

import type { ConversationId } from '@fieldline/contracts/ids'
import { describe, expect, test } from '@jest/globals'
import {
  announced,
  type Device,
  endInstance,
  forget,
  goOffline,
  liveDevices,
  type Presence,
  reconcile,
  records,
  takeRecord,
} from '../src/presence/presence.ts'

const at = '2026-11-23T12:00:00.000Z'
const later = '2026-11-23T12:05:00.000Z'
const rajesh = { id: 'rajesh', role: 'User', firstName: 'Rajesh', lastName: 'Kumar', phone: null } as const
const room = (seq: number, id = 'a'.repeat(24)) => ({ conversationId: id as ConversationId, seq })
const device = (id: string, more: Partial<Omit<Device, 'instance'>> = {}) => ({ id, tokenMark: 't', userAgent: 'ua', rooms: [], ...more })
const truth = (instance: string, live: ReturnType<typeof device>[], ended: ReturnType<typeof device>[] = []) => ({
  instance,
  person: rajesh,
  iat: 1,
  live,
  ended,
})

const onPhone = reconcile(null, truth('A', [device('phone', { rooms: [room(5)] })]), at)

describe('online and offline', () => {
  test('the first socket turns a person online; a second changes no version', () => {
    expect(onPhone).toMatchObject({ online: true, version: 1, announcedVersion: 0 })
    expect(reconcile(onPhone, truth('B', [device('laptop')]), at)).toMatchObject({ online: true, version: 1 })
  })
  test('the last socket gone leaves a person online until the grace is over', () => {
    const gone = reconcile(onPhone, truth('A', []), later)
    expect(gone).toMatchObject({ online: true, version: 1, lastSeenAt: later })
    expect(goOffline(gone, gone.epoch)).toMatchObject({ online: false, version: 2, lastSeenAt: later })
  })
  test('a grace that began before the last change ends nothing', () => {
    const gone = reconcile(onPhone, truth('A', []), later)
    const back = reconcile(reconcile(gone, truth('A', [device('again')]), later), truth('A', []), later)
    expect(goOffline(back, gone.epoch)).toBe(back)
  })
  test('whoever has a second device elsewhere stays online when an instance dies', () => {
    const both = reconcile(onPhone, truth('B', [device('laptop')]), at)
    const ended = endInstance(both, 'A', later)
    expect(liveDevices(ended).map(({ id }) => id)).toEqual(['laptop'])
    expect(goOffline(ended, ended.epoch)).toBe(ended)
  })
  test('the same truth written twice is the same document', () => {
    expect(reconcile(onPhone, truth('A', [device('phone', { rooms: [room(5)] })]), at)).toEqual(onPhone)
  })
  test('a role that changed while online is announced anew', () => {
    const demoted = reconcile(onPhone, { ...truth('A', [device('phone')]), person: { ...rajesh, role: 'Support' }, iat: 2 }, at)
    expect(demoted).toMatchObject({ version: 2, iat: 2, person: { role: 'Support' } })
    const older = reconcile(demoted, { ...truth('A', [device('phone')]), iat: 1 }, at)
    expect(older).toMatchObject({ version: 2, iat: 2, person: { role: 'Support' } })
  })
  test('announcing never goes back', () => {
    expect(announced({ ...onPhone, version: 5, announcedVersion: 5 }, 3).announcedVersion).toBe(5)
  })
})

describe('records', () => {
  const ended = (...devices: Device[]): Presence => ({ ...onPhone, devices })
  const record = (id: string, seq: number, more: Partial<Device> = {}): Device => ({
    ...device(id, { rooms: [room(seq)] }),
    instance: null,
    ...more,
  })
  const claim = { tokenMark: 't', userAgent: 'ua' }

  test('a device that ended keeps what it had joined; one without rooms leaves nothing', () => {
    const gone = reconcile(onPhone, truth('A', [], [device('phone', { rooms: [room(7)] })]), later)
    expect(records(gone)).toEqual([{ ...device('phone', { rooms: [room(7)] }), instance: null }])
    expect(records(reconcile(reconcile(null, truth('A', [device('x')]), at), truth('A', [], [device('x')]), later))).toEqual([])
  })
  test('a record is taken once, and a repeated write does not bring it back', () => {
    const gone = reconcile(onPhone, truth('A', [], [device('phone', { rooms: [room(7)] })]), later)
    const taken = takeRecord(gone, claim)
    expect(taken?.record.rooms).toEqual([room(7)])
    const after = taken?.after as Presence
    expect(takeRecord(after, claim)).toBeNull()
    expect(records(reconcile(after, truth('A', [], [device('phone', { rooms: [room(7)] })]), later))).toEqual([])
  })
  test('the same token goes before the same User-Agent', () => {
    const found = takeRecord(ended(record('agent', 1, { tokenMark: 'other' }), record('token', 9, { userAgent: 'other' })), claim)
    expect(found?.record.id).toBe('token')
  })
  test('a client that shows its name gets its own record, where it stood last, and none of those that look alike', () => {
    const mine = { ...claim, clientId: 'me', shown: true }
    const own = { clientId: 'me', tokenMark: 'older' }
    const stored = ended(record('tab', 2, { clientId: 'tab' }), record('before', 3, own), record('last', 9, own), record('legacy', 1))
    const taken = takeRecord(stored, mine)
    expect(taken?.record).toMatchObject({ id: 'last', rooms: [room(9)] })
    expect(records(taken?.after as Presence).map(({ id }) => id)).toEqual(['tab', 'legacy'])
    expect(takeRecord(taken?.after as Presence, mine)).toBeNull()
  })
  test('what a client that shows its name left is left for it', () => {
    expect(takeRecord(ended(record('x', 2, { clientId: 'other', shown: true })), claim)).toBeNull()
  })
  test('of an instance that died the last to end is still the last', () => {
    const own = { clientId: 'me', tokenMark: 'older' }
    const stored = ended({ ...record('last', 9, own), instance: 'A' }, record('before', 3, own))
    expect(takeRecord(endInstance(stored, 'A', later), { ...claim, clientId: 'me', shown: true })?.record.id).toBe('last')
  })
  test('what looks just like a client that joins by itself is given the time to', () => {
    const joining = record('now', 9, { rooms: [{ ...room(9), managed: true }] })
    const both = ended(record('once', 3), joining)
    expect(takeRecord(both, claim)).toBeNull()
    expect(takeRecord(both, { ...claim, managedToo: true })).not.toBeNull()
  })
  test('another device of the person, by token and by User-Agent, is left alone', () => {
    expect(takeRecord(ended(record('x', 1, { tokenMark: 'other', userAgent: 'other' })), claim)).toBeNull()
  })
  test('where two look alike both go on from the lowest cursor, so that neither misses anything', () => {
    const first = takeRecord(ended(record('phone', 8), record('laptop', 5)), claim)
    expect(first?.record).toMatchObject({ id: 'laptop', rooms: [room(5)] })
    expect(takeRecord(first?.after as Presence, claim)?.record).toMatchObject({ id: 'phone', rooms: [room(5)] })
  })
  test('of two that look alike, one with its join still under way, both go on from the earlier of what is known', () => {
    const joining = record('joining', 0, { rooms: [{ ...room(0), seq: null, wishedAt: 50 }] })
    const first = takeRecord(ended(joining, record('joined', 5)), claim)
    expect(first?.record).toMatchObject({ id: 'joined', rooms: [{ seq: 5, wishedAt: 50 }] })
    expect(takeRecord(first?.after as Presence, claim)?.record).toMatchObject({ id: 'joining', rooms: [{ seq: 5, wishedAt: 50 }] })
  })
  test('a send asks only for a record of its conversation', () => {
    const other = 'b'.repeat(24) as ConversationId
    expect(takeRecord(ended(record('x', 1)), { ...claim, conversationId: other })).toBeNull()
    expect(
      takeRecord(ended(record('x', 1), record('y', 3, { rooms: [room(3, other)] })), { ...claim, conversationId: other })?.record.id,
    ).toBe('y')
  })
  test('what is too old is forgotten; live devices are not', () => {
    const both = ended(record('old', 1), { ...device('live'), instance: 'A' })
    expect(forget(both, new Set(['old', 'live'])).devices.map(({ id }) => id)).toEqual(['live'])
  })
})
