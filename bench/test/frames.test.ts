import { expect, test } from '@jest/globals'
import { clientFrame, FrameReader, opcodes } from '../lib/frames.ts'

/** As a server frames it: no mask. */
function serverFrame(payload: string): Buffer {
  const bytes = Buffer.from(payload)
  const head = bytes.length < 126 ? Buffer.from([0x81, bytes.length]) : Buffer.from([0x81, 126, bytes.length >> 8, bytes.length & 0xff])
  return Buffer.concat([head, bytes])
}

test.each([1, 2, 3, 130, 1_000])('frames come out whole and in order, however the stream is cut (%d bytes a piece)', (piece) => {
  const sent = ['2', 'short', 'x'.repeat(125), 'y'.repeat(126), 'z'.repeat(3_000), 'ends']
  const stream = Buffer.concat(sent.map(serverFrame))
  const heard: string[] = []
  const reader = new FrameReader((opcode, payload) => heard.push(`${opcode} ${payload.toString()}`))
  for (let at = 0; at < stream.length; at += piece) reader.push(stream.subarray(at, at + piece))
  expect(heard).toEqual(sent.map((text) => `1 ${text}`))
})

test('a frame in pieces is refused: nothing here sends one', () => {
  expect(() => new FrameReader(() => undefined).push(Buffer.from([0x01, 0x00]))).toThrow('unexpected kind')
})

test.each([0, 125, 126, 65_536])('a client frame says its length and is masked (%d bytes)', (length) => {
  const frame = clientFrame(opcodes.text, Buffer.alloc(length, 'a'))
  expect([frame[0], (frame[1] ?? 0) >= 0x80]).toEqual([0x81, true])
  const told = (frame[1] ?? 0) & 0x7f
  const said = told < 126 ? told : told === 126 ? frame.readUInt16BE(2) : Number(frame.readBigUInt64BE(2))
  expect(said).toBe(length)
  expect(frame.subarray(frame.length - length).toString()).toBe('a'.repeat(length))
})
