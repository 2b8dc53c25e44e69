// Free ports for processes a test starts, outside the ephemeral range, so that no outgoing connection takes one in between.
import { createServer } from 'node:net'

const first = 20_000
const last = 32_000
const given = new Set<number>()

/** A port of 127.0.0.1 that nobody listens on, and that this process is never given twice. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 200; tries += 1) {
    const port = first + Math.floor(Math.random() * (last - first))
    if (given.has(port)) continue
    given.add(port)
    if (await isFree(port)) return port
  }
  throw new Error(`no free port from ${first} to ${last}`)
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
