// One connection to RabbitMQ that comes back: connect, set up, notice the loss, back off with jitter, again.
// Not amqplib's own recovery: that one waits without a deadline for a dead peer's close, and then never reconnects.
import type { Duplex } from 'node:stream'
import { type ChannelModel, connect } from 'amqplib'
import { asError, within } from './attempt.ts'
import type { BusLogger } from './bus.ts'

const connectTimeoutMs = 10_000
const setupTimeoutMs = 15_000
const goodbyeTimeoutMs = 2_000
const firstDelayMs = 100
const maxDelayMs = 5_000
const heartbeatSeconds = 10

export interface LinkOptions {
  readonly url: string
  /** What the broker shows for this connection. */
  readonly name: string
  readonly log: BusLogger | undefined
  /** Declares and subscribes on a fresh connection. A rejection means another attempt after the next pause. */
  setup(model: ChannelModel): Promise<void>
  onUp(): void
  /** An attempt failed or a connection ended: everything that hung on it is void. */
  onDown(reason: Error): void
}

export class RabbitLink {
  readonly #options: LinkOptions
  #model: ChannelModel | null = null
  #timer: NodeJS.Timeout | null = null
  #failures = 0
  #up = false
  #closed = false
  #reason: string | null = null
  readonly #firstAttempt: Promise<void>
  #firstAttemptEnded: () => void = () => undefined

  constructor(options: LinkOptions) {
    this.#options = options
    this.#firstAttempt = new Promise((resolve) => {
      this.#firstAttemptEnded = resolve
    })
    void this.#connect()
  }

  get up(): boolean {
    return this.#up
  }

  /** Why it is down; null while up, and while the first attempt runs. */
  get reason(): string | null {
    return this.#reason
  }

  /** Resolves when the first attempt has ended, well or not, or after so long. */
  async settled(maxMs: number): Promise<void> {
    await within(maxMs, this.#firstAttempt, 'connecting').catch(() => undefined)
  }

  /** Gives this connection up and begins anew; of no effect if it is already another. */
  restart(model: ChannelModel, reason: Error): void {
    this.#lost(model, reason)
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    const model = this.#model
    this.#model = null
    this.#up = false
    this.#reason = 'closed'
    this.#firstAttemptEnded()
    if (model === null) return
    this.#options.onDown(new Error('the bus was closed'))
    await goodbye(model)
  }

  async #connect(): Promise<void> {
    let model: ChannelModel
    try {
      model = await connect(withHeartbeat(this.#options.url), {
        noDelay: true,
        keepAlive: true,
        timeout: connectTimeoutMs,
        clientProperties: { connection_name: this.#options.name },
      })
    } catch (cause) {
      this.#failed(asError(cause))
      return
    }
    // Without a listener an `error` would end the process.
    model.on('error', () => undefined)
    model.on('close', (cause) => this.#lost(model, cause ?? new Error('the connection was closed')))
    if (this.#closed) return goodbye(model)
    this.#model = model
    try {
      await within(setupTimeoutMs, this.#options.setup(model), 'setting up the connection')
    } catch (cause) {
      this.#lost(model, asError(cause))
      return
    }
    if (this.#model !== model) return
    this.#failures = 0
    this.#up = true
    this.#reason = null
    this.#options.log?.info({ connection: this.#options.name }, 'connected to the broker')
    this.#options.onUp()
    this.#firstAttemptEnded()
  }

  #lost(model: ChannelModel, reason: Error): void {
    if (this.#model !== model) return
    this.#model = null
    this.#up = false
    void goodbye(model)
    this.#failed(reason)
  }

  #failed(reason: Error): void {
    if (this.#closed) return
    this.#complain(reason)
    this.#reason = reason.message
    const pause = Math.min(maxDelayMs, firstDelayMs * 2 ** this.#failures++) * (0.5 + Math.random() / 2)
    this.#timer = setTimeout(() => void this.#connect(), pause)
    this.#options.onDown(reason)
    this.#firstAttemptEnded()
  }

  #complain(reason: Error): void {
    const { log, name } = this.#options
    if (log === undefined) return
    const fields = { connection: name, attempt: this.#failures + 1, reason: reason.message }
    if (reason.message === this.#reason) log.debug(fields, 'the broker is still out of reach')
    else if (isMismatch(reason)) log.error(fields, 'a queue or exchange exists with other arguments: remove it or restore them')
    else log.warn(fields, 'no connection to the broker')
  }
}

/** PRECONDITION_FAILED: what we declare exists with other arguments. Trying on is right (someone may remove it), staying silent isn't. */
function isMismatch(reason: Error): boolean {
  return 'code' in reason && reason.code === 406
}

function withHeartbeat(url: string): string {
  const parsed = new URL(url)
  if (!parsed.searchParams.has('heartbeat')) parsed.searchParams.set('heartbeat', String(heartbeatSeconds))
  return parsed.href
}

/** Closes in order if the peer answers, else by force. Never rejects. */
async function goodbye(model: ChannelModel): Promise<void> {
  try {
    await within(goodbyeTimeoutMs, model.close(), 'closing the connection')
  } catch {
    // Lost already, or the peer is gone: amqplib ends its channels and heartbeat when the stream fails.
    const { stream } = model.connection as { readonly stream?: Duplex }
    stream?.destroy(new Error('the peer did not answer the close'))
  }
}
