// Rows of media in SQLite: one row a file, durable at every commit.
import type { DatabaseSync } from 'node:sqlite'
import { mapSqliteError, migrate, prepared, transaction } from '@fieldline/service/sqlite'
import type { MediaStore } from './media.store.ts'
import type { Media } from './media.ts'

const steps = [
  `CREATE TABLE media (
    id TEXT PRIMARY KEY, owner_id TEXT NOT NULL, state TEXT NOT NULL, type TEXT NOT NULL, name TEXT NOT NULL, format TEXT NOT NULL,
    size INTEGER NOT NULL, etag TEXT NOT NULL, thumbnail_size INTEGER, thumbnail_etag TEXT, width INTEGER, height INTEGER,
    created_at INTEGER NOT NULL, used_at INTEGER NOT NULL, conversation_id TEXT, message_ids TEXT NOT NULL,
    attached INTEGER NOT NULL, announced INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX media_expiring ON media (id) WHERE attached = 0;
  CREATE INDEX media_unannounced ON media (created_at) WHERE announced = 0;`,
  "ALTER TABLE media ADD COLUMN earlier_conversation_ids TEXT NOT NULL DEFAULT '[]'",
]
const columns =
  'id, owner_id, state, type, name, format, size, etag, thumbnail_size, thumbnail_etag, width, height, created_at, used_at, conversation_id, earlier_conversation_ids, message_ids, attached, announced'
const names = columns.split(', ')
const insert = `INSERT INTO media (${columns}) VALUES (${names.map((name) => `:${name}`).join(', ')})`
/** What a rewrite sets. `announced` is written by its own method only, so that no rewrite takes it back. */
const assignments = names
  .filter((name) => name !== 'id' && name !== 'announced')
  .map((name) => `${name} = :${name}`)
  .join(', ')

export function sqliteMediaStore(db: DatabaseSync): MediaStore {
  migrate(db, steps)

  return {
    begin: (rows) =>
      call(() =>
        transaction(db, () => {
          for (const row of rows) prepared(db, insert).run(rowOf(row))
        }),
      ),
    finish: (rows) =>
      call(() => {
        const swept = new Error('swept')
        try {
          transaction(db, () => {
            for (const row of rows) {
              const update = prepared(db, `UPDATE media SET ${assignments} WHERE id = :id AND state = 'uploading'`)
              if (update.run(fieldsOf({ ...row, state: 'stored' })).changes !== 1) throw swept
            }
          })
          return true
        } catch (error) {
          if (error === swept) return false
          throw error
        }
      }),
    load: (id) =>
      call(() => {
        const row = prepared(db, `SELECT ${columns} FROM media WHERE id = ?`).get(id)
        return row ? mediaOf(row) : null
      }),
    replace: (before, after) =>
      call(() => {
        const was = rowOf(before)
        const update = prepared(
          db,
          `UPDATE media SET ${assignments} WHERE id = :id AND state = :was_state AND conversation_id IS :was_conversation
           AND message_ids = :was_messages AND attached = :was_attached AND used_at = :was_used`,
        )
        const { changes } = update.run({
          ...fieldsOf(after),
          ...{ was_state: was.state, was_conversation: was.conversation_id, was_messages: was.message_ids },
          ...{ was_attached: was.attached, was_used: was.used_at },
        })
        return changes === 1
      }),
    expired: ({ uploadingBefore, unusedBefore }, after, limit) =>
      call(() =>
        prepared(
          db,
          `SELECT ${columns} FROM media WHERE attached = 0 AND id > ? AND (state = 'deleting' OR (state = 'uploading' AND used_at < ?)
           OR (state = 'stored' AND used_at < ?)) ORDER BY id LIMIT ?`,
        )
          .all(after, uploadingBefore.getTime(), unusedBefore.getTime(), limit)
          .map(mediaOf),
      ),
    unannounced: (before, limit) =>
      call(() =>
        prepared(db, `SELECT ${columns} FROM media WHERE announced = 0 AND state = 'stored' AND created_at < ? ORDER BY created_at LIMIT ?`)
          .all(before.getTime(), limit)
          .map(mediaOf),
      ),
    announced: (ids) =>
      call(() => {
        prepared(db, 'UPDATE media SET announced = 1 WHERE id IN (SELECT value FROM json_each(?))').run(JSON.stringify(ids))
      }),
    existing: (ids) =>
      call(() => {
        const rows = prepared(db, 'SELECT id FROM media WHERE id IN (SELECT value FROM json_each(?))').all(JSON.stringify(ids))
        return new Set(rows.map((row) => String(row.id)))
      }),
    remove: (ids) =>
      call(() => {
        prepared(db, 'DELETE FROM media WHERE id IN (SELECT value FROM json_each(?))').run(JSON.stringify(ids))
      }),
  }
}

async function call<Result>(work: () => Result): Promise<Result> {
  try {
    return work()
  } catch (error) {
    throw mapSqliteError(error)
  }
}

function rowOf(media: Media) {
  return {
    ...{ id: media.id, owner_id: media.ownerId, state: media.state, type: media.type, name: media.name, format: media.format },
    ...{ size: media.original.size, etag: media.original.etag, width: media.width, height: media.height },
    ...{ thumbnail_size: media.thumbnail?.size ?? null, thumbnail_etag: media.thumbnail?.etag ?? null },
    ...{ created_at: media.createdAt.getTime(), used_at: media.usedAt.getTime(), conversation_id: media.conversationId },
    ...{ earlier_conversation_ids: JSON.stringify(media.earlierConversationIds), message_ids: JSON.stringify(media.messageIds) },
    ...{ attached: Number(media.attached), announced: Number(media.announced) },
  }
}

function fieldsOf(media: Media) {
  const { announced: _announced, ...rest } = rowOf(media)
  return rest
}

/** Only `rowOf` writes rows, so their shape is known. */
function mediaOf(row: Record<string, unknown>): Media {
  const known = row as ReturnType<typeof rowOf>
  const { thumbnail_size: size, thumbnail_etag: etag } = known
  return {
    ...{ id: known.id, ownerId: known.owner_id, state: known.state, type: known.type, name: known.name, format: known.format },
    ...{ original: { size: known.size, etag: known.etag }, thumbnail: size === null || etag === null ? null : { size, etag } },
    ...{ width: known.width, height: known.height, createdAt: new Date(known.created_at), usedAt: new Date(known.used_at) },
    ...{ conversationId: known.conversation_id, earlierConversationIds: JSON.parse(known.earlier_conversation_ids) as string[] },
    ...{ messageIds: JSON.parse(known.message_ids) as string[] },
    ...{ attached: known.attached === 1, announced: known.announced === 1 },
  }
}
