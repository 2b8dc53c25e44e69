// A collection of the connected database, with the database's errors in our codes.
import { AppError } from '@fieldline/contracts/errors'
import { mongoCall } from '@fieldline/service/mongo'
import type { Connection, mongo } from 'mongoose'

/** Returns how to work with the collection `name`. @throws AppError UNAVAILABLE, from each work, while the database is away */
export function collectionOf<Item extends mongo.Document>(connection: Connection, name: string) {
  return <Result>(work: (collection: mongo.Collection<Item>) => Promise<Result>): Promise<Result> =>
    mongoCall(() => {
      if (!connection.db) throw new AppError('UNAVAILABLE', 'The database is not available now')
      return work(connection.db.collection<Item>(name))
    })
}
