// What Linux knows of a process: CPU time and resident memory, of our own and of the servers that answer on a port.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

const microsPerTick = 10_000

/** User and system time so far, all threads, µs (in steps of a clock tick, 10 ms). 0 where the process is gone. */
export function cpuMicros(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // Behind the name in parentheses, which may hold anything: utime and stime are the 14th and 15th field of all.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) * microsPerTick
  } catch {
    return 0
  }
}

/** Resident memory, bytes. @throws Error where the process is gone */
export function residentBytes(pid: number): number {
  const [, pages] = readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')
  return Number(pages) * 4_096
}

/** What a process of ours was started with. @throws Error where it is gone */
export function environmentOf(pid: number): Record<string, string> {
  const pairs = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').filter(Boolean)
  return Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]))
}

/** The process that listens on a loopback port; undefined where none can be told. */
export function listenerOn(port: number): number | undefined {
  const inode = ['/proc/net/tcp', '/proc/net/tcp6'].flatMap(socketsIn).find((socket) => socket.listens && socket.port === port)?.inode
  if (inode === undefined) return undefined
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      for (const fd of readdirSync(`/proc/${pid}/fd`)) if (readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`) return Number(pid)
    } catch {
      // ended meanwhile, or another user's
    }
  }
  return undefined
}

function socketsIn(table: string): { port: number; listens: boolean; inode: string }[] {
  try {
    return readFileSync(table, 'utf8')
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => {
        const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/)
        return { port: Number.parseInt(local.split(':')[1] ?? '', 16), listens: state === '0A', inode }
      })
  } catch {
    return []
  }
}

/** CPU time of named processes between now and the call of what is returned, µs each. */
export function watchCpu(pids: Readonly<Record<string, number | undefined>>): () => Record<string, number> {
  const known = Object.entries(pids).filter((entry): entry is [string, number] => entry[1] !== undefined)
  const before = known.map(([, pid]) => cpuMicros(pid))
  return () => Object.fromEntries(known.map(([name, pid], index) => [name, cpuMicros(pid) - (before[index] ?? 0)]))
}
