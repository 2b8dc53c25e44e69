// What the floors with sockets share: rooms by request, and a server on a loopback port.
import type { Server as HttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Server } from 'socket.io'

/** Whoever asks is in the room: no right is looked at. */
export function joinByRequest(io: Server): void {
  io.on('connection', (socket) => {
    socket.on('conversation:join', async ({ conversationId }, acknowledge) => {
      await socket.join(conversationId)
      acknowledge({ ok: true, data: {} })
    })
  })
}

/** @returns its address */
export async function listening(server: HttpServer): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
