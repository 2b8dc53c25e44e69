// A TCP proxy before a broker that a test can cut, close, or stop reading from.
import { createServer, type Server, type Socket, connect as tcpConnect } from 'node:net'
import { Inbox } from './inbox.ts'

export class TcpProxy {
  readonly #target: { host: string; port: number }
  readonly #pairs = new Set<{ client: Socket; upstream: Socket }>()
  /** One item per connection that was accepted. */
  readonly accepted = new Inbox<number>()
  #server: Server | null = null
  #port = 0
  #stalled = false

  constructor(target: URL) {
    this.#target = { host: target.hostname, port: Number(target.port || 5672) }
  }

  get port(): number {
    return this.#port
  }

  /** Listens; the port stays the same over a `close`. */
  async open(): Promise<void> {
    const server = createServer((client) => this.#join(client))
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve))
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('the proxy has no port')
    this.#port = address.port
    this.#server = server
  }

  /** Ends every connection without a goodbye; new ones are accepted. */
  cut(): void {
    for (const { client, upstream } of this.#pairs) {
      client.destroy()
      upstream.destroy()
    }
    this.#pairs.clear()
  }

  /** Cuts and refuses new connections. */
  async close(): Promise<void> {
    const server = this.#server
    this.#server = null
    const closed = new Promise<void>((resolve) => (server === null ? resolve() : server.close(() => resolve())))
    this.cut()
    await closed
  }

  /** Stops reading from the clients, as a broker short of memory does; or goes on. */
  stall(stalled: boolean): void {
    this.#stalled = stalled
    for (const { client } of this.#pairs) {
      if (stalled) client.pause()
      else client.resume()
    }
  }

  #join(client: Socket): void {
    const upstream = tcpConnect(this.#target)
    const pair = { client, upstream }
    this.#pairs.add(pair)
    this.accepted.push(this.#pairs.size)
    client.on('data', (bytes) => {
      if (upstream.write(bytes)) return
      client.pause()
      upstream.once('drain', () => {
        if (!this.#stalled) client.resume()
      })
    })
    upstream.on('data', (bytes) => void client.write(bytes))
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      from.on('error', () => to.destroy())
      from.on('close', () => {
        to.destroy()
        this.#pairs.delete(pair)
      })
    }
  }
}
