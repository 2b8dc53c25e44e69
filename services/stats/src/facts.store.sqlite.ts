// Stats' database in SQLite: a set of tables a generation; every write is one transaction.
import type { DatabaseSync, SQLInputValue } from 'node:sqlite'
import { mapSqliteError, migrate, openSqlite, prepared, transaction } from '@fieldline/service/sqlite'
import { blockStart, type Level, levels } from './blocks.ts'
import type { Entry, NamedAgent } from './entries.ts'
import type { BlockSums, FactsStore, Generation, Write } from './facts.store.ts'
import { packSketch } from './sketch.ts'
import { addFact, addKept, type Counts, countNames, durationNames, emptySums, type KeptSums, type Sums } from './sums.ts'
import type { Fact, Head } from './tally.ts'

type Row = Record<string, unknown>

const meta = `CREATE TABLE generations (number INTEGER PRIMARY KEY, current INTEGER NOT NULL DEFAULT 0);
INSERT INTO generations VALUES (1, 1);`

const tablesOf = (n: number) => `
CREATE TABLE IF NOT EXISTS heads_${n} (id TEXT PRIMARY KEY, event_no INTEGER NOT NULL, status TEXT NOT NULL, agent_id TEXT, waiting_since INTEGER,
  created_at INTEGER NOT NULL, started_at INTEGER NOT NULL, unanswered_since INTEGER, answered INTEGER NOT NULL, received INTEGER NOT NULL,
  resolved_by TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS heads_open_${n} ON heads_${n} (agent_id) WHERE status = 'open';
CREATE INDEX IF NOT EXISTS heads_waiting_${n} ON heads_${n} (waiting_since) WHERE status = 'waiting';
CREATE TABLE IF NOT EXISTS facts_${n} (id TEXT NOT NULL, event_no INTEGER NOT NULL, kind TEXT NOT NULL, at INTEGER NOT NULL, agent_id TEXT, holder_id TEXT,
  detail TEXT, ms INTEGER, first INTEGER NOT NULL, PRIMARY KEY (id, event_no, kind)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS facts_at_${n} ON facts_${n} (at);
CREATE INDEX IF NOT EXISTS facts_samples_${n} ON facts_${n} (at, kind, agent_id, first, ms) WHERE ms IS NOT NULL;
CREATE INDEX IF NOT EXISTS facts_agent_${n} ON facts_${n} (agent_id, at, kind, first, ms) WHERE ms IS NOT NULL;
CREATE INDEX IF NOT EXISTS facts_media_${n} ON facts_${n} (agent_id, at) WHERE kind = 'media';
CREATE TABLE IF NOT EXISTS early_${n} (id TEXT NOT NULL, event_no INTEGER NOT NULL, entry TEXT NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (id, event_no)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dirty_${n} (start INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS sums_${n} (level INTEGER NOT NULL, scope TEXT NOT NULL, start INTEGER NOT NULL,
  ${countNames.map((name) => `"${name}" INTEGER NOT NULL`).join(', ')}, ${durationNames.map((name) => `sketch_${name} TEXT NOT NULL`).join(', ')});
CREATE UNIQUE INDEX IF NOT EXISTS sums_scope_${n} ON sums_${n} (level, scope, start);
CREATE INDEX IF NOT EXISTS sums_start_${n} ON sums_${n} (level, start);
CREATE TABLE IF NOT EXISTS agents_${n} (id TEXT PRIMARY KEY, role TEXT NOT NULL, first_name TEXT NOT NULL, last_name TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
`
const tables = ['heads', 'facts', 'early', 'dirty', 'sums', 'agents']

export interface SqliteFactsStore extends FactsStore {
  ping(): Promise<void>
  close(): Promise<void>
}

/** @param file a path, or `:memory:` */
export function openSqliteFacts(file: string): SqliteFactsStore {
  const db = openSqlite(file)
  migrate(db, [meta])
  const run = <T>(work: () => T): Promise<T> => {
    try {
      return Promise.resolve(work())
    } catch (error) {
      return Promise.reject(mapSqliteError(error))
    }
  }
  const opened = new Map<number, Generation>()
  const current = () => Number(prepared(db, 'SELECT number FROM generations WHERE current = 1').get()?.number)
  return {
    current: () => run(current),
    generations: () =>
      run(() =>
        prepared(db, 'SELECT number FROM generations ORDER BY number')
          .all()
          .map(({ number }) => Number(number)),
      ),
    generation: (number) =>
      run(() => {
        const known = opened.get(number)
        if (known) return known
        transaction(db, () => {
          db.prepare('INSERT INTO generations (number) VALUES (?) ON CONFLICT DO NOTHING').run(number)
          db.exec(tablesOf(number))
        })
        const made = createGeneration(db, number, run)
        opened.set(number, made)
        return made
      }),
    swap: (from, to) =>
      run(() =>
        transaction(db, () => {
          if (current() !== from) return false
          db.prepare('UPDATE generations SET current = (number = ?)').run(to)
          return true
        }),
      ),
    drop: (number) =>
      run(() =>
        transaction(db, () => {
          if (current() === number) throw new Error('the generation in use cannot be dropped')
          opened.delete(number)
          for (const table of tables) db.exec(`DROP TABLE IF EXISTS ${table}_${number}`)
          db.prepare('DELETE FROM generations WHERE number = ?').run(number)
        }),
      ),
    ping: () => run(() => void prepared(db, 'SELECT 1').get()),
    close: async () => {
      if (db.isOpen) db.close()
    },
  }
}

function createGeneration(db: DatabaseSync, n: number, run: <T>(work: () => T) => Promise<T>): Generation {
  const all = (sql: string, ...values: SQLInputValue[]): Row[] => prepared(db, sql).all(...values)
  const inIds = '(SELECT value FROM json_each(?))'

  function write({ facts, moves, early, agents }: Write): string[] {
    const addFactRow = prepared(db, `INSERT INTO facts_${n} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`)
    const quarters = new Set<number>()
    for (const fact of facts) {
      const { conversationId, eventNo, kind, at, agentId, holderId, detail, ms, first } = fact
      const { changes } = addFactRow.run(conversationId, eventNo, kind, at, agentId, holderId, detail, ms, first ? 1 : 0)
      if (changes > 0) quarters.add(blockStart(at, 0))
    }
    for (const start of quarters) prepared(db, `INSERT INTO dirty_${n} VALUES (?) ON CONFLICT DO NOTHING`).run(start)
    const move = prepared(
      db,
      `INSERT INTO heads_${n} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET event_no = excluded.event_no,
       status = excluded.status, agent_id = excluded.agent_id, waiting_since = excluded.waiting_since, started_at = excluded.started_at,
       unanswered_since = excluded.unanswered_since, answered = excluded.answered, received = excluded.received, resolved_by = excluded.resolved_by
       WHERE event_no = ?`,
    )
    const overtaken: string[] = []
    for (const { from, head } of moves) {
      const {
        conversationId,
        eventNo,
        status,
        agentId,
        waitingSince,
        createdAt,
        startedAt,
        unansweredSince,
        answered,
        received,
        resolvedBy,
      } = head
      const flags = [answered ? 1 : 0, received ? 1 : 0]
      const { changes } = move.run(
        ...[conversationId, eventNo, status, agentId, waitingSince, createdAt, startedAt, unansweredSince],
        ...[...flags, resolvedBy, from],
      )
      if (changes === 0 && all(`SELECT event_no FROM heads_${n} WHERE id = ?`, conversationId)[0]?.event_no !== eventNo)
        overtaken.push(conversationId)
    }
    const park = prepared(db, `INSERT INTO early_${n} VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`)
    for (const entry of early) park.run(entry.conversationId, entry.eventNo, JSON.stringify(entry), Date.now())
    const name = prepared(
      db,
      `INSERT INTO agents_${n} VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET role = excluded.role, first_name = excluded.first_name,
       last_name = excluded.last_name, at = excluded.at WHERE (excluded.at, excluded.role, excluded.first_name, excluded.last_name) > (at, role, first_name, last_name)`,
    )
    for (const { id, role, firstName, lastName, at } of agents) name.run(id, role, firstName, lastName, at)
    return overtaken
  }

  function eachFact(from: number, to: number, visit: (fact: Fact) => void): void {
    const rows = db.prepare(`SELECT * FROM facts_${n} WHERE at >= ? AND at < ?`).iterate(from, to)
    for (const row of rows) visit(factOf(row))
  }

  function sums(level: Level, starts: readonly number[], scope: string | null): BlockSums[] {
    const where = scope === null ? '' : 'AND scope = ?'
    const sql = `SELECT * FROM sums_${n} WHERE level = ? AND start IN ${inIds} ${where}`
    return all(sql, level, JSON.stringify(starts), ...(scope === null ? [] : [scope])).map((row) => ({
      start: Number(row.start),
      scope: String(row.scope),
      sums: keptOf(row),
    }))
  }

  function keep(level: Level, start: number, scopes: Map<string, Sums>): void {
    const places = [...countNames, ...durationNames].map(() => '?').join(', ')
    const put = prepared(db, `INSERT OR REPLACE INTO sums_${n} VALUES (?, ?, ?, ${places})`)
    for (const [scope, { counts, durations }] of scopes) {
      const packed = durationNames.map((name) => JSON.stringify(packSketch(durations[name])))
      put.run(level, scope, start, ...countNames.map((name) => counts[name]), ...packed)
    }
  }

  /** One quarter a transaction, so that nobody waits long for the lock or this thread. */
  function rollUpQuarter(start: number): void {
    const scopes = new Map<string, Sums>()
    eachFact(start, start + levels[0], (fact) => addFact(scopes, fact))
    keep(0, start, scopes)
    prepared(db, `DELETE FROM dirty_${n} WHERE start = ?`).run(start)
  }

  function rollUpFrom(below: Level, level: Level, start: number): void {
    const scopes = new Map<string, Sums>()
    for (let at = start; at < start + levels[level]; at += levels[below]) {
      for (const block of sums(below, [at], null)) {
        const into = scopes.get(block.scope) ?? emptySums()
        scopes.set(block.scope, into)
        addKept(into, block.sums)
      }
    }
    keep(level, start, scopes)
  }

  return {
    number: n,
    heads: (ids) =>
      run(
        () =>
          new Map(all(`SELECT * FROM heads_${n} WHERE id IN ${inIds}`, JSON.stringify(ids)).map((row) => [String(row.id), headOf(row)])),
      ),
    early: (ids) =>
      run(() => {
        const found = new Map<string, Entry[]>()
        for (const row of all(`SELECT id, entry FROM early_${n} WHERE id IN ${inIds} ORDER BY id, event_no`, JSON.stringify(ids))) {
          const id = String(row.id)
          found.set(id, [...(found.get(id) ?? []), JSON.parse(String(row.entry))])
        }
        return found
      }),
    write: (batch) => run(() => transaction(db, () => write(batch))),
    release: (done) =>
      run(() =>
        transaction(db, () => {
          const drop = prepared(db, `DELETE FROM early_${n} WHERE id = ? AND event_no <= ?`)
          for (const { conversationId, upTo } of done) drop.run(conversationId, upTo)
        }),
      ),
    gaps: (before, limit) =>
      run(() =>
        all(
          `SELECT e.id, MIN(e.event_no) AS earliest, MIN(e.since) AS since, COALESCE(h.event_no, 0) AS after FROM early_${n} e
           LEFT JOIN heads_${n} h ON h.id = e.id GROUP BY e.id HAVING MIN(e.since) < ? ORDER BY since LIMIT ?`,
          before,
          limit,
        ).map((row) => ({
          conversationId: String(row.id),
          after: Number(row.after),
          earliest: Number(row.earliest),
          since: Number(row.since),
        })),
      ),
    postpone: (id, since) => run(() => void prepared(db, `UPDATE early_${n} SET since = ? WHERE id = ?`).run(since, id)),
    waitingEntries: () => run(() => Number(all(`SELECT COUNT(*) AS n FROM early_${n}`)[0]?.n)),
    dirty: () => run(() => all(`SELECT start FROM dirty_${n} ORDER BY start`).map(({ start }) => Number(start))),
    rollUp: (quarters) =>
      run(() => {
        // A day is only used once no quarter in it is dirty, so it is rewritten in the transaction that cleans its last one.
        const byDay = Map.groupBy(quarters, (start) => blockStart(start, 2))
        for (const [day, starts] of byDay) {
          transaction(db, () => {
            for (const start of starts) rollUpQuarter(start)
            for (const hour of new Set(starts.map((start) => blockStart(start, 1)))) rollUpFrom(0, 1, hour)
            rollUpFrom(1, 2, day)
          })
        }
      }),
    counts: (level, starts, scope) =>
      run(() =>
        all(
          `SELECT start, ${countNames.map((name) => `"${name}"`).join(', ')} FROM sums_${n} WHERE level = ? AND scope = ? AND start IN ${inIds}`,
          level,
          scope,
          JSON.stringify(starts),
        ).map((row) => ({ start: Number(row.start), counts: countsOf(row) })),
      ),
    sums: (level, starts, scope) => run(() => sums(level, starts, scope)),
    lifetime: (scope, exceptDays) =>
      run(() => {
        const names = ['resolved', 'reopened', 'closed', 'closedResolved'] as const
        const [row] = all(
          `SELECT ${names.map((name) => `COALESCE(SUM("${name}"), 0) AS "${name}"`).join(', ')} FROM sums_${n}
           WHERE level = 2 AND scope = ? AND start NOT IN ${inIds}`,
          scope,
          JSON.stringify(exceptDays),
        )
        const [resolved, reopened, closed, closedResolved] = names.map((name) => Number(row?.[name] ?? 0)) as [
          number,
          number,
          number,
          number,
        ]
        return { resolved, reopened, closed, closedResolved }
      }),
    eachFact: ({ from, to }, visit) => run(() => eachFact(from, to, visit)),
    samples: ({ from, to }, agentId) =>
      run(() =>
        all(
          `SELECT kind, agent_id, first, ms FROM facts_${n} WHERE ${agentId === null ? '' : 'agent_id = ? AND '} at >= ? AND at < ? AND ms IS NOT NULL`,
          ...(agentId === null ? [] : [agentId]),
          from,
          to,
        ).map((row) => ({
          kind: row.kind as Fact['kind'],
          agentId: textOrNull(row.agent_id),
          first: row.first === 1,
          ms: Number(row.ms),
        })),
      ),
    uploads: ({ from, to }, agentId) =>
      run(() =>
        all(`SELECT * FROM facts_${n} WHERE kind = 'media' AND agent_id = ? AND at >= ? AND at < ?`, agentId, from, to).map(factOf),
      ),
    now: () =>
      run(() => {
        const [waiting] = all(
          `SELECT COUNT(*) AS n, COUNT(waiting_since) AS queued, MIN(waiting_since) AS oldest FROM heads_${n} WHERE status = 'waiting'`,
        )
        const open = all(`SELECT agent_id, COUNT(*) AS n FROM heads_${n} WHERE status = 'open' GROUP BY agent_id`)
        return {
          waiting: Number(waiting?.n),
          open: open.map((row) => ({ agentId: textOrNull(row.agent_id), count: Number(row.n) })),
          queue: { length: Number(waiting?.queued), oldestSince: numberOrNull(waiting?.oldest) },
        }
      }),
    agents: (ids) =>
      run(() =>
        all(`SELECT * FROM agents_${n} WHERE id IN ${inIds}`, JSON.stringify(ids)).map(
          (row): NamedAgent => ({
            id: String(row.id),
            role: row.role as NamedAgent['role'],
            firstName: String(row.first_name),
            lastName: String(row.last_name),
            at: Number(row.at),
          }),
        ),
      ),
    factsOf: (id) => run(() => all(`SELECT * FROM facts_${n} WHERE id = ? ORDER BY event_no, kind`, id).map(factOf)),
    headCount: () => run(() => Number(all(`SELECT COUNT(*) AS n FROM heads_${n}`)[0]?.n)),
    keptDays: () => run(() => all(`SELECT DISTINCT start FROM sums_${n} WHERE level = 2 ORDER BY start`).map(({ start }) => Number(start))),
    copyUploads: (from) =>
      run(() =>
        transaction(db, () => {
          db.exec(`INSERT INTO facts_${n} SELECT * FROM facts_${from} WHERE kind = 'media' ON CONFLICT DO NOTHING`)
          db.exec(
            `INSERT INTO dirty_${n} SELECT DISTINCT at / ${levels[0]} * ${levels[0]} FROM facts_${n} WHERE kind = 'media' ON CONFLICT DO NOTHING`,
          )
          return Number(all(`SELECT COUNT(*) AS n FROM facts_${n} WHERE kind = 'media'`)[0]?.n)
        }),
      ),
  }
}

function factOf(row: Row): Fact {
  return {
    conversationId: String(row.id),
    eventNo: Number(row.event_no),
    kind: row.kind as Fact['kind'],
    at: Number(row.at),
    agentId: textOrNull(row.agent_id),
    holderId: textOrNull(row.holder_id),
    detail: row.detail as Fact['detail'],
    ms: numberOrNull(row.ms),
    first: row.first === 1,
  }
}

function headOf(row: Row): Head {
  return {
    conversationId: String(row.id),
    eventNo: Number(row.event_no),
    status: row.status as Head['status'],
    agentId: textOrNull(row.agent_id),
    waitingSince: numberOrNull(row.waiting_since),
    createdAt: Number(row.created_at),
    startedAt: Number(row.started_at),
    unansweredSince: numberOrNull(row.unanswered_since),
    answered: row.answered === 1,
    received: row.received === 1,
    resolvedBy: textOrNull(row.resolved_by),
  }
}

function countsOf(row: Row): Counts {
  return Object.fromEntries(countNames.map((name) => [name, Number(row[name])])) as Counts
}

function keptOf(row: Row): KeptSums {
  return { counts: countsOf(row), sketch: (name) => JSON.parse(String(row[`sketch_${name}`])) }
}

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

function numberOrNull(value: unknown): number | null {
  return typeof value === 'number' ? value : null
}
