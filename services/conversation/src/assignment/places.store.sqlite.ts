// Agents' places in SQLite: a row an agent and a row a place, every change one conditional statement.
import type { DatabaseSync } from 'node:sqlite'
import { transaction } from '@fieldline/service/sqlite'
import type { ReserveMode } from './assignment.ts'
import { idleSince, type PlacesStore, type StoredAgent } from './places.ts'

const tables = `
  CREATE TABLE IF NOT EXISTS agents (
    id TEXT PRIMARY KEY,
    agent INTEGER NOT NULL,
    iat REAL NOT NULL,
    online INTEGER NOT NULL DEFAULT 0,
    presence_version INTEGER NOT NULL DEFAULT 0,
    offline_since INTEGER,
    available INTEGER NOT NULL DEFAULT 1,
    version INTEGER NOT NULL DEFAULT 0,
    announced_version INTEGER NOT NULL DEFAULT 0,
    chosen_at INTEGER,
    idle_since INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS agents_free ON agents (agent, online, available);
  CREATE INDEX IF NOT EXISTS agents_unannounced ON agents (id) WHERE announced_version < version;
  CREATE TABLE IF NOT EXISTS places (
    token TEXT PRIMARY KEY,
    agent_id TEXT NOT NULL REFERENCES agents (id),
    conversation_id TEXT NOT NULL,
    since INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS places_by_agent ON places (agent_id, since);
  CREATE INDEX IF NOT EXISTS places_by_age ON places (since);
`

interface AgentRow {
  id: string
  agent: number
  online: number
  offline_since: number | null
  available: number
  version: number
  announced_version: number
  chosen_at: number | null
  idle_since: number
  active: string
}

/** Places as JSON beside their agent, oldest first. */
const select = `
  SELECT a.*, (
    SELECT json_group_array(json_object('conversationId', conversation_id, 'token', token, 'since', since))
    FROM (SELECT * FROM places WHERE agent_id = a.id ORDER BY since, token)
  ) AS active FROM agents a`

const reserveWhere: Record<ReserveMode, string> = {
  automatic: 'agent = 1 AND online = 1 AND available = 1 AND (SELECT count(*) FROM places WHERE agent_id = agents.id) < ?',
  known: 'agent = 1 AND (SELECT count(*) FROM places WHERE agent_id = agents.id) < ?',
  force: 'agent = 1 AND ? > 0',
}

/** Makes its tables. `database` stays the caller's to close. */
export function sqlitePlaces(database: DatabaseSync): PlacesStore {
  database.exec(tables)
  const enrol = database.prepare(
    `INSERT INTO agents (id, agent, iat, idle_since) SELECT ?1, ?2, ?3, ?4 WHERE ?2 = 1 OR EXISTS (SELECT 1 FROM agents WHERE id = ?1)
     ON CONFLICT (id) DO UPDATE SET agent = excluded.agent, iat = excluded.iat WHERE excluded.iat > agents.iat`,
  )
  const presence = database.prepare(
    `UPDATE agents SET
       idle_since = CASE WHEN ?2 = 1 AND online = 0 THEN ?4 ELSE idle_since END,
       offline_since = CASE WHEN ?2 = 1 THEN NULL WHEN online = 1 THEN ?4 ELSE coalesce(offline_since, ?4) END,
       online = ?2, presence_version = ?3
     WHERE id = ?1 AND presence_version < ?3`,
  )
  const choose = database.prepare(
    `UPDATE agents SET available = ?2, version = version + 1, chosen_at = ?3, idle_since = CASE WHEN ?2 = 1 THEN ?3 ELSE idle_since END
     WHERE id = ?1 AND agent = 1 AND available <> ?2`,
  )
  const announced = database.prepare('UPDATE agents SET announced_version = ?2 WHERE id = ?1 AND announced_version < ?2')
  const unannounced = database.prepare(`${select} WHERE announced_version < version LIMIT ?`)
  const reserve = Object.fromEntries(
    Object.entries(reserveWhere).map(([mode, where]) => [
      mode,
      database.prepare(
        `INSERT INTO places (token, agent_id, conversation_id, since) SELECT ?, id, ?, ? FROM agents WHERE id = ? AND ${where}`,
      ),
    ]),
  ) as Record<ReserveMode, ReturnType<DatabaseSync['prepare']>>
  const release = database.prepare('DELETE FROM places WHERE token = ? AND agent_id = ?')
  const touch = database.prepare('UPDATE agents SET idle_since = ? WHERE id = ?')
  const find = database.prepare(`${select} WHERE id IN (SELECT value FROM json_each(?))`)
  const free = database.prepare(
    `${select} WHERE agent = 1 AND online = 1 AND available = 1 AND (SELECT count(*) FROM places WHERE agent_id = a.id) < ?`,
  )
  const holding = database.prepare(`${select} WHERE id IN (SELECT agent_id FROM places WHERE since < ?)`)

  return {
    async enrol({ id, agent, iat }, now) {
      enrol.run(id, agent ? 1 : 0, iat, now.getTime())
    },
    async presence({ id, online, version }, now) {
      return presence.run(id, online ? 1 : 0, version, now.getTime()).changes === 1
    },
    async choose(id, available, now) {
      choose.run(id, available ? 1 : 0, now.getTime())
      const [agent] = rows(find.all(JSON.stringify([id])))
      return agent?.agent ? agent : null
    },
    async announced(id, version) {
      announced.run(id, version)
    },
    async unannounced(limit) {
      return rows(unannounced.all(limit))
    },
    async reserve(id, { conversationId, token, since }, mode, capacity) {
      return reserve[mode].run(token, conversationId, since.getTime(), id, capacity).changes === 1
    },
    async release(id, token, now) {
      return transaction(database, () => {
        const released = release.run(token, id).changes === 1
        if (released) touch.run(now.getTime(), id)
        return released
      })
    },
    async cancel(id, token) {
      return release.run(token, id).changes === 1
    },
    async find(ids) {
      return rows(find.all(JSON.stringify(ids)))
    },
    async free(capacity) {
      return rows(free.all(capacity))
    },
    async holding(before) {
      return rows(holding.all(before.getTime()))
    },
  }
}

function rows(found: unknown[]): StoredAgent[] {
  return (found as AgentRow[]).map((row) => {
    const places = JSON.parse(row.active) as { conversationId: string; token: string; since: number }[]
    const active = places.map((place) => ({ ...place, since: new Date(place.since) }))
    return {
      id: row.id,
      agent: row.agent === 1,
      online: row.online === 1,
      offlineSince: row.offline_since === null ? null : new Date(row.offline_since),
      available: row.available === 1,
      version: row.version,
      announcedVersion: row.announced_version,
      chosenAt: row.chosen_at === null ? null : new Date(row.chosen_at),
      active,
      idleSince: idleSince(new Date(row.idle_since), active),
    }
  })
}
