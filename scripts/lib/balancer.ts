// One address for several replicas, connection by connection, as a Kubernetes Service is: used by `npm run services -- --replicas`.
import { connect, createServer, type Server } from 'node:net'

/** Listens on `port` and hands each connection to the next replica that accepts it. */
export function balance(port: number, replicaPorts: readonly number[]): Promise<Server> {
  let turn = 0
  const server = createServer({ pauseOnConnect: true, noDelay: true }, (client) => {
    const order = replicaPorts.map((_, index) => replicaPorts[(turn + index) % replicaPorts.length])
    turn += 1
    const tryNext = (): void => {
      const target = order.shift()
      if (target === undefined) {
        client.destroy()
        return
      }
      const upstream = connect({ port: target, host: '127.0.0.1', noDelay: true })
      upstream.once('error', tryNext)
      upstream.once('connect', () => {
        upstream.off('error', tryNext)
        upstream.on('error', () => client.destroy())
        client.on('error', () => upstream.destroy())
        client.on('close', () => upstream.destroy())
        upstream.on('close', () => client.destroy())
        client.pipe(upstream).pipe(client)
        client.resume()
      })
    }
    client.once('error', () => client.destroy())
    tryNext()
  })
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => resolve(server))
  })
}
