// A file on its way out: what its chunks held is free once they have left, and whoever leaves or fails ends the other side.
import { once } from 'node:events'
import { createServer, get, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { outletOf } from '../src/outlet.ts'

let server: Server
beforeAll(async () => {
  server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
})
afterAll(() => {
  server.close()
})

/** A chunk with memory of its own, as sockets and files give them. */
const own = (size: number, byte: number) => Buffer.allocUnsafeSlow(size).fill(byte)

test('a chunk has no memory left once it has left, and a piece of something larger keeps it', async () => {
  const large = own(1_000, 3)
  const chunks = [own(65_536, 1), own(20_000, 2), large.subarray(0, 500)]
  const { outcome, answer } = await served(Readable.from(chunks))
  expect(await buffer(await answer)).toEqual(Buffer.concat([Buffer.alloc(65_536, 1), Buffer.alloc(20_000, 2), Buffer.alloc(500, 3)]))
  await outcome
  expect(chunks.map((chunk) => chunk.length)).toEqual([0, 0, 500])
  expect(large).toEqual(Buffer.alloc(1_000, 3))
})

test('what a slow client has not taken yet stays whole', async () => {
  const chunks = Array.from({ length: 512 }, (_, index) => own(65_536, index % 256))
  const { outcome, answer } = await served(Readable.from(chunks, { highWaterMark: 1 }))
  const received = await buffer(await answer)
  await outcome
  expect(received.equals(Buffer.concat(Array.from({ length: 512 }, (_, index) => Buffer.alloc(65_536, index % 256))))).toBe(true)
})

test('a client that leaves ends the file, also while the store gives nothing', async () => {
  const source = new Readable({ read: () => undefined })
  source.push(own(10, 1))
  const { outcome, answer } = await served(source)
  ;(await answer).destroy()
  await expect(outcome).rejects.toMatchObject({ code: 'ERR_STREAM_PREMATURE_CLOSE' })
  expect(source.destroyed).toBe(true)
})

test('a client that left before the file came ends it too', async () => {
  const source = Readable.from([own(10, 1)])
  const { outcome } = await served(source, async (res) => {
    res.destroy()
    await once(res, 'close')
  })
  await expect(outcome).rejects.toMatchObject({ code: 'ERR_STREAM_PREMATURE_CLOSE' })
  expect(source.destroyed).toBe(true)
})

test('a store that breaks off cuts the answer short', async () => {
  const source = new Readable({ read: () => undefined })
  source.push(own(10, 1))
  const { outcome, answer } = await served(source)
  const cut = expect(buffer(await answer)).rejects.toMatchObject({ code: 'ECONNRESET' })
  source.destroy(new Error('the store is gone'))
  await expect(outcome).rejects.toThrow('the store is gone')
  await cut
})

/** One answer that a source is sent into. */
async function served(source: Readable, before: (res: ServerResponse) => Promise<void> = async () => undefined) {
  const asked = once(server, 'request') as Promise<[IncomingMessage, ServerResponse]>
  const client = get({ port: (server.address() as AddressInfo).port, agent: false })
  const answer = new Promise<IncomingMessage>((resolve, reject) => client.once('response', resolve).once('error', reject))
  answer.catch(() => undefined)
  const [, res] = await asked
  await before(res)
  const outcome = pipeline(source, outletOf(res))
  outcome.catch(() => undefined)
  return { outcome, answer }
}
