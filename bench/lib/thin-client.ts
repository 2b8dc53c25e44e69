// A Socket.IO client of a few hundred bytes over one TCP socket: it answers heartbeats and acknowledges nothing. For crowds whose own cost must not be what is measured.
import { connect, type Socket } from 'node:net'
import { clientFrame, FrameReader, opcodes } from './frames.ts'

export interface ThinClientOptions {
  url: string
  token: string
  /** Beside those of the WebSocket handshake, as a browser would send them. */
  headers?: Readonly<Record<string, string>>
  /** An event as the server wrote it: `2["message:new",{…}]`. */
  onEvent?: (packet: Buffer) => void
  /** The connection ended, and not by `drop`. */
  onLost?: (reason: string) => void
}

/** First bytes of Engine.IO and Socket.IO packets. */
const engine = { open: 0x30, ping: 0x32, message: 0x34 }
const packet = { connect: 0x30, event: 0x32, acknowledgement: 0x33, refused: 0x34 }
const pong = clientFrame(opcodes.text, Buffer.from('3'))

export class ThinClient {
  readonly #options: ThinClientOptions
  readonly #socket: Socket
  readonly #frames = new FrameReader((opcode, payload) => this.#frame(opcode, payload))
  readonly #waiting = new Map<number, (answer: unknown) => void>()
  readonly #connected = Promise.withResolvers<this>()
  #head: string | null = ''
  #asked = 0
  #dropped = false

  /** Resolves as Socket.IO says `connect`. @throws Error where it is refused */
  static connect(options: ThinClientOptions): Promise<ThinClient> {
    return new ThinClient(options).#connected.promise
  }

  private constructor(options: ThinClientOptions) {
    this.#options = options
    const { hostname, port, host } = new URL(options.url)
    this.#socket = connect({ host: hostname, port: Number(port), noDelay: true })
    const lines = [
      'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1',
      `Host: ${host}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      ...Object.entries(options.headers ?? {}).map(([name, value]) => `${name}: ${value}`),
    ]
    this.#socket.write(`${lines.join('\r\n')}\r\n\r\n`)
    this.#socket.on('data', (chunk: Buffer) => this.#data(chunk))
    this.#socket.on('error', (error) => this.#lost(error.message))
    this.#socket.on('close', () => this.#lost('the server ended it'))
  }

  /** Emits with an acknowledgement; resolves with what it says. */
  ask(event: string, payload: unknown): Promise<unknown> {
    this.#asked += 1
    const id = this.#asked
    this.#say(`42${id}${JSON.stringify([event, payload])}`)
    return new Promise((resolve) => this.#waiting.set(id, resolve))
  }

  /** As a phone that lost its network: no goodbye. */
  drop(): void {
    this.#dropped = true
    this.#socket.resetAndDestroy()
  }

  #say(text: string): void {
    this.#socket.write(clientFrame(opcodes.text, Buffer.from(text)))
  }

  #lost(reason: string): void {
    if (this.#dropped) return
    this.#dropped = true
    this.#connected.reject(new Error(`not connected: ${reason}`))
    this.#options.onLost?.(reason)
  }

  #data(chunk: Buffer): void {
    if (this.#head === null) {
      this.#frames.push(chunk)
      return
    }
    // Latin-1, so that every byte is a character and what follows the head is found again.
    const read = this.#head.length
    this.#head += chunk.toString('latin1')
    const end = this.#head.indexOf('\r\n\r\n')
    if (end < 0) return
    if (!this.#head.startsWith('HTTP/1.1 101')) {
      this.#lost(this.#head.slice(0, 400))
      this.#socket.destroy()
      return
    }
    this.#head = null
    const rest = chunk.subarray(end + 4 - read)
    if (rest.length > 0) this.#frames.push(rest)
  }

  #frame(opcode: number, payload: Buffer): void {
    if (opcode === opcodes.ping) this.#socket.write(clientFrame(opcodes.pong, payload))
    if (opcode !== opcodes.text) return
    if (payload[0] === engine.ping) this.#socket.write(pong)
    else if (payload[0] === engine.open) this.#say(`40${JSON.stringify({ token: this.#options.token })}`)
    else if (payload[0] === engine.message) this.#message(payload.subarray(1))
  }

  #message(bytes: Buffer): void {
    if (bytes[0] === packet.event) this.#options.onEvent?.(bytes)
    else if (bytes[0] === packet.connect) this.#connected.resolve(this)
    else if (bytes[0] === packet.refused) this.#lost(bytes.toString())
    else if (bytes[0] === packet.acknowledgement) {
      const text = bytes.toString()
      const begin = text.indexOf('[')
      const id = Number(text.slice(1, begin))
      this.#waiting.get(id)?.(JSON.parse(text.slice(begin))[0])
      this.#waiting.delete(id)
    }
  }
}
