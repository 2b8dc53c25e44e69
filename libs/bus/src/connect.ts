// Which adapter an URL names: `amqp://`, `amqps://` → RabbitMQ; `memory:`, `memory:<name>` → in this process.
import type { BusOptions, EventBus } from './bus.ts'
import { connectMemory } from './memory.ts'
import { connectRabbit } from './rabbit.ts'

/**
 * Connects to the broker of the URL. Doesn't wait for one that is down: resolves with state `down` and keeps trying.
 * `memory:<name>` is one bus for everyone in this process who connects by that name, gone with the last `close`.
 * @throws TypeError for an URL of another kind
 */
export async function connectBus(url: string, options: BusOptions): Promise<EventBus> {
  if (/^amqps?:\/\//.test(url)) return connectRabbit(url, options)
  const memory = /^memory:(.*)$/.exec(url)
  if (memory !== null) return connectMemory(memory[1] ?? '', options)
  // The URL may hold a password: only its scheme is named.
  throw new TypeError(`BROKER_URL must begin with amqp://, amqps:// or memory:, not "${url.split(':', 1)[0]}:"`)
}
