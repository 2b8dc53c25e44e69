// A TCP link that can be cut and restored: what stands between a service and its broker, or a client and the gateway, in tests of faults.
import { connect, createServer, type Socket } from 'node:net'

export interface Link {
  port: number
  /** Ends every connection and refuses new ones. */
  cut(): void
  /** Lets connections through again. */
  restore(): void
  /** Ends every connection; new ones pass. */
  drop(): void
  close(): Promise<void>
}

/** @param hear called for each connection; what it returns is shown all that the client sends there */
export async function link(targetPort: number, targetHost = '127.0.0.1', hear?: () => (chunk: Buffer) => void): Promise<Link> {
  const open = new Set<Socket>()
  let passing = true
  const server = createServer({ noDelay: true }, (client) => {
    if (!passing) {
      client.destroy()
      return
    }
    const upstream = connect({ port: targetPort, host: targetHost, noDelay: true })
    for (const socket of [client, upstream]) {
      open.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        open.delete(socket)
        client.destroy()
        upstream.destroy()
      })
    }
    if (hear) client.on('data', hear())
    client.pipe(upstream).pipe(client)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  const address = server.address()
  const drop = (): void => {
    for (const socket of open) socket.destroy()
  }
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    cut() {
      passing = false
      drop()
    },
    restore() {
      passing = true
    },
    drop,
    close: () =>
      new Promise((resolve) => {
        drop()
        server.close(() => resolve())
      }),
  }
}
