// Floor of REST through the gateway: an undici proxy in Express, in as few lines as it takes.
import type { AddressInfo } from 'node:net'
import express from 'express'
import { Pool } from 'undici'
import { answer } from '../lib/roles.ts'

answer({
  /** @returns its address */
  async start({ upstream }: { upstream: string }): Promise<string> {
    const pool = new Pool(upstream)
    const app = express()
    app.use((req, res) => {
      const { host: _host, connection: _connection, ...headers } = req.headers
      const body = req.method === 'GET' ? null : req
      pool
        .stream({ path: req.url, method: req.method as 'GET', headers, body }, ({ statusCode, headers: answered }) => {
          res.writeHead(statusCode, answered)
          return res
        })
        .catch(() => res.destroy())
    })
    const server = app.listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  },
})
