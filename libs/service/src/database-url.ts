// Which database a URL means: `mongodb://…` or `sqlite:./data/conversation.db`; and the variable that holds it.
import { type Field, text } from './config.ts'

export type DatabaseTarget = { kind: 'mongo'; url: string; database: string } | { kind: 'sqlite'; file: string }

/** `DATABASE_URL`, looked through at boot as far as that goes without the server. */
export function databaseUrl(service: string, options: { default: string; doc: string }): Field<string> {
  return {
    ...text('DATABASE_URL', options),
    read(raw) {
      parseDatabaseUrl(raw, '', service)
      return raw
    },
  }
}

/**
 * The database's name is the URL's path or else `fieldline_<service>`, behind the namespace. A file has its name from the URL alone.
 * @throws Error whose message completes "DATABASE_URL must …"; it never quotes a password
 */
export function parseDatabaseUrl(url: string, namespace: string, service: string): DatabaseTarget {
  if (url.startsWith('sqlite:')) {
    const file = url.slice('sqlite:'.length).replace(/^\/\/(?=\/)/, '')
    if (file === '') throw new Error('name a file after sqlite:')
    return { kind: 'sqlite', file }
  }
  // Several hosts are no URL to the platform's parser, so the path is found by hand.
  const match = /^mongodb(?:\+srv)?:\/\/[^/?]+(?:\/([^?]*))?(?:\?.*)?$/.exec(url)
  if (!match) throw new Error('begin with mongodb://, mongodb+srv:// or sqlite:, and name a host or a file')
  const database = `${namespace}${decoded(match[1] ?? '') || `fieldline_${service}`}`
  if (Buffer.byteLength(database) > 63 || /[/\\. "$*<>:|?]/.test(database)) throw unfit(database)
  return { kind: 'mongo', url, database }
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name)
  } catch {
    throw unfit(name)
  }
}

function unfit(database: string): Error {
  return new Error(`name a database as MongoDB allows, not "${database}"`)
}
