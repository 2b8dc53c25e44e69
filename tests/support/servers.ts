// Which real servers this test run has: `npm test` names them in the environment (scripts/test.ts); a suite that misses one says so loudly.

/** The suite's name where there is a broker; else null, said aloud. */
export function withBroker(name: string): string | null {
  return need(name, 'AMQP_URL')
}

/** The suite's name where the environment names that server; else null, said aloud on stderr. */
export function need(name: string, variable: 'AMQP_URL' | 'MONGODB_URL' | 'S3_URL' | 'REDIS_URL' | 'JAEGER_URL'): string | null {
  if (process.env[variable]) return name
  process.stderr.write(`\n!!! NOT RUN: '${name}' needs ${variable}, and no such server was found\n`)
  return null
}

/** The suite's name where all of these are there; else null, said aloud. */
export function needAll(name: string, ...variables: Parameters<typeof need>[1][]): string | null {
  return variables.every((variable) => need(name, variable) !== null) ? name : null
}
