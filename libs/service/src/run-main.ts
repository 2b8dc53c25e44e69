// What every main.ts does: load the configuration, start, stop on a signal, and say with which code to exit.
import { type Config, ConfigError, type Fields, loadConfig } from './config.ts'
import type { App } from './lifecycle.ts'
import { createLogger, type Logger } from './logger.ts'
import { flushTelemetry } from './telemetry.ts'

export interface ServiceMain<F extends Fields> {
  name: string
  fields: F
  createApp(config: Config<F>, context: { log: Logger }): App | Promise<App>
}

interface RunConfig {
  logLevel: string
  readyLine: boolean
}

/**
 * Runs a service until it is told to stop; resolves to the code to exit with: `process.exit(await runService({ … }))`.
 * 0 after a stop that was asked for; 1 after a faulty configuration, a failed start or an error nobody caught; 130 when a second signal forces the end.
 */
export async function runService<F extends Fields>({ name, fields, createApp }: ServiceMain<F>): Promise<number> {
  const config = configOrFaults(name, fields)
  if (!config) return 1
  const { logLevel = 'info', readyLine = false } = config as Partial<RunConfig>
  const log = createLogger({ logLevel, readyLine }, name)

  const ends = Promise.withResolvers<number>()
  const forced = Promise.withResolvers<number>()
  let asked = false
  const onSignal = (signal: NodeJS.Signals) => {
    log.info({ signal }, asked ? 'stopping now' : 'stopping')
    if (asked) forced.resolve(130)
    asked = true
    ends.resolve(0)
  }
  const onFault = (error: unknown) => {
    log.fatal({ err: error }, 'an error nobody caught')
    ends.resolve(1)
  }
  // A supervisor that is gone can no longer ask for the end.
  const onOrphaned = () => ends.resolve(0)
  process
    .on('SIGTERM', onSignal)
    .on('SIGINT', onSignal)
    .on('uncaughtException', onFault)
    .on('unhandledRejection', onFault)
    .on('disconnect', onOrphaned)

  async function run(): Promise<number> {
    let app: App
    try {
      app = await createApp(config as Config<F>, { log })
    } catch (error) {
      log.fatal({ err: error }, 'start failed')
      return 1
    }
    const starting = app.start()
    const outcome = await Promise.race([starting.then(() => undefined, asFault), ends.promise])
    if (outcome === undefined) announce(name, app.url, readyLine)
    else if (typeof outcome === 'object') log.fatal({ err: outcome.fault }, 'start failed')
    const code = typeof outcome === 'object' ? 1 : (outcome ?? (await ends.promise))
    await app.stop()
    await starting.catch(() => undefined)
    return code
  }

  const code = await Promise.race([run(), forced.promise])
  await flushTelemetry()
  log.info({ code }, 'stopped')
  return code
}

function asFault(fault: unknown): { fault: unknown } {
  return { fault }
}

function configOrFaults<F extends Fields>(name: string, fields: F): Config<F> | undefined {
  try {
    return loadConfig(fields, process.env)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    for (const fault of error.faults) process.stderr.write(`${name}: ${fault}\n`)
    return undefined
  }
}

/** Tells a supervisor where this process listens. */
function announce(service: string, url: string | undefined, readyLine: boolean): void {
  const line = { service, pid: process.pid, url }
  if (readyLine) process.stdout.write(`${JSON.stringify(line)}\n`)
  if (process.connected) process.send?.(line)
}
