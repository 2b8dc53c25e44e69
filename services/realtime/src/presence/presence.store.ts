// The presence store's port: documents by person, written only if nobody else wrote meanwhile, and the instances that hold their devices.
import type { Presence } from './presence.ts'

/** A document and the stamp of its last write. */
export interface Stored {
  readonly presence: Presence
  readonly stamp: string
}
export interface Change {
  /** Null: there was none. */
  readonly before: Stored | null
  readonly after: Presence
}
export interface Instance {
  /** An incarnation of a replica: `<name>.<random>`. */
  readonly id: string
  readonly counter: number
}
/** All there are, in pages. Whoever fits from its beginning to its end is in it, once, whatever is written meanwhile. */
export type Walk<Found> = AsyncIterable<readonly Found[]>
export interface Idle {
  readonly personId: string
  readonly epoch: number
}
export interface Unannounced {
  readonly personId: string
  readonly version: number
}
export interface EndedDevice {
  readonly personId: string
  readonly id: string
}

/** Every method is atomic by itself, `save` per document. @throws AppError UNAVAILABLE from each */
export interface PresenceStore {
  readonly name: string
  start?(): Promise<void>
  stop?(): Promise<void>
  /** True where only one process can have this store open: whoever else is registered is dead. */
  readonly exclusive: boolean
  /** These people's documents; unknown ones are left out. */
  load(personIds: readonly string[]): Promise<Stored[]>
  /** Writes each whose stamp is still the one loaded. Returns the ids of those that were not written. */
  save(changes: readonly Change[]): Promise<Set<string>>
  /** Online without a live device. */
  idle(peopleAtOnce: number): Walk<Idle>
  /** Whose `version` is not announced yet. */
  unannounced(peopleAtOnce: number): Walk<Unannounced>
  /** The records of ended devices, all of a person's in one page. */
  records(peopleAtOnce: number): Walk<EndedDevice>
  /** Some of those who have a device at this instance. */
  ofInstance(instance: string, limit: number): Promise<Stored[]>
  /** Lists an instance that nobody knows yet. */
  register(instance: string): Promise<void>
  /** Counts on. False: it was declared dead, or is gone: its devices have ended. */
  beat(instance: string): Promise<boolean>
  instances(): Promise<Instance[]>
  /** Declares an instance dead if its counter still stands there; it stays listed until removed. */
  declareDead(instance: string, counter: number): Promise<boolean>
  remove(instance: string): Promise<void>
}
