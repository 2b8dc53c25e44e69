// Floor of fan-out: exclusive queue → JSON.parse → `io.to(room).emit`.
import { createServer } from 'node:http'
import { connect } from 'amqplib'
import { Server } from 'socket.io'
import { joinByRequest, listening } from '../lib/bare.ts'
import { answer } from '../lib/roles.ts'

answer({
  /** @returns its address */
  async start({ amqp, exchange }: { amqp: string; exchange: string }): Promise<string> {
    const server = createServer()
    const io = new Server(server, { perMessageDeflate: false })
    const channel = await (await connect(amqp, { noDelay: true })).createChannel()
    await channel.assertExchange(exchange, 'topic', { autoDelete: true })
    const { queue } = await channel.assertQueue('', { exclusive: true })
    await channel.bindQueue(queue, exchange, '#')
    await channel.prefetch(500)
    await channel.consume(queue, (delivery) => {
      if (!delivery) return
      const payload = JSON.parse(delivery.content.toString())
      io.to(payload.conversationId).emit('message:new', payload)
      channel.ack(delivery)
    })
    joinByRequest(io)
    return listening(server)
  },
})
