// Reading a form from a request that may be over before anybody reads it.
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { once } from '@fieldline/testing/until'
import { expect, test } from '@jest/globals'
import { readForm } from '../src/form.ts'
import { openSpool } from '../src/spool.ts'
import { boundary, multipart } from './service.ts'

test.each([
  ['midway', -1],
  ['after its last byte', undefined],
])('an upload that was cut %s before its form is read ends at once, not after the idle time', async (_when, end) => {
  const spool = await openSpool(tmpdir())
  const answered = Promise.withResolvers<unknown>()
  const server = createServer((req) => {
    req.once('close', () => readForm(req, spool, 600_000).then(answered.resolve, answered.reject))
  }).listen(0, '127.0.0.1')
  try {
    await once(server, 'listening')
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    const body = multipart([{ name: 'type', content: 'image' }])
    const head = `POST / HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=${boundary}\r\nContent-Length: ${body.length}\r\n\r\n`
    socket.write(Buffer.concat([Buffer.from(head), body.subarray(0, end)]), () => socket.destroy())
    await expect(answered.promise).rejects.toMatchObject({ code: 'BAD_REQUEST' })
  } finally {
    server.close()
  }
})
