// The people projection in SQLite: a row a person.
import type { DatabaseSync } from 'node:sqlite'
import { Role } from '@fieldline/contracts/people'
import type { PeopleStore, StoredPerson } from './people.store.ts'

const tables = `
  CREATE TABLE IF NOT EXISTS people (
    id TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    first_name TEXT NOT NULL,
    last_name TEXT NOT NULL,
    phone TEXT,
    iat REAL NOT NULL,
    online INTEGER NOT NULL,
    presence_version INTEGER NOT NULL,
    last_seen_at INTEGER,
    revision INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS people_by_role ON people (role, id);
`

interface PersonRow {
  id: string
  role: string
  first_name: string
  last_name: string
  phone: string | null
  iat: number
  online: number
  presence_version: number
  last_seen_at: number | null
  revision: number
}

/** Makes its tables. `database` stays the caller's to close. */
export function sqlitePeople(database: DatabaseSync): PeopleStore {
  database.exec(tables)
  const find = database.prepare('SELECT * FROM people WHERE id IN (SELECT value FROM json_each(?))')
  const agents = database.prepare("SELECT * FROM people WHERE role = 'Support' ORDER BY id")
  const insert = database.prepare(
    `INSERT INTO people (role, first_name, last_name, phone, iat, online, presence_version, last_seen_at, revision, id)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
  )
  const update = database.prepare(
    `UPDATE people SET role = ?, first_name = ?, last_name = ?, phone = ?, iat = ?, online = ?, presence_version = ?, last_seen_at = ?, revision = ?
     WHERE id = ? AND revision = ?`,
  )

  return {
    async find(ids) {
      return (find.all(JSON.stringify(ids)) as unknown as PersonRow[]).map(fromRow)
    },
    async save(person, revision) {
      const values = [
        person.role,
        person.firstName,
        person.lastName,
        person.phone,
        person.iat,
        person.online ? 1 : 0,
        person.presenceVersion,
        person.lastSeenAt?.getTime() ?? null,
        revision + 1,
        person.id,
      ]
      const { changes } = revision === 0 ? insert.run(...values) : update.run(...values, revision)
      return changes === 1
    },
    async agents() {
      return (agents.all() as unknown as PersonRow[]).map(fromRow)
    },
  }
}

function fromRow(row: PersonRow): StoredPerson {
  return {
    id: row.id,
    role: Role.parse(row.role),
    firstName: row.first_name,
    lastName: row.last_name,
    phone: row.phone,
    iat: row.iat,
    online: row.online === 1,
    presenceVersion: row.presence_version,
    lastSeenAt: row.last_seen_at === null ? null : new Date(row.last_seen_at),
    revision: row.revision,
  }
}
