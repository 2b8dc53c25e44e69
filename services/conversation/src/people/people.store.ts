// Port of the people projection. Its contract suite (test/people.store.contract.ts) runs against each adapter.
import type { KnownPerson } from './person.ts'

/** A person as stored. `revision` counts writes: 0 is not stored yet. */
export interface StoredPerson extends KnownPerson {
  readonly revision: number
}

export interface PeopleStore {
  /** Those of `ids` that are known, in no order. At most some hundreds at a time. */
  find(ids: readonly string[]): Promise<StoredPerson[]>
  /** Writes `person` if the stored revision is still `revision` (0: there was none). False if somebody else was faster. */
  save(person: KnownPerson, revision: number): Promise<boolean>
  /** Everyone whose role is Support, by id. */
  agents(): Promise<StoredPerson[]>
}
