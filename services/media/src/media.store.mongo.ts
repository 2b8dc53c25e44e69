// Rows of media in MongoDB: one document a file, majority writes.
import { mongoCall } from '@fieldline/service/mongo'
import mongoose, { type Connection } from 'mongoose'
import type { MediaStore } from './media.store.ts'
import type { Media } from './media.ts'

const { trusted } = mongoose
const object = new mongoose.Schema({ size: Number, etag: String }, { _id: false })
const schema = new mongoose.Schema(
  {
    _id: { type: String, required: true },
    ...{ ownerId: String, state: String, type: { type: String }, name: String, format: String, original: object },
    thumbnail: { type: object, default: null },
    ...{ width: Number, height: Number, createdAt: Date, usedAt: Date, conversationId: String },
    ...{ earlierConversationIds: [String], messageIds: [String], attached: Boolean, announced: Boolean },
  },
  { versionKey: false, collection: 'media' },
)
/** `earlierConversationIds`: none in rows of a former release. */
type Row = Omit<Media, 'id' | 'messageIds' | 'earlierConversationIds'> & {
  _id: string
  messageIds: string[]
  earlierConversationIds?: string[]
}

/** `prepare` makes the indexes; call it once connected. */
export function mongoMediaStore(connection: Connection): MediaStore & { prepare(): Promise<void> } {
  const model = connection.model<Row>('Media', schema as never)

  return {
    prepare: () =>
      mongoCall(async () => {
        await model.createCollection()
        // The sweep reads on by id among the few that no message uses yet.
        await model.collection.createIndex({ attached: 1, _id: 1 })
        await model.collection.createIndex({ createdAt: 1 }, { partialFilterExpression: { announced: false } })
      }),
    begin: (rows) =>
      mongoCall(async () => {
        await model.insertMany(rows.map(rowOf))
      }),
    finish: (rows) =>
      mongoCall(async () => {
        const result = await model.bulkWrite(
          rows.map((row) => ({
            updateOne: {
              filter: { _id: row.id, state: 'uploading' as const },
              update: { $set: { ...fieldsOf(row), state: 'stored' as const } },
            },
          })),
        )
        return result.matchedCount === rows.length
      }),
    load: (id) =>
      mongoCall(async () => {
        const row = await model.findById(id).lean<Row>()
        return row ? mediaOf(row) : null
      }),
    replace: (before, after) =>
      mongoCall(async () => {
        const { state, conversationId, attached, usedAt } = before
        const filter = { _id: before.id, state, conversationId, attached, usedAt, messageIds: trusted({ $eq: [...before.messageIds] }) }
        const { matchedCount } = await model.updateOne(filter as never, { $set: fieldsOf(after) })
        return matchedCount === 1
      }),
    expired: ({ uploadingBefore, unusedBefore }, after, limit) =>
      mongoCall(async () => {
        const either = [
          { state: 'deleting' },
          { state: 'uploading', usedAt: trusted({ $lt: uploadingBefore }) },
          { state: 'stored', usedAt: trusted({ $lt: unusedBefore }) },
        ]
        const filter = { attached: false, _id: trusted({ $gt: after }), $or: either }
        const rows = await model
          .find(filter as never)
          .sort({ _id: 1 })
          .limit(limit)
          .lean<Row[]>()
        return rows.map(mediaOf)
      }),
    unannounced: (before, limit) =>
      mongoCall(async () => {
        const filter = { announced: false, state: 'stored', createdAt: trusted({ $lt: before }) }
        const rows = await model
          .find(filter as never)
          .sort({ createdAt: 1 })
          .limit(limit)
          .lean<Row[]>()
        return rows.map(mediaOf)
      }),
    announced: (ids) =>
      mongoCall(async () => {
        await model.updateMany({ _id: trusted({ $in: [...ids] }) } as never, { $set: { announced: true } })
      }),
    existing: (ids) =>
      mongoCall(async () => {
        const rows = await model.find({ _id: trusted({ $in: [...ids] }) } as never, { _id: 1 }).lean<{ _id: string }[]>()
        return new Set(rows.map((row) => row._id))
      }),
    remove: (ids) =>
      mongoCall(async () => {
        await model.deleteMany({ _id: trusted({ $in: [...ids] }) } as never)
      }),
  }
}

/** What a rewrite sets. `announced` is written by its own method only, so that no rewrite takes it back. */
function fieldsOf({ id: _id, announced: _announced, ...rest }: Media): Omit<Row, '_id' | 'announced'> {
  return { ...rest, messageIds: [...rest.messageIds], earlierConversationIds: [...rest.earlierConversationIds] }
}
function rowOf(media: Media): Row {
  return { _id: media.id, ...fieldsOf(media), announced: media.announced }
}
function mediaOf({ _id, earlierConversationIds = [], ...rest }: Row): Media {
  return { id: _id, earlierConversationIds, ...rest }
}
