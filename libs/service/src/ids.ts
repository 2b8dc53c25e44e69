// Our own ids: 24 hexadecimal digits that sort by the second they were made in (BSON ObjectId).
import { ObjectId } from 'bson'

export function newId(): string {
  return new ObjectId().toHexString()
}

export function isId(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{24}$/.test(value)
}
