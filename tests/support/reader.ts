// A client that uses `afterSeq`: joins at each connect behind the last message it has, says nothing before that is answered, and keeps one list of all it was told, as it came.
import type { ManagerOptions, SocketOptions } from 'socket.io-client'
import { client } from './client.ts'
import { keyOf, type Line, line } from './scene.ts'

export interface Reader {
  /** Every message it was told, in the order of telling; a double would stand here twice. */
  list: Line[]
  /** Sends through this socket under a key, again and again until it is acknowledged. */
  say(content: string): Promise<void>
  close(): void
}

type JoinAnswer = { ok: true; data: { messages: Line[]; hasMore: boolean } } | { ok: false; error: { retryable: boolean } }

const patienceMs = 8_000
const pauseMs = 200

export function reader(url: string, token: string, conversationId: string, options: Partial<ManagerOptions & SocketOptions> = {}): Reader {
  const { socket, close } = client(url, token, options)
  const list: Line[] = []
  let closed = false
  /** The connection on which it has joined. */
  let joinedOn: string | undefined

  async function join(): Promise<void> {
    const { id } = socket
    while (socket.connected && socket.id === id) {
      const outcome = await attempt(list.reduce((most, { seq }) => Math.max(most, seq), 0))
      if (outcome === 'joined') {
        joinedOn = id
        return
      }
      if (outcome === 'unanswered') {
        // Whether it has joined is unknown, so it begins anew.
        if (socket.connected && socket.id === id) socket.io.engine.close()
        return
      }
      if (outcome === 'later') await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
  }

  /** Writes down what the answer tells in the very turn it comes: a promise would let what follows it overtake. */
  function attempt(afterSeq: number): Promise<'joined' | 'more' | 'later' | 'unanswered'> {
    return new Promise((resolve, reject) => {
      socket.timeout(patienceMs).emit('conversation:join', { conversationId, afterSeq }, (late: Error | null, answer: JoinAnswer) => {
        if (late) return resolve('unanswered')
        if (answer.ok) {
          list.push(...answer.data.messages.map(line))
          return resolve(answer.data.hasMore ? 'more' : 'joined')
        }
        return answer.error.retryable ? resolve('later') : reject(new Error(`join refused: ${JSON.stringify(answer.error)}`))
      })
    })
  }
  socket.on('message:new', (told) => {
    if (told.conversationId === conversationId) list.push(line(told.message))
  })
  socket.on('connect', () => void join())

  return {
    list,
    async say(content) {
      const deadline = performance.now() + 60_000
      let last: unknown
      while (!closed && performance.now() < deadline) {
        // What is emitted while away would go out before the join, and have it joined where it stands.
        if (!socket.connected || joinedOn !== socket.id) {
          await new Promise((resolve) => setTimeout(resolve, pauseMs / 4))
          continue
        }
        try {
          last = await socket.timeout(patienceMs).emitWithAck('message:send', { conversationId, content, clientMessageId: keyOf(content) })
          if ((last as { ok: boolean }).ok) return
          await new Promise((resolve) => setTimeout(resolve, pauseMs))
        } catch (error) {
          last = error
        }
      }
      throw new Error(`'${content}' was not acknowledged: ${last instanceof Error ? last.message : JSON.stringify(last)}`)
    },
    close() {
      closed = true
      close()
    },
  }
}
