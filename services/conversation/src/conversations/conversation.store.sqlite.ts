// Conversations in SQLite: state, outbox and log in one transaction, so that what is committed is in the log at once.
import type { DatabaseSync, SQLInputValue } from 'node:sqlite'
import { type Status, statuses } from '@fieldline/contracts/conversations'
import type { ConversationId, MessageId } from '@fieldline/contracts/ids'
import { mapSqliteError, migrate, prepared, transaction } from '@fieldline/service/sqlite'
import type { ConversationStore, ListOrder, ListPosition } from './conversation.store.ts'
import { steps } from './conversation.tables.sqlite.ts'
import { type Conversation, type Entry, sideOf } from './conversation.ts'
import { keysOf } from './keys.ts'
import { merged, notWaiting, type Part, partsOf, sorted } from './list.ts'

const keyLifeMs = 30 * 86_400_000
/** One in so many commits takes old keys away. */
const keysSweptEvery = 1_000

interface Row {
  [column: string]: SQLInputValue
}

/** @param outboxLimit events that may wait in one conversation's outbox. `database` stays the caller's to close. */
export function sqliteConversations(database: DatabaseSync, { outboxLimit }: { outboxLimit: number }): ConversationStore {
  migrate(database, steps)
  const run = (sql: string, ...values: SQLInputValue[]) => Number(prepared(database, sql).run(...values).changes)
  const all = (sql: string, ...values: SQLInputValue[]) => prepared(database, sql).all(...values) as Row[]
  const get = (sql: string, ...values: SQLInputValue[]) => prepared(database, sql).get(...values) as Row | undefined
  let commits = 0

  function write(sql: string, next: Conversation, ...condition: SQLInputValue[]): boolean {
    const { outbox: _outbox, ...state } = next
    const { assigned } = next
    const values = [
      next.version,
      next.eventNo,
      next.lastSeq,
      next.farmer.id,
      assigned?.person.id ?? null,
      assigned?.at ?? null,
      next.status,
      next.activityAt,
      next.waitingSince ?? notWaiting,
      next.resolvedAt,
      JSON.stringify(state),
      next.id,
    ]
    return run(sql, ...values, ...condition) === 1
  }

  function push(entries: readonly Entry[]): void {
    for (const entry of entries) {
      const { event } = entry
      run('INSERT INTO outbox (conversation_id, event_no, time) VALUES (?, ?, ?)', event.conversationid, event.eventno, event.time)
    }
    record(entries)
  }

  function remove(entries: readonly Entry[]): void {
    for (const { event } of entries)
      run('DELETE FROM outbox WHERE conversation_id = ? AND event_no = ?', event.conversationid, event.eventno)
  }

  function record(entries: readonly Entry[]): void {
    for (const entry of entries) {
      const { event } = entry
      const message = event.type === 'message.created' ? event.data : null
      run(
        'INSERT OR IGNORE INTO log (conversation_id, event_no, seq, side, message_id, assignment, entry) VALUES (?, ?, ?, ?, ?, ?, ?)',
        event.conversationid,
        event.eventno,
        message?.message.seq ?? null,
        message && sideOf({ farmer: { id: message.farmerId } }, message.message.sender.id),
        message?.message.id ?? null,
        event.type === 'conversation.assigned' ? 1 : null,
        JSON.stringify(entry),
      )
    }
    for (const { hash, ...known } of keysOf(entries)) {
      run('INSERT OR IGNORE INTO keys (hash, known, at) VALUES (?, ?, ?)', hash, JSON.stringify(known), Date.now())
    }
    commits += 1
    if (commits % keysSweptEvery === 0) run('DELETE FROM keys WHERE at < ?', Date.now() - keyLifeMs)
  }

  /** `unansweredSince` is not in rows of earlier releases. */
  const fromRow = ({ state }: Row, outbox: Entry[]): Conversation => ({ unansweredSince: null, ...JSON.parse(String(state)), outbox })
  const conversations = (rows: Row[]) => rows.map((row) => fromRow(row, []))
  const entriesOf = (rows: Row[]) => rows.map(({ entry }): Entry => JSON.parse(String(entry)))

  const store: ConversationStore = {
    async load(id) {
      const found = get('SELECT state FROM conversations WHERE id = ?', id)
      if (!found) return null
      const outbox = all(
        `SELECT entry FROM outbox JOIN log USING (conversation_id, event_no) WHERE conversation_id = ? ORDER BY event_no`,
        id,
      )
      return fromRow(found, entriesOf(outbox))
    },

    async insert(next, entries) {
      return transaction(database, () => {
        const columns =
          'version, event_no, last_seq, farmer_id, assigned_id, assigned_at, status, activity_at, waiting_key, resolved_at, state, id'
        const inserted = write(`INSERT OR IGNORE INTO conversations (${columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, next)
        if (inserted) push(entries)
        return inserted
      })
    },

    async commit(before, next, entries, leaving = []) {
      return transaction(database, () => {
        const stored = get('SELECT version FROM conversations WHERE id = ?', before.id)
        if (stored?.version !== before.version) return 'conflict'
        remove(leaving)
        const waiting = Number(get('SELECT count(*) AS n FROM outbox WHERE conversation_id = ?', before.id)?.n ?? 0)
        if (waiting + entries.length > outboxLimit) return 'full'
        const sql = `UPDATE conversations SET version = ?, event_no = ?, last_seq = ?, farmer_id = ?, assigned_id = ?, assigned_at = ?, status = ?,
          activity_at = ?, waiting_key = ?, resolved_at = ?, state = ? WHERE id = ? AND version = ?`
        if (!write(sql, next, before.version)) return 'conflict'
        push(entries)
        return 'committed'
      })
    },

    async bump(id, version) {
      const sql = `UPDATE conversations SET version = version + 1, state = json_set(state, '$.version', version + 1) WHERE id = ? AND version = ?`
      return run(sql, id, version) === 1
    },

    async append(entries) {
      const missing = entries.filter(
        ({ event }) => !get('SELECT 1 FROM log WHERE conversation_id = ? AND event_no = ?', event.conversationid, event.eventno),
      )
      if (missing.length > 0) transaction(database, () => record(missing))
    },

    async forget(entries) {
      if (entries.length === 0) return
      transaction(database, () => remove(entries))
    },

    async unpublished(before, limit) {
      const sql = 'SELECT DISTINCT conversation_id AS id FROM outbox INDEXED BY outbox_time WHERE time < ? LIMIT ?'
      return all(sql, before, limit).map(({ id }) => String(id) as ConversationId)
    },

    async messages(id, from, to) {
      return entriesOf(all('SELECT entry FROM log WHERE conversation_id = ? AND seq BETWEEN ? AND ? ORDER BY seq', id, from, to))
    },

    async messagesOf(id, side, after, upTo, limit) {
      const sql = `SELECT seq, message_id AS id FROM log WHERE conversation_id = ? AND seq > ? AND seq <= ? AND side = ? ORDER BY seq DESC LIMIT ?`
      return all(sql, id, after, upTo, side, limit)
        .reverse()
        .map((row) => ({ id: String(row.id) as MessageId, seq: Number(row.seq) }))
    },

    async message(id, messageId) {
      return entriesOf(all('SELECT entry FROM log WHERE conversation_id = ? AND message_id = ?', id, messageId))[0] ?? null
    },

    async entries(id, after, limit) {
      return entriesOf(all('SELECT entry FROM log WHERE conversation_id = ? AND event_no > ? ORDER BY event_no LIMIT ?', id, after, limit))
    },

    async assignments(id, limit) {
      const sql = 'SELECT entry FROM log WHERE conversation_id = ? AND assignment = 1 ORDER BY event_no DESC LIMIT ?'
      return entriesOf(all(sql, id, limit)).reverse()
    },

    async key(hash) {
      const found = get('SELECT known FROM keys WHERE hash = ?', hash)
      return found ? JSON.parse(String(found.known)) : null
    },

    async slot(farmerId) {
      const found = get('SELECT conversation_id, previous_id FROM slots WHERE farmer_id = ?', farmerId)
      if (!found) return null
      return {
        conversationId: String(found.conversation_id) as ConversationId,
        previousConversationId: found.previous_id === null ? null : (String(found.previous_id) as ConversationId),
      }
    },

    async moveSlot(farmerId, from, to) {
      if (from === null) return run('INSERT OR IGNORE INTO slots (farmer_id, conversation_id) VALUES (?, ?)', farmerId, to) === 1
      const sql = 'UPDATE slots SET conversation_id = ?, previous_id = ? WHERE farmer_id = ? AND conversation_id = ?'
      return run(sql, to, from, farmerId, from) === 1
    },

    async list(filter, order, { limit, after, above }) {
      const parts = partsOf(filter).map((part) => {
        const { where, values } = partWhere(part)
        const next = above === undefined ? behind(order, after) : { where: ' AND activity_at > ?', values: [above] }
        const sql = `SELECT state FROM conversations WHERE ${where}${next.where} ORDER BY ${sorting[order]} LIMIT ?`
        return conversations(all(sql, ...values, ...next.values, limit))
      })
      return merged(parts, order, limit)
    },

    async nth(filter, order, n) {
      const key = order === 'activity' ? 'activity_at' : 'waiting_key'
      const parts = partsOf(filter).map((part) => {
        const { where, values } = partWhere(part)
        const found = all(`SELECT ${key} AS key, id FROM conversations WHERE ${where} ORDER BY ${sorting[order]} LIMIT ?`, ...values, n)
        return found.map((row): ListPosition => ({ key: String(row.key), id: String(row.id) }))
      })
      return sorted(parts, order)[n - 1] ?? null
    },

    async count(filter) {
      const counts = Object.fromEntries(statuses.map((status) => [status, 0])) as Record<Status, number>
      for (const part of partsOf(filter)) {
        const { where, values } = partWhere(part)
        counts[part.status] += Number(get(`SELECT count(*) AS n FROM conversations WHERE ${where}`, ...values)?.n ?? 0)
      }
      return counts
    },

    async heads(ids) {
      const sql = 'SELECT id, event_no, last_seq FROM conversations WHERE id IN (SELECT value FROM json_each(?))'
      return all(sql, JSON.stringify(ids)).map((row) => ({
        conversationId: String(row.id) as ConversationId,
        eventNo: Number(row.event_no),
        lastSeq: Number(row.last_seq),
      }))
    },

    async walk(after, limit) {
      return all('SELECT id, event_no FROM conversations WHERE id > ? ORDER BY id LIMIT ?', after ?? '', limit).map((row) => ({
        conversationId: String(row.id) as ConversationId,
        eventNo: Number(row.event_no),
      }))
    },

    async waiting(after, limit) {
      const sql = `SELECT state FROM conversations WHERE status = 'waiting' AND waiting_key < '${notWaiting}' AND (waiting_key, id) > (?, ?)
        ORDER BY waiting_key, id LIMIT ?`
      return conversations(all(sql, after?.at ?? '', after?.id ?? '', limit))
    },

    async openOf(agentId, limit, after) {
      const sql = `SELECT state FROM conversations WHERE assigned_id = ? AND status = 'open' AND id > ? ORDER BY id LIMIT ?`
      return conversations(all(sql, agentId, after ?? '', limit))
    },

    async emptySince(before, limit) {
      const waiting = `SELECT state FROM conversations WHERE status = 'waiting' AND last_seq = 0 AND waiting_key < ? ORDER BY waiting_key LIMIT ?`
      const open = `SELECT state FROM conversations WHERE status = 'open' AND last_seq = 0 AND assigned_at < ? ORDER BY assigned_at LIMIT ?`
      const first = conversations(all(waiting, before, limit))
      return [...first, ...conversations(all(open, before, limit - first.length))]
    },

    async resolvedSince(before, limit) {
      const sql = `SELECT state FROM conversations WHERE status = 'resolved' AND resolved_at < ? ORDER BY resolved_at LIMIT ?`
      return conversations(all(sql, before, limit))
    },
  }
  return withMappedErrors(store)
}

function partWhere({ farmerId, assignedId, status, queued }: Part): { where: string; values: SQLInputValue[] } {
  const clauses: [string, SQLInputValue[]][] = [['status = ?', [status]]]
  if (farmerId !== undefined) clauses.push(['farmer_id = ?', [farmerId]])
  if (assignedId !== undefined) clauses.push(['assigned_id IS ?', [assignedId]])
  if (queued) clauses.push(['waiting_key < ?', [notWaiting]])
  return { where: clauses.map(([text]) => text).join(' AND '), values: clauses.flatMap(([, values]) => values) }
}

const sorting: Readonly<Record<ListOrder, string>> = { activity: 'activity_at DESC, id DESC', waitingSince: 'waiting_key, id' }

function behind(order: ListOrder, after: ListPosition | undefined): { where: string; values: SQLInputValue[] } {
  if (!after) return { where: '', values: [] }
  const where = order === 'activity' ? ' AND (activity_at, id) < (?, ?)' : ' AND (waiting_key, id) > (?, ?)'
  return { where, values: [after.key, after.id] }
}

/** SQLite is synchronous: its errors come as they are from every method. */
function withMappedErrors(store: ConversationStore): ConversationStore {
  const mapped = Object.entries(store).map(([name, method]: [string, (...args: never[]) => Promise<unknown>]) => [
    name,
    async (...args: never[]) => {
      try {
        return await method(...args)
      } catch (error) {
        throw mapSqliteError(error)
      }
    },
  ])
  return Object.fromEntries(mapped)
}
