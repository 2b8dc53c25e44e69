// The one way services open MongoDB: majority writes that are journalled, short waits, and a connection that is waited for.
import { AppError } from '@fieldline/contracts/errors'
import mongoose, { type Connection } from 'mongoose'
import type { Health } from './health.ts'
import type { Part } from './lifecycle.ts'
import { type Logger, scrub } from './logger.ts'

mongoose.set('strictQuery', true)

export interface MongoPart extends Part {
  /** Models may be made on it at once; commands before it is connected fail as UNAVAILABLE through `mapMongoError`. */
  readonly connection: Connection
  /** Resolves at the first connection, for what must prepare indexes. */
  readonly connected: Promise<void>
  start(): Promise<void>
  stop(): Promise<void>
}

export interface MongoOptions {
  log: Logger
  health: Health
  maxPoolSize?: number
  serverSelectionTimeoutMs?: number
}

const firstPauseMs = 200
const longestPauseMs = 5_000

/**
 * Starts at once and connects when it can: a database that is down at boot is waited for, readiness saying so.
 * Queries are sanitized: an operator in a filter must be meant, as `mongoose.trusted({ $in: … })`.
 */
export function connectMongo(url: string, database: string, options: MongoOptions): MongoPart {
  const { log, health, maxPoolSize = 50, serverSelectionTimeoutMs = 2_000 } = options
  const connection = mongoose.createConnection()
  const settings = {
    dbName: database,
    autoIndex: false,
    autoCreate: false,
    bufferCommands: false,
    sanitizeFilter: true,
    writeConcern: { w: 'majority' as const, journal: true },
    readConcern: { level: 'majority' as const },
    readPreference: 'primary' as const,
    maxPoolSize,
    serverSelectionTimeoutMS: serverSelectionTimeoutMs,
    connectTimeoutMS: 5_000,
    socketTimeoutMS: 30_000,
    waitQueueTimeoutMS: 5_000,
    heartbeatFrequencyMS: 2_000,
  }
  const ping = async () => {
    if (connection.readyState !== mongoose.ConnectionStates.connected || !connection.db)
      throw Object.assign(new Error('not connected'), { code: 'not connected' })
    await connection.db.command({ ping: 1 })
  }
  health.dependency('mongodb', { check: ping })
  const ending = new AbortController()
  let connecting: Promise<void> | undefined
  let announce: () => void = () => undefined
  const connected = new Promise<void>((resolve) => {
    announce = resolve
  })
  // The driver recovers by itself once connected; an error event without a listener would end the process.
  let wasConnected = false
  connection.on('error', (error) => {
    if (wasConnected) log.warn({ err: error }, 'database error')
  })
  connection.on('disconnected', () => {
    if (wasConnected && !ending.signal.aborted) log.warn({ database }, 'database connection lost')
  })
  connection.on('reconnected', () => log.info({ database }, 'database connection is back'))

  async function connect(): Promise<void> {
    for (let tries = 0; !ending.signal.aborted; tries += 1) {
      try {
        await connection.openUri(url, settings)
        log.info({ database }, 'connected to the database')
        wasConnected = true
        announce()
        return
      } catch (error) {
        if (ending.signal.aborted) return
        log.warn({ reason: Error.isError(error) ? scrub(error.message) : '', database, tries }, 'database cannot be reached yet')
        await pause(Math.min(firstPauseMs * 2 ** tries, longestPauseMs), ending.signal)
      }
    }
  }

  return {
    name: 'mongodb',
    connection,
    connected,
    async start() {
      connecting ??= connect()
      // A database that is there is connected before doors open; one that is not is left to the background.
      await Promise.race([connecting, pause(1_000, ending.signal)])
    },
    async stop() {
      ending.abort()
      await connection.close()
      await connecting
    },
  }
}

const unavailableNames = new Set([
  'MongoNetworkError',
  'MongoNetworkTimeoutError',
  'MongoServerSelectionError',
  'MongooseServerSelectionError',
  'MongoNotConnectedError',
  'MongoTopologyClosedError',
  'MongoExpiredSessionError',
  'MongoPoolClearedError',
  'MongoPoolClosedError',
  'PoolClearedOnNetworkError',
  'MongoWaitQueueTimeoutError',
  'MongoOperationTimeoutError',
  'MongoWriteConcernError',
  'MongoClientClosedError',
])
/** Not primary, stepping down, shutting down, unreachable, time limits: server codes after which another try may do. */
const unavailableCodes = new Set([6, 7, 50, 64, 89, 91, 112, 134, 189, 262, 9_001, 10_107, 11_600, 11_602, 13_435, 13_436])

/** UNAVAILABLE for what another try may cure (the outcome of a write may be unknown then); every other error as it is. */
export function mapMongoError(error: unknown): unknown {
  if (error instanceof AppError || !Error.isError(error)) return error
  const code = 'code' in error ? error.code : undefined
  const away = unavailableNames.has(error.name) || (typeof code === 'number' && unavailableCodes.has(code)) || notConnectedYet(error)
  return away ? new AppError('UNAVAILABLE', 'The database is not available now', { cause: error }) : error
}

/** Runs a store's method with its errors mapped. @throws AppError UNAVAILABLE */
export async function mongoCall<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw mapMongoError(error)
  }
}

/** One document's part in a statement for several. */
export interface Change {
  filter: { _id: string } & Record<string, unknown>
  /** An expression of the fields it gets; what a person wrote stands in `$literal`. */
  fields: Record<string, unknown>
}

/**
 * Several conditional changes in one statement, no document twice, each atomic in its own document: a statement is what the database plans and syncs its journal for.
 * It tells how many were matched and not which; one that is refused ends it there. Each document looks for itself among all, so few hundreds at most.
 */
export function changeEach(changes: readonly Change[]): { filter: object; update: object[] } {
  // biome-ignore lint/suspicious/noThenProperty: MongoDB's name for it
  const branches = changes.map(({ filter, fields }) => ({ case: { $eq: ['$_id', filter._id] }, then: fields }))
  return {
    filter: { _id: { $in: changes.map(({ filter }) => filter._id) }, $or: changes.map(({ filter }) => filter) },
    update: [{ $replaceWith: { $mergeObjects: ['$$ROOT', { $switch: { branches } }] } }],
  }
}

/** Did a unique index refuse it (the one that begins with `field`, where given)? */
export function isDuplicateKey(error: unknown, field?: string): boolean {
  if (!Error.isError(error) || !('code' in error) || error.code !== 11_000) return false
  if (field === undefined) return true
  const pattern = 'keyPattern' in error ? error.keyPattern : undefined
  if (typeof pattern === 'object' && pattern !== null) return Object.keys(pattern)[0] === field
  return error.message.includes(field)
}

/** What mongoose says instead of buffering. */
function notConnectedYet(error: Error): boolean {
  return error.name === 'MongooseError' && /before initial connection|buffering timed out|not connected|disconnected/i.test(error.message)
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, milliseconds)
    function done(): void {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    signal.addEventListener('abort', done)
    if (signal.aborted) done()
  })
}
