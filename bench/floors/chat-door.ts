// Floor of a send, first process: socket.io → node:http, and exclusive queue → emit. Stock Socket.IO but for compression, which is off on both sides.
import { createServer } from 'node:http'
import { connect } from 'amqplib'
import { Server } from 'socket.io'
import { Pool } from 'undici'
import { joinByRequest, listening } from '../lib/bare.ts'
import { answer } from '../lib/roles.ts'

answer({
  /** @returns its address */
  async start({ amqp, store, name }: { amqp: string; store: string; name: string }): Promise<string> {
    const server = createServer()
    const io = new Server(server, { perMessageDeflate: false })
    const pool = new Pool(store, { connections: 64 })
    const channel = await (await connect(amqp, { noDelay: true })).createChannel()
    await channel.assertExchange(name, 'topic', { durable: true })
    const { queue } = await channel.assertQueue('', { exclusive: true })
    await channel.bindQueue(queue, name, '#')
    await channel.prefetch(500)
    await channel.consume(queue, (delivery) => {
      if (!delivery) return
      const message = JSON.parse(delivery.content.toString())
      io.to(message.conversationId).emit('message:new', { message, conversationId: message.conversationId })
      channel.ack(delivery)
    })
    joinByRequest(io)
    io.on('connection', (socket) => {
      socket.on('message:send', async (command, acknowledge) => {
        const { body } = await pool.request({
          method: 'POST',
          path: '/',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(command),
        })
        const message = (await body.json()) as { _id: string; createdAt: string }
        const sent = { messageId: message._id, timestamp: message.createdAt }
        socket.emit('message:sent', sent)
        acknowledge({ ok: true, data: sent })
      })
    })
    return listening(server)
  },
})
