// Presence in SQLite: one process, one file. The document is JSON; what queries ask for stands beside it.
import type { DatabaseSync, SQLInputValue } from 'node:sqlite'
import { newId } from '@fieldline/service/ids'
import { mapSqliteError, migrate, openSqlite, prepared, transaction } from '@fieldline/service/sqlite'
import type { PresenceStore, Stored, Walk } from './presence.store.ts'
import { liveDevices, type Presence, records } from './presence.ts'

const steps = [
  `CREATE TABLE presence (
     person_id TEXT PRIMARY KEY, stamp TEXT NOT NULL, document TEXT NOT NULL,
     idle INTEGER NOT NULL, unannounced INTEGER NOT NULL, ended INTEGER NOT NULL
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX presence_idle ON presence (idle) WHERE idle = 1;
   CREATE INDEX presence_unannounced ON presence (unannounced) WHERE unannounced = 1;
   CREATE INDEX presence_ended ON presence (ended) WHERE ended = 1;
   CREATE TABLE device (instance TEXT NOT NULL, person_id TEXT NOT NULL, PRIMARY KEY (instance, person_id)) STRICT, WITHOUT ROWID;
   CREATE INDEX device_person ON device (person_id);
   CREATE TABLE instance (id TEXT PRIMARY KEY, counter INTEGER NOT NULL, dead INTEGER NOT NULL) STRICT, WITHOUT ROWID;`,
]

/** @param file a path, or `:memory:` */
export function openPresenceSqlite(file: string): PresenceStore {
  const db = attempt(() => openSqlite(file))
  attempt(() => migrate(db, steps))
  const all = (sql: string, ...values: SQLInputValue[]) =>
    attempt(() =>
      prepared(db, sql)
        .all(...values)
        .map(stored),
    )
  /** Page after page by person: the indexes of one flag stand in that order. */
  async function* walk<Found>(sql: string, atOnce: number, foundOf: (row: Record<string, unknown>) => Found[]): Walk<Found> {
    const after = (personId: string) => attempt(() => prepared(db, sql).all(personId, atOnce))
    for (let rows = after(''); rows.length > 0; rows = after(String(rows.at(-1)?.person_id))) yield rows.flatMap(foundOf)
  }

  return {
    name: 'presence store',
    exclusive: true,
    async stop() {
      db.close()
    },
    async load(personIds) {
      return attempt(() => {
        const one = prepared(db, 'SELECT stamp, document FROM presence WHERE person_id = ?')
        return personIds.flatMap((id) => {
          const row = one.get(id)
          return row ? [stored(row)] : []
        })
      })
    },
    async save(changes) {
      return attempt(() =>
        transaction(db, () => {
          const lost = new Set<string>()
          for (const { before, after } of changes) if (!write(db, before, after)) lost.add(after.personId)
          return lost
        }),
      )
    },
    idle: (atOnce) =>
      walk(
        "SELECT person_id, document ->> 'epoch' AS epoch FROM presence WHERE idle = 1 AND person_id > ? ORDER BY person_id LIMIT ?",
        atOnce,
        ({ person_id, epoch }) => [{ personId: String(person_id), epoch: Number(epoch) }],
      ),
    unannounced: (atOnce) =>
      walk(
        "SELECT person_id, document ->> 'version' AS version FROM presence WHERE unannounced = 1 AND person_id > ? ORDER BY person_id LIMIT ?",
        atOnce,
        ({ person_id, version }) => [{ personId: String(person_id), version: Number(version) }],
      ),
    records: (atOnce) =>
      walk(
        `SELECT person_id,
           (SELECT json_group_array(value ->> 'id') FROM json_each(document, '$.devices') WHERE value ->> 'instance' IS NULL) AS ids
         FROM presence WHERE ended = 1 AND person_id > ? ORDER BY person_id LIMIT ?`,
        atOnce,
        ({ person_id, ids }) => (JSON.parse(String(ids)) as string[]).map((id) => ({ personId: String(person_id), id })),
      ),
    async ofInstance(instance, limit) {
      return all('SELECT stamp, document FROM presence JOIN device USING (person_id) WHERE instance = ? LIMIT ?', instance, limit)
    },
    async register(instance) {
      attempt(() => prepared(db, 'INSERT OR IGNORE INTO instance (id, counter, dead) VALUES (?, 1, 0)').run(instance))
    },
    async beat(instance) {
      return attempt(
        () => Number(prepared(db, 'UPDATE instance SET counter = counter + 1 WHERE id = ? AND dead = 0').run(instance).changes) === 1,
      )
    },
    async instances() {
      return attempt(() =>
        prepared(db, 'SELECT id, counter FROM instance')
          .all()
          .map((row) => ({ id: String(row.id), counter: Number(row.counter) })),
      )
    },
    async declareDead(instance, counter) {
      return attempt(
        () => Number(prepared(db, 'UPDATE instance SET dead = 1 WHERE id = ? AND counter = ?').run(instance, counter).changes) === 1,
      )
    },
    async remove(instance) {
      attempt(() => prepared(db, 'DELETE FROM instance WHERE id = ? AND dead = 1').run(instance))
    },
  }
}

function write(db: DatabaseSync, before: Stored | null, after: Presence): boolean {
  const live = liveDevices(after)
  const columns = [
    newId(),
    JSON.stringify(after),
    after.online && live.length === 0 ? 1 : 0,
    after.version === after.announcedVersion ? 0 : 1,
    records(after).length > 0 ? 1 : 0,
    after.personId,
  ]
  const done = before
    ? prepared(
        db,
        'UPDATE presence SET stamp = ?, document = ?, idle = ?, unannounced = ?, ended = ? WHERE person_id = ? AND stamp = ?',
      ).run(...columns, before.stamp)
    : prepared(
        db,
        'INSERT INTO presence (stamp, document, idle, unannounced, ended, person_id) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
      ).run(...columns)
  if (Number(done.changes) !== 1) return false
  prepared(db, 'DELETE FROM device WHERE person_id = ?').run(after.personId)
  for (const { instance } of live)
    prepared(db, 'INSERT OR IGNORE INTO device (instance, person_id) VALUES (?, ?)').run(instance, after.personId)
  return true
}

function stored(row: Record<string, unknown>): Stored {
  return { stamp: String(row.stamp), presence: JSON.parse(String(row.document)) as Presence }
}

function attempt<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw mapSqliteError(error)
  }
}
