// Writes of one turn as one system call: amqplib hands the socket each event by itself, and a write each costs more than all else of a publish.
import { Duplex } from 'node:stream'
import type { ChannelModel } from 'amqplib'

/** To be called with each publish, after it. Of no effect where amqplib doesn't show its socket. */
export function bundling(model: ChannelModel): () => void {
  const { connection } = model
  const socket: unknown = 'stream' in connection ? connection.stream : null
  if (!(socket instanceof Duplex)) return () => undefined
  let corked = false
  const uncork = () => {
    corked = false
    socket.uncork()
  }
  return () => {
    if (corked) return
    corked = true
    socket.cork()
    // amqplib moves what was published to the socket in a `setImmediate` that it asks for in the next tick: behind that one, in the same phase.
    process.nextTick(() => setImmediate(uncork))
  }
}
