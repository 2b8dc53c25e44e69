// The filesystem adapter: the contract, and what only files have.
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { objectsFault, openObjects } from '../src/open.ts'
import { ObjectsUnavailable } from '../src/store.ts'
import { objectStoreContract } from './store.contract.ts'

objectStoreContract('filesystem', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'fieldline-objects-'))
  const store = await openObjects(`file:${folder}`)
  return {
    store,
    leftovers: async () => (await readdir(join(folder, 'temporary'))).length,
    destroy: () => rm(folder, { recursive: true }),
  }
})

test('a temporary file of a process that died is swept, a fresh one stays', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'fieldline-objects-'))
  const store = await openObjects(`file:${folder}`, { namespace: 'run1' })
  const temporary = join(folder, 'run1', 'temporary')
  await writeFile(join(temporary, 'old'), 'half')
  await writeFile(join(temporary, 'fresh'), 'half')
  await utimes(join(temporary, 'old'), new Date(0), new Date(0))
  expect(await store.sweep(new Date(Date.now() - 60_000))).toBe(1)
  expect(await readdir(temporary)).toEqual(['fresh'])
  await rm(folder, { recursive: true })
})

test('a store whose folder is gone says that it is unavailable, and neither put nor ready hang', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'fieldline-objects-'))
  const store = await openObjects(`file:${join(folder, 'store')}`)
  await rm(join(folder, 'store'), { recursive: true })
  await writeFile(join(folder, 'store'), 'a file where the folder was')
  await expect(store.put('a/b', Buffer.from('x'))).rejects.toThrow(ObjectsUnavailable)
  await expect(store.ready()).rejects.toThrow(ObjectsUnavailable)
  await expect(store.head('a/b')).rejects.toThrow(ObjectsUnavailable)
  await rm(folder, { recursive: true })
})

test('a folder that can not be made is told at once', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'fieldline-objects-'))
  await mkdir(join(folder, 'x'))
  await writeFile(join(folder, 'x', 'file'), '')
  await expect(openObjects(`file:${join(folder, 'x', 'file', 'store')}`)).rejects.toThrow(ObjectsUnavailable)
  await rm(folder, { recursive: true })
})

test.each([
  ['s3://host:9000/bucket', 'no access key'],
  ['s3://k:geheim@host/A', `can't be the name of a bucket`],
  ['s3:', 'names no host'],
  ['file:', 'needs a folder'],
  ['ftp://host/', 'an object store is'],
])('a wrong URL is told before anything is opened, its secret unquoted: %s', (url, fault) => {
  expect(objectsFault(url)).toContain(fault)
  expect(objectsFault(url)).not.toContain('geheim')
})

test('a right URL has no fault; keys may come beside it', () => {
  for (const url of ['file:./data/media', 's3://k:s@host:9000/bucket?tls=true']) expect(objectsFault(url)).toBeUndefined()
  expect(objectsFault('s3://host:9000/bucket', { accessKey: 'k', secretKey: 's' })).toBeUndefined()
})
