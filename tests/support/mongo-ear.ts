// A TCP link before MongoDB that hears which commands pass, by database: what an operation costs in queries, counted from outside.
import { BSON } from 'mongodb'
import { link } from './link.ts'

export interface MongoEar {
  /** For MONGODB_URL. */
  url: string
  /** Since the last call, for databases whose name ends so: queries by command, and what is written by document, as `update conversations`; sorted. */
  heard(databaseEnd: string): Record<string, number>
  close(): Promise<void>
}

const opMsg = 2_013
/** What reads or writes; not what drivers say among themselves. */
const counted = new Set(['find', 'aggregate', 'count', 'distinct', 'insert', 'update', 'delete', 'findAndModify', 'getMore'])

export async function mongoEar(target: string): Promise<MongoEar> {
  const { hostname, port: targetPort } = new URL(target)
  const commands: Heard[] = []
  const { port, close } = await link(Number(targetPort || 27_017), hostname, () => {
    let early: Buffer = Buffer.alloc(0)
    return (chunk) => {
      early = Buffer.concat([early, chunk])
      while (early.length >= 16 && early.length >= early.readInt32LE(0)) {
        const message = early.subarray(0, early.readInt32LE(0))
        early = early.subarray(message.length)
        const command = message.readInt32LE(12) === opMsg ? commandOf(message) : undefined
        if (command) commands.push(command)
      }
    }
  })
  return {
    url: `mongodb://127.0.0.1:${port}/?directConnection=true`,
    heard(databaseEnd) {
      const counts = new Map<string, number>()
      for (const { database, command, documents } of commands.splice(0))
        if (database.endsWith(databaseEnd)) counts.set(command, (counts.get(command) ?? 0) + documents)
      return Object.fromEntries([...counts].toSorted(([a], [b]) => a.localeCompare(b)))
    },
    close,
  }
}

interface Heard {
  database: string
  command: string
  /** Statements of a write, however many went together; 1 for a query. */
  documents: number
}

/** The command of an OP_MSG: its body is the section of kind 0; statements may follow in sections of kind 1. */
function commandOf(message: Buffer): Heard | undefined {
  let body: BSON.Document | undefined
  const statements: BSON.Document[] = []
  for (let at = 20; at < message.length; ) {
    const size = message.readInt32LE(at + 1)
    const end = at + 1 + size
    if (message[at] === 0) body = BSON.deserialize(message.subarray(at + 1, end))
    else
      for (let next = message.indexOf(0, at + 5) + 1; next < end; next += message.readInt32LE(next))
        statements.push(BSON.deserialize(message.subarray(next, next + message.readInt32LE(next))))
    at = end
  }
  const [name = ''] = Object.keys(body ?? {})
  if (!body || !counted.has(name)) return undefined
  statements.push(...(body.updates ?? body.documents ?? []))
  const collection = name === 'getMore' ? body.collection : body[name]
  const many = statements[0]?.multi === true ? 'many ' : ''
  return { database: String(body.$db), command: `${name} ${many}${collection}`, documents: Math.max(1, statements.length) }
}
