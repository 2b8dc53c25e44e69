// The S3 adapter: the contract against a real server, and what it does without one.
import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describeWith } from '@fieldline/testing/describe-with'
import { expect, test } from '@jest/globals'
import { Client } from 'minio'
import { openObjects } from '../src/open.ts'
import { ObjectsUnavailable, partSize } from '../src/store.ts'
import { objectStoreContract } from './store.contract.ts'

await describeWith('s3', 'the S3 adapter', (given) => {
  const server = new URL(given)

  objectStoreContract('s3', async () => {
    const bucket = `contract-${randomBytes(6).toString('hex')}`
    const store = await openObjects(`s3://${server.username}:${server.password}@${server.host}/${bucket}`)
    const client = new Client({
      endPoint: server.hostname,
      port: Number(server.port),
      useSSL: false,
      accessKey: server.username,
      secretKey: server.password,
      region: 'us-east-1',
    })
    return {
      store,
      leftovers: async () => {
        let count = 0
        for (const key of ['concurrent/a', 'failed/a', 'aborted/a'])
          count += (await client.listIncompleteUploadsQuery(bucket, key, '', '', '')).uploads.length
        return count
      },
      destroy: async () => {
        const keys: string[] = []
        for await (const { key } of store.list('')) keys.push(key)
        await client.removeObjects(bucket, keys)
        await client.removeBucket(bucket)
        await store.close()
      },
    }
  })

  test('remove also ends what an interrupted put of that key left behind', async () => {
    const bucket = `left-${randomBytes(6).toString('hex')}`
    const store = await openObjects(`s3://${server.host}/`, {
      accessKey: server.username,
      secretKey: server.password,
      bucket,
      namespace: 'run_1',
    })
    await store.ready()
    const client = new Client({
      endPoint: server.hostname,
      port: Number(server.port),
      useSSL: false,
      accessKey: server.username,
      secretKey: server.password,
      region: 'us-east-1',
    })
    await client.initiateNewMultipartUpload(`run-1-${bucket}`, 'a/b', {})
    await store.remove('a/b')
    expect((await client.listIncompleteUploadsQuery(`run-1-${bucket}`, 'a/b', '', '', '')).uploads).toEqual([])
    await client.removeBucket(`run-1-${bucket}`)
    await store.close()
  })
})

test('a store that is not there is unavailable, for every call', async () => {
  const store = await openObjects('s3://k:s@127.0.0.1:1/bucket')
  await expect(store.put('a/b', Buffer.from('x'))).rejects.toThrow(ObjectsUnavailable)
  await expect(store.get('a/b')).rejects.toThrow(ObjectsUnavailable)
  await expect(store.head('a/b')).rejects.toThrow(ObjectsUnavailable)
  await expect(store.remove('a/b')).rejects.toThrow(ObjectsUnavailable)
  await expect(store.list('')[Symbol.asyncIterator]().next()).rejects.toThrow(ObjectsUnavailable)
  await expect(store.ready()).rejects.toThrow(ObjectsUnavailable)
})

test.each([
  ['never answers', () => undefined],
  [
    'begins its answer to a write and hangs',
    (req: IncomingMessage, res: ServerResponse) => (req.method === 'POST' ? void res.write('<') : res.end()),
  ],
])('a store that %s is given up', async (_what, answer) => {
  const hanging = createServer((req, res) => void req.resume().on('end', () => answer(req, res))).listen(0, '127.0.0.1')
  await new Promise((resolve) => hanging.once('listening', resolve))
  const store = await openObjects(`s3://k:s@127.0.0.1:${(hanging.address() as AddressInfo).port}/bucket`, { idleTimeout: 50 })
  await expect(store.put('a/b', Buffer.alloc(partSize + 1))).rejects.toThrow('no answer for 50 ms')
  await store.close()
  hanging.closeAllConnections()
  hanging.close()
})

test.each([
  ['ftp://x', 's3://[key:secret@]host:port/bucket'],
  ['s3://127.0.0.1:9000/bucket', 'no access key and secret'],
  ['s3://k:s@127.0.0.1:9000/a', 'name of a bucket'],
  ['file:', 'needs a folder'],
])('%s is refused with a reason', async (url, reason) => {
  await expect(openObjects(url)).rejects.toThrow(reason)
})
