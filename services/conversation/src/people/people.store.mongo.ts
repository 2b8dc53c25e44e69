// The people projection in MongoDB: a document a person.
import { isDuplicateKey } from '@fieldline/service/mongo'
import type { Connection } from 'mongoose'
import { collectionOf } from './collection.mongo.ts'
import type { PeopleStore, StoredPerson } from './people.store.ts'

type PersonDocument = Omit<StoredPerson, 'id'> & { _id: string }

/** Makes what the queries below need; harmless where it is there already. */
export function indexPeople(connection: Connection): Promise<void> {
  return collectionOf<PersonDocument>(
    connection,
    'people',
  )(async (people) => {
    await people.createIndex({ role: 1, _id: 1 })
  })
}

/** Uses the connection's own concerns (majority). @throws AppError UNAVAILABLE from every method while there is no connection */
export function mongoPeople(connection: Connection): PeopleStore {
  const withPeople = collectionOf<PersonDocument>(connection, 'people')
  return {
    async find(ids) {
      if (ids.length === 0) return []
      return (await withPeople((people) => people.find({ _id: { $in: [...ids] } }).toArray())).map(fromDocument)
    },

    save({ id, ...person }, revision) {
      const fields = { ...person, revision: revision + 1 }
      return withPeople(async (people) => {
        if (revision > 0) return (await people.updateOne({ _id: id, revision }, { $set: fields })).matchedCount === 1
        try {
          await people.insertOne({ _id: id, ...fields })
          return true
        } catch (error) {
          if (isDuplicateKey(error)) return false
          throw error
        }
      })
    },

    async agents() {
      return (await withPeople((people) => people.find({ role: 'Support' }).sort({ _id: 1 }).toArray())).map(fromDocument)
    },
  }
}

function fromDocument({ _id, ...person }: PersonDocument): StoredPerson {
  return { id: _id, ...person }
}
