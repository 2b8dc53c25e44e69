// What stands behind both proxies of the row `rest`: answers each request with a page of messages, as conversation would, and counts connections.
import { createServer } from 'node:http'
import { createInternalTokens } from '@fieldline/service/internal'
import { listening } from '../lib/bare.ts'
import { answer } from '../lib/roles.ts'

let connections = 0

answer({
  /** @returns its address */
  async start({ secret }: { secret: string }): Promise<string> {
    const message = { _id: 'a'.repeat(24), messageType: 'text', content: 'Hello, I need help', isRead: true }
    const page = JSON.stringify({ message: 'Messages fetched successfully', data: [1, 2, 3].map((seq) => ({ ...message, seq })) })
    const tokens = createInternalTokens({ secrets: [secret], name: 'bench' })
    const server = createServer({ keepAliveTimeout: 65_000 }, (req, res) => {
      req.resume()
      res.setHeader('Content-Type', 'application/json; charset=utf-8')
      // The gateway looks for a replica of realtime here, else it would never be ready.
      if (req.url !== '/internal/replica') return void res.end(page)
      tokens.verify(String(req.headers.authorization).slice('Bearer '.length))
      res.end(JSON.stringify({ name: 'one', ready: true }))
    })
    server.on('connection', () => {
      connections += 1
    })
    return listening(server)
  },
  /** How many were accepted so far. */
  connections: () => connections,
})
