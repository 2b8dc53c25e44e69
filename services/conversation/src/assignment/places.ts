// Port of agents' places: one document an agent (architecture, "An agent's places"). test/places.store.contract.ts proves it for each adapter.
import type { AgentPlaces, Place, ReserveMode } from './assignment.ts'

/** An agent's document as it is stored. */
export interface StoredAgent extends AgentPlaces {
  /** Newest version of `available` that was published. */
  readonly announcedVersion: number
  /** When `available` changed last; null: never. */
  readonly chosenAt: Date | null
}

/** Since when an agent is idle: a place held now counts from when it was taken, so that one reserved for nothing leaves no trace. */
export function idleSince(cameFree: Date, active: readonly Place[]): Date {
  return new Date(Math.max(cameFree.getTime(), ...active.map(({ since }) => since.getTime())))
}

/** Every method is one atomic write or one majority read; none spans two agents. `capacity` is places an agent. */
export interface PlacesStore {
  /** By a token of `iat` this person is an agent, or is one no longer. Older tokens change nothing. A new agent is available and offline. */
  enrol(person: { id: string; agent: boolean; iat: number }, now: Date): Promise<void>
  /** The agent went online or offline; an older `version` changes nothing. True if it was newer. Unknown ones are ignored. */
  presence(change: { id: string; online: boolean; version: number }, now: Date): Promise<boolean>
  /** The agent's choice. Its version moves only if it changed. Null if there is no such agent. */
  choose(id: string, available: boolean, now: Date): Promise<StoredAgent | null>
  /** The choice of that version is published. */
  announced(id: string, version: number): Promise<void>
  /** Agents whose choice isn't published yet, at most `limit`. */
  unannounced(limit: number): Promise<StoredAgent[]>
  /** Takes a place if the mode's conditions hold in that very write. False if they don't, whatever the reason. */
  reserve(id: string, place: Place, mode: ReserveMode, capacity: number): Promise<boolean>
  /** Gives the place of `token` back, whose conversation has ended or gone: the agent is idle from now. False if it was given back already. */
  release(id: string, token: string, now: Date): Promise<boolean>
  /** Gives back a place that no conversation came to: the agent is as idle as before it. False if it was given back already. */
  cancel(id: string, token: string): Promise<boolean>
  find(ids: readonly string[]): Promise<StoredAgent[]>
  /** Agents online, available and with room. */
  free(capacity: number): Promise<StoredAgent[]>
  /** Those who hold a place taken before `before`, for the sweeper: agents and who was one. */
  holding(before: Date): Promise<StoredAgent[]>
}
