// Conversations in numbers no REST call would make in time: clones of one the product made itself, so that their shape is the product's own.
import { MongoClient, ObjectId } from 'mongodb'
import { eventually } from '../../tests/support/client.ts'
import { createConversation, type Product, token } from './product.ts'
import { mongoOf, type Servers } from './row.ts'

export interface Seeded {
  conversationId: string
  farmerToken: string
}

interface StoredConversation {
  _id: string
  eventNo: number
  farmer: { id: string }
  outbox?: unknown[]
}

const batch = 2_000

/** New conversations without a message, of a farmer each. */
export async function seedConversations(servers: Servers, product: Product, count: number): Promise<Seeded[]> {
  const { id } = await createConversation(product.url, token('User', 'farmer-seed'))
  return withConversations(mongoOf(servers), product, async (conversations) => {
    const model = await eventually(() => conversations.findOne({ _id: id, 'outbox.0': { $exists: false } }))
    const seeded: Seeded[] = []
    for (let from = 0; from < count; from += batch) {
      const clones = Array.from({ length: Math.min(batch, count - from) }, (_, index) => {
        const farmerId = `farmer-${from + index}`
        seeded.push({ conversationId: new ObjectId().toHexString(), farmerToken: token('User', farmerId, { expiresIn: 7_200 }) })
        return { ...model, _id: seeded.at(-1)?.conversationId ?? '', farmer: { ...model.farmer, id: farmerId } }
      })
      await conversations.insertMany(clones)
    }
    return seeded
  })
}

/** The number of the newest event of a conversation that has no event on its way any more. */
export function headOf(servers: Servers, product: Product, id: string): Promise<number> {
  return withConversations(mongoOf(servers), product, async (conversations) => {
    const settled = await eventually(() => conversations.findOne({ _id: id, 'outbox.0': { $exists: false } }))
    return settled.eventNo
  })
}

async function withConversations<T>(
  mongodb: string,
  product: Product,
  work: (conversations: ReturnType<typeof conversationsOf>) => Promise<T>,
): Promise<T> {
  const client = await MongoClient.connect(mongodb, { directConnection: true })
  try {
    return await work(conversationsOf(client, product))
  } finally {
    await client.close()
  }
}
function conversationsOf(client: MongoClient, { whole }: Product) {
  return client.db(`${whole.namespace}fieldline_conversation`).collection<StoredConversation>('conversations')
}
