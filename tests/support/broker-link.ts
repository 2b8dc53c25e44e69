// A TCP link before the broker that knows whose connection each one is (AMQP's `connection_name`): one service's can be cut or held, one way or both, the others go on.
import { connect, createServer, type Socket } from 'node:net'

/** `out`: what the service says to the broker (publishes, acknowledgements). `in`: what the broker says (deliveries, confirms). */
export type Direction = 'out' | 'in'

export interface BrokerLink {
  /** For AMQP_URL. */
  url: string
  /** Ends the connections of whose name begins with `who` (default: everyone) and refuses them from now on. */
  cut(who?: string): void
  /** Bytes stop passing that way, as if on a very slow line; nothing is lost, the sender feels back-pressure. */
  hold(who: string, direction: Direction): void
  /** Ends refusal and holding; what was held passes. */
  restore(who?: string): void
  /** Ends connections of `who`, with what was held; new ones pass. */
  drop(who?: string): void
  /** Names of the connections open now. */
  names(): string[]
  close(): Promise<void>
}

interface Pair {
  name: string | undefined
  client: Socket
  upstream: Socket
  early: Buffer
}
const everyone = ''

export async function brokerLink(target: string): Promise<BrokerLink> {
  const { hostname, port } = new URL(target)
  const pairs = new Set<Pair>()
  const refused = new Set<string>()
  const held = new Map<string, Set<Direction>>()
  const isRefused = (name: string | undefined): boolean => [...refused].some((who) => who === everyone || name?.startsWith(who))
  const isHeld = (name: string | undefined, direction: Direction): boolean =>
    name !== undefined && [...held].some(([who, directions]) => name.startsWith(who) && directions.has(direction))
  const end = (pair: Pair): void => {
    pairs.delete(pair)
    pair.client.destroy()
    pair.upstream.destroy()
  }
  const apply = (pair: Pair): void => {
    if (isRefused(pair.name)) {
      end(pair)
      return
    }
    for (const [direction, from] of [
      ['out', pair.client],
      ['in', pair.upstream],
    ] as const) {
      if (isHeld(pair.name, direction)) from.pause()
      else from.resume()
    }
  }

  const server = createServer({ noDelay: true }, (client) => {
    if (isRefused(undefined)) {
      client.destroy()
      return
    }
    const upstream = connect({ port: Number(port || 5672), host: hostname, noDelay: true })
    const pair: Pair = { name: undefined, client, upstream, early: Buffer.alloc(0) }
    pairs.add(pair)
    for (const [direction, from, to] of [
      ['out', client, upstream],
      ['in', upstream, client],
    ] as const) {
      from.on('data', (bytes) => {
        if (direction === 'out' && pair.name === undefined) {
          pair.early = Buffer.concat([pair.early, bytes])
          pair.name = connectionName(pair.early)
          if (pair.name !== undefined) apply(pair)
          if (!pairs.has(pair)) return
        }
        if (to.write(bytes)) return
        from.pause()
        to.once('drain', () => {
          if (!isHeld(pair.name, direction)) from.resume()
        })
      })
      from.on('error', () => undefined)
      from.on('close', () => end(pair))
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  const address = server.address()
  const own = new URL(target)
  own.host = `127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`
  const of = (who: string): Pair[] => [...pairs].filter(({ name }) => who === everyone || name?.startsWith(who))

  return {
    url: own.href,
    cut(who = everyone) {
      refused.add(who)
      for (const pair of of(who)) end(pair)
    },
    hold(who, direction) {
      held.set(who, (held.get(who) ?? new Set()).add(direction))
      for (const pair of of(who)) apply(pair)
    },
    restore(who) {
      if (who === undefined) {
        refused.clear()
        held.clear()
      } else {
        refused.delete(who)
        held.delete(who)
      }
      for (const pair of pairs) apply(pair)
    },
    drop(who = everyone) {
      for (const pair of of(who)) end(pair)
    },
    names: () => [...pairs].flatMap(({ name }) => name ?? []),
    close: () =>
      new Promise((resolve) => {
        for (const pair of pairs) end(pair)
        server.close(() => resolve())
      }),
  }
}

/** From the client properties of Connection.StartOk: a field table's entry, name, `S`, length, text. */
function connectionName(bytes: Buffer): string | undefined {
  const key = 'connection_name'
  const at = bytes.indexOf(key)
  const start = at + key.length + 5
  if (at < 0 || bytes.length < start) return undefined
  const length = bytes.readUInt32BE(start - 4)
  return bytes.length < start + length ? undefined : bytes.toString('utf8', start, start + length)
}
