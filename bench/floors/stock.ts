// Floor of idle memory and of a reconnect storm: a stock Socket.IO server, tokens by jsonwebtoken in a middleware, a room by request. Nothing is tuned.
import { createServer } from 'node:http'
import jwt from 'jsonwebtoken'
import { Server } from 'socket.io'
import { joinByRequest, listening } from '../lib/bare.ts'
import { answer } from '../lib/roles.ts'

answer({
  /** @returns its address */
  async start({ secret }: { secret: string }): Promise<string> {
    const server = createServer()
    const io = new Server(server, { cors: { origin: true, credentials: true } })
    io.use((socket, next) => {
      try {
        socket.data.person = jwt.verify(socket.handshake.auth.token, secret)
        next()
      } catch (error) {
        next(error as Error)
      }
    })
    joinByRequest(io)
    return listening(server)
  },
})
