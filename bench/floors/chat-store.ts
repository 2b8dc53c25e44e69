// Floor of a send, second process: node:http → insertOne → amqplib confirm → answer. No checks, no rights, no sequence.
import { createServer } from 'node:http'
import { connect } from 'amqplib'
import { MongoClient, ObjectId } from 'mongodb'
import { listening } from '../lib/bare.ts'
import { answer } from '../lib/roles.ts'

answer({
  /** @returns its address */
  async start({ amqp, mongodb, name }: { amqp: string; mongodb: string | undefined; name: string }): Promise<string> {
    const connection = await connect(amqp, { noDelay: true })
    const channel = await connection.createConfirmChannel()
    await channel.assertExchange(name, 'topic', { durable: true })
    const client = mongodb && (await MongoClient.connect(mongodb, { directConnection: true, writeConcern: { w: 'majority' } }))
    const messages = client ? client.db(name).collection<{ _id: string }>('messages') : undefined
    const server = createServer(async (req, res) => {
      const chunks: Buffer[] = []
      for await (const chunk of req) chunks.push(chunk)
      const { conversationId, messageType, content } = JSON.parse(Buffer.concat(chunks).toString())
      const message = {
        _id: new ObjectId().toHexString(),
        conversationId,
        senderId: { _id: 'someone', first_name: 'Some', last_name: 'One', role: 'User' },
        messageType,
        content,
        createdAt: new Date().toISOString(),
      }
      await messages?.insertOne({ ...message })
      const body = Buffer.from(JSON.stringify(message))
      await new Promise<void>((resolve, reject) => {
        channel.publish(name, 'message.created', body, { persistent: true }, (error) => (error ? reject(error) : resolve()))
      })
      res.setHeader('content-type', 'application/json')
      res.end(body)
    })
    return listening(server)
  },
  /** Takes away what it left at the servers. */
  async erase({ amqp, mongodb, name }: { amqp: string; mongodb: string | undefined; name: string }): Promise<void> {
    const connection = await connect(amqp)
    await (await connection.createChannel()).deleteExchange(name)
    await connection.close()
    if (!mongodb) return
    const client = await MongoClient.connect(mongodb, { directConnection: true })
    await client.db(name).dropDatabase()
    await client.close()
  },
})
