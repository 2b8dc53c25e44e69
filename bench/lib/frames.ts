// WebSocket frames as a load generator needs them (RFC 6455): what a server sends, cut out of a stream; what a client sends. Pure.

export const opcodes = { text: 1, close: 8, ping: 9, pong: 10 } as const

const nothing: Buffer = Buffer.alloc(0)

/** One client frame. Its mask is zero, which is a mask like any other and costs no work per byte. */
export function clientFrame(opcode: number, payload: Buffer): Buffer {
  const { length } = payload
  const lengthBytes = length < 126 ? 0 : length < 65_536 ? 2 : 8
  const head = Buffer.alloc(2 + lengthBytes + 4)
  head[0] = 0x80 | opcode
  head[1] = 0x80 | (lengthBytes === 0 ? length : lengthBytes === 2 ? 126 : 127)
  if (lengthBytes === 2) head.writeUInt16BE(length, 2)
  if (lengthBytes === 8) head.writeBigUInt64BE(BigInt(length), 2)
  return Buffer.concat([head, payload])
}

/** Cuts a server's bytes into whole frames. */
export class FrameReader {
  readonly #onFrame: (opcode: number, payload: Buffer) => void
  #rest = nothing

  /** @param onFrame gets a view of the bytes, good until it returns */
  constructor(onFrame: (opcode: number, payload: Buffer) => void) {
    this.#onFrame = onFrame
  }

  /** @throws Error at a frame in pieces or a masked one: servers here send neither */
  push(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    for (;;) {
      const first = bytes[at]
      const second = bytes[at + 1]
      if (first === undefined || second === undefined) break
      if (first < 0x80 || second >= 0x80) throw new Error(`a frame of an unexpected kind: ${first.toString(16)} ${second.toString(16)}`)
      const lengthBytes = second < 126 ? 0 : second === 126 ? 2 : 8
      const begin = at + 2 + lengthBytes
      if (bytes.length < begin) break
      const length = lengthBytes === 0 ? second : lengthBytes === 2 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2))
      if (bytes.length < begin + length) break
      this.#onFrame(first & 0x0f, bytes.subarray(begin, begin + length))
      at = begin + length
    }
    // A copy: the rest of a chunk would keep all of it.
    this.#rest = at === bytes.length ? nothing : Buffer.from(bytes.subarray(at))
  }
}
