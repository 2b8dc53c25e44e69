// Removes what a run under a namespace left at shared servers: databases, queues and exchanges, the bucket.
import { namespaced } from '@fieldline/bus/bus'
import { eraseTopology } from '@fieldline/bus/rabbit-topology'
import { topology } from '@fieldline/contracts/topology'
import { Client as Objects } from 'minio'
import { MongoClient } from 'mongodb'

interface Servers {
  MONGODB_URL?: string | undefined
  AMQP_URL?: string | undefined
  S3_URL?: string | undefined
}

const deadlineMs = 10_000

/** Best effort: a server that is gone or hangs has nothing to erase. */
export async function erase(namespace: string, { MONGODB_URL, AMQP_URL, S3_URL }: Servers): Promise<void> {
  if (namespace === '') throw new Error('an empty namespace is everyone’s')
  const all = Promise.allSettled([
    MONGODB_URL ? eraseDatabases(MONGODB_URL, namespace) : undefined,
    AMQP_URL ? eraseTopology(AMQP_URL, namespaced(topology, namespace)) : undefined,
    S3_URL ? eraseBucket(S3_URL, namespace) : undefined,
  ])
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, deadlineMs)
  })
  await Promise.race([all, late])
  clearTimeout(timer)
}

async function eraseDatabases(url: string, namespace: string): Promise<void> {
  const server = await MongoClient.connect(url, { serverSelectionTimeoutMS: 2_000, directConnection: true })
  try {
    const { databases } = await server.db().admin().listDatabases({ nameOnly: true })
    for (const { name } of databases) if (name.startsWith(namespace)) await server.db(name).dropDatabase()
  } finally {
    await server.close()
  }
}

async function eraseBucket(url: string, namespace: string): Promise<void> {
  const objects = objectsAt(url)
  for (const bucket of await bucketsOf(objects, namespace)) {
    const names = await namesIn(objects, bucket)
    if (names.length > 0) await objects.removeObjects(bucket, names)
    await objects.removeBucket(bucket)
  }
}

/** Names of all objects of a namespace. */
export async function objectNames(url: string, namespace: string): Promise<string[]> {
  const objects = objectsAt(url)
  const found: string[] = []
  for (const bucket of await bucketsOf(objects, namespace)) found.push(...(await namesIn(objects, bucket)))
  return found
}

function objectsAt(url: string): Objects {
  const { hostname, port, username, password } = new URL(url)
  return new Objects({
    endPoint: hostname,
    port: Number(port || 9000),
    useSSL: false,
    accessKey: decodeURIComponent(username || process.env.S3_ACCESS_KEY || ''),
    secretKey: decodeURIComponent(password || process.env.S3_SECRET_KEY || ''),
  })
}

async function bucketsOf(objects: Objects, namespace: string): Promise<string[]> {
  return (await objects.listBuckets()).map(({ name }) => name).filter((name) => name.startsWith(namespace))
}

async function namesIn(objects: Objects, bucket: string): Promise<string[]> {
  const names: string[] = []
  for await (const { name } of objects.listObjectsV2(bucket, '', true)) if (name) names.push(name)
  return names
}
