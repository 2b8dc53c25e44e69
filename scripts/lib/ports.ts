// Free loopback ports for inner services, below the ephemeral range, so that no outgoing connection takes one between choosing and listening.
import { connect, createServer } from 'node:net'

const lowest = 20_000
const highest = 32_000

/** @throws Error when none of 200 tries is free */
export async function freePort(taken: Set<number> = new Set()): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const port = lowest + Math.floor(Math.random() * (highest - lowest))
    if (taken.has(port) || (await listenFault(port)) !== undefined) continue
    taken.add(port)
    return port
  }
  throw new Error(`no free port between ${lowest} and ${highest}`)
}

/** Why nothing can listen there (`EADDRINUSE`, `EACCES`, …), or undefined. */
export function listenFault(port: number, host = '127.0.0.1'): Promise<string | undefined> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    probe.listen(port, host, () => probe.close(() => resolve(undefined)))
  })
}

/** Whether something answers on that port of 127.0.0.1. */
export function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', timeout: 1_000 })
    const end = (up: boolean) => {
      socket.destroy()
      resolve(up)
    }
    socket.once('connect', () => end(true))
    socket.once('error', () => end(false))
    socket.once('timeout', () => end(false))
  })
}
