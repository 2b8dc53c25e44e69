// Chooses the object store by its URL: `s3://[key:secret@]host:port/bucket[?tls=true&region=…]` or `file:./folder`.
import { join } from 'node:path'
import { openFilesystem } from './filesystem.ts'
import { openS3 } from './s3.ts'
import type { ObjectStore } from './store.ts'

export interface OpenOptions {
  /** Key and secret where the URL names none. */
  accessKey?: string | undefined
  secretKey?: string | undefined
  /** The bucket where the URL names none. */
  bucket?: string
  /** Goes before the bucket's name, or is a folder under the store's, so that runs can share a server. */
  namespace?: string | undefined
  /** Of S3: a request on which nothing moves for so long is given up, in ms. */
  idleTimeout?: number
}

/** @throws TypeError naming what is wrong with the URL (never its secret); ObjectsUnavailable if a folder can't be made */
export async function openObjects(url: string, options: OpenOptions = {}): Promise<ObjectStore> {
  if (url.startsWith('s3:')) return openS3(s3OptionsOf(url, options))
  const folder = folderOf(url)
  return openFilesystem(options.namespace ? join(folder, options.namespace) : folder)
}

/** What is wrong with the URL as far as it shows without the store; undefined: nothing. It never quotes a secret. */
export function objectsFault(url: string, options: OpenOptions = {}): string | undefined {
  try {
    if (url.startsWith('s3:')) s3OptionsOf(url, options)
    else folderOf(url)
    return undefined
  } catch (error) {
    if (error instanceof TypeError) return error.message
    throw error
  }
}

function folderOf(url: string): string {
  if (!url.startsWith('file:'))
    throw new TypeError('an object store is s3://[key:secret@]host:port/bucket[?tls=true&region=…] or file:./folder')
  const folder = url.slice('file:'.length).replace(/^\/\/(?=\/)/, '')
  if (!folder) throw new TypeError('an object store "file:" needs a folder, as in file:./data/media')
  return folder
}

function s3OptionsOf(text: string, options: OpenOptions) {
  if (!URL.canParse(text)) throw new TypeError('the object store is no URL of the form s3://[key:secret@]host:port/bucket')
  const url = new URL(text)
  const tls = url.searchParams.get('tls') === 'true'
  const accessKey = decodeURIComponent(url.username) || options.accessKey
  const secretKey = decodeURIComponent(url.password) || options.secretKey
  if (!url.hostname) throw new TypeError('the object store names no host')
  if (!accessKey || !secretKey)
    throw new TypeError('the object store has no access key and secret: in its URL, or as S3_ACCESS_KEY and S3_SECRET_KEY')
  const named = decodeURIComponent(url.pathname.replace(/^\/|\/$/g, '')) || options.bucket || 'fieldline-media'
  const bucket = (options.namespace ? `${options.namespace}-${named}` : named).toLowerCase().replaceAll('_', '-')
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket)) throw new TypeError(`"${bucket}" can't be the name of a bucket`)
  return {
    ...{
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port: url.port ? Number(url.port) : tls ? 443 : 80,
      tls,
      accessKey,
      secretKey,
      bucket,
    },
    region: url.searchParams.get('region') ?? 'us-east-1',
    ...(options.idleTimeout === undefined ? {} : { idleTimeout: options.idleTimeout }),
  }
}
