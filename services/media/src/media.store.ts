// The port to what media knows of its files: rows, not bytes. One contract suite proves it for each database.
import type { Media } from './media.ts'

/** Every method is one atomic step a row. @throws AppError UNAVAILABLE from each of them */
export interface MediaStore {
  /** Inserts rows in state `uploading`: before the first byte is stored, so that whatever a crash leaves has a row. */
  begin(rows: readonly Media[]): Promise<void>
  /** Writes the rows as `stored` if all are still `uploading`; false if the sweep has taken one of them. */
  finish(rows: readonly Media[]): Promise<boolean>
  load(id: string): Promise<Media | null>
  /** Writes `after` if what reserving decides about is still as in `before`: state, conversation, messages, attached, `usedAt`. */
  replace(before: Media, after: Media): Promise<boolean>
  /** Rows that the sweep must look at: `deleting`, `uploading` since before `uploadingBefore`, or unattached and not used since `unusedBefore`. By id, after `after`. */
  expired(limits: { uploadingBefore: Date; unusedBefore: Date }, after: string, limit: number): Promise<Media[]>
  /** Stored rows created before `before` whose event isn't confirmed, oldest first. */
  unannounced(before: Date, limit: number): Promise<Media[]>
  /** Their event is confirmed. */
  announced(ids: readonly string[]): Promise<void>
  /** Which of these ids have a row. */
  existing(ids: readonly string[]): Promise<Set<string>>
  remove(ids: readonly string[]): Promise<void>
}
