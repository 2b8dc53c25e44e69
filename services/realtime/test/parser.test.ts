// Our encoder writes what the stock one writes, byte for byte, and looks into no payload for it.
import { expect, test } from '@jest/globals'
import { Encoder, type Packet, PacketType } from 'socket.io-parser'
import { jsonParser } from '../src/parser.ts'

const packets: [string, Packet][] = [
  ['connect', { type: PacketType.CONNECT, nsp: '/', data: { sid: 'x', pid: undefined } }],
  ['connect of another namespace', { type: PacketType.CONNECT, nsp: '/other', data: { sid: 'x' } }],
  ['refusal', { type: PacketType.CONNECT_ERROR, nsp: '/', data: { message: 'Authentication required' } }],
  ['refusal of an unknown namespace', { type: PacketType.CONNECT_ERROR, nsp: '/nowhere', data: { message: 'Invalid namespace' } }],
  ['disconnect', { type: PacketType.DISCONNECT, nsp: '/' }],
  ['event', { type: PacketType.EVENT, nsp: '/', data: ['message:new', { message: { content: 'नमस्ते "x"', at: null } }] }],
  ['acknowledgement', { type: PacketType.ACK, nsp: '/', id: 0, data: [{ ok: true, data: {} }] }],
  ['acknowledgement of another namespace', { type: PacketType.ACK, nsp: '/other', id: 42, data: [] }],
]

test.each(packets)('%s: as the stock encoder writes it', (_, packet) => {
  expect(new jsonParser.Encoder().encode({ ...packet })).toEqual(new Encoder().encode({ ...packet }))
})

test('a payload is read once, to be written', () => {
  let reads = 0
  const payload = {
    get content() {
      reads += 1
      return 'hello'
    },
  }
  new jsonParser.Encoder().encode({ type: PacketType.EVENT, nsp: '/', data: ['message:new', payload] })
  expect(reads).toBe(1)
})
