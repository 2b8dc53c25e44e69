// A replica of realtime as the gateway needs it: a stock Socket.IO server whose session ids carry its name, and the door that tells it.
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Server } from 'socket.io'
import { internalTokens } from './stage.ts'

export interface TestReplica {
  name: string
  url: string
  io: Server
  /** What the public request carried: headers of each handshake. */
  handshakes: Record<string, unknown>[]
  ready: boolean
  stop(): Promise<void>
}

/** Answers `echo` with its name, and `who` with the socket's transport. */
export async function replica(name: string, port = 0): Promise<TestReplica> {
  const handshakes: Record<string, unknown>[] = []
  const self = { name, ready: true }
  const http = createServer((req, res) => {
    if (req.url !== '/internal/replica') return void res.writeHead(404).end()
    try {
      internalTokens.verify(String(req.headers.authorization).replace(/^Bearer /, ''))
    } catch {
      return void res.writeHead(401).end()
    }
    res.setHeader('Content-Type', 'application/json')
    res.end(JSON.stringify({ name: self.name, ready: self.ready }))
  })
  const io = new Server(http, { pingInterval: 2_000, pingTimeout: 2_000, maxHttpBufferSize: 65_536, serveClient: false })
  io.engine.generateId = () => `${name}.${randomBytes(15).toString('base64url')}`
  io.on('connection', (socket) => {
    handshakes.push(socket.handshake.headers)
    socket.on('echo', (text: unknown, acknowledge: (answer: unknown) => void) =>
      acknowledge({ name, text, transport: socket.conn.transport.name }),
    )
  })
  await new Promise<void>((resolve) => http.listen(port, '127.0.0.1', resolve))
  return Object.assign(self, {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    io,
    handshakes,
    async stop() {
      await io.close()
      http.closeAllConnections()
    },
  })
}
