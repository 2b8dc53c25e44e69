// The product under test: the five services as `npm run services` starts them, with limits that count but never bite.

import { MongoClient } from 'mongodb'
import { rest } from '../../tests/support/client.ts'
import { type ReplicaLine, startServices, token, type Whole } from '../../tests/support/whole.ts'

export interface ProductOptions {
  env?: Record<string, string>
  replicas?: string
  /** Goes to node in each process. */
  nodeArgs?: string
}
export interface Product {
  /** The gateway, where clients go. */
  readonly url: string
  readonly whole: Whole
  /** Process ids by service; several replicas as `realtime-2`. */
  readonly pids: Readonly<Record<string, number>>
  urlOf(service: string, replica?: number): string
  /** Once, however often it is asked. */
  stop(): Promise<void>
}

/** A limit that counts and never bites. */
export const unbitten = '100000000'
const roomy = {
  RATE_LIMIT_ENABLED: 'true',
  ...Object.fromEntries(['READ', 'WRITE', 'UPLOAD', 'ANONYMOUS', 'DELIVERY'].map((name) => [`RATE_LIMIT_${name}`, unbitten])),
  ...Object.fromEntries(
    ['SEND', 'SEND_BURST', 'JOIN', 'JOIN_BURST', 'OTHER', 'OTHER_BURST'].map((name) => [`RATE_LIMIT_${name}`, unbitten]),
  ),
  UNAUTHENTICATED_PER_ADDRESS: unbitten,
  LOG_LEVEL: 'info',
}

export async function startProduct({ env = {}, ...options }: ProductOptions = {}): Promise<Product> {
  const whole = await startServices({ env: { ...roomy, ...env }, ...options })
  let stopped: Promise<void> | undefined
  const nameOf = ({ service, replica }: ReplicaLine) => (replica === 1 ? service : `${service}-${replica}`)
  return {
    url: whole.url,
    whole,
    pids: Object.fromEntries(whole.started.map((line) => [nameOf(line), line.pid])),
    urlOf: (service, replica = 1) => whole.processOf(service, replica).url,
    stop() {
      stopped ??= whole.stop().then(() => emptied(whole.namespace))
      return stopped
    },
  }
}

/** Waits until the databases of a run are gone: a million documents take longer than `stop` waits, and would be the next row's noise. */
async function emptied(namespace: string): Promise<void> {
  const { MONGODB_URL } = process.env
  if (!MONGODB_URL) return
  const server = await MongoClient.connect(MONGODB_URL, { directConnection: true })
  const { databases } = await server.db().admin().listDatabases({ nameOnly: true })
  for (const { name } of databases) if (name.startsWith(namespace)) await server.db(name).dropDatabase()
  await server.close()
}

export interface Seat {
  /** A conversation, or a floor's room. */
  readonly room: string
  /** Tokens of those who sit in it. */
  readonly tokens: readonly string[]
}

/** A farmer's new conversation. @throws Error as the API answered */
export async function createConversation(
  url: string,
  farmerToken: string,
): Promise<{ id: string; status: string; agentId: string | null }> {
  const { status, body } = await rest(url, farmerToken)('POST', '/conversations')
  if (status !== 200) throw new Error(`POST /conversations: ${status} ${JSON.stringify(body)}`)
  return { id: body.data._id, status: body.data.status, agentId: body.data.assignedSupportId?._id ?? null }
}

export { token }
