// Sockets that are merely there: agents who must be online while conversations are handed out. Devices of their own by User-Agent:
// one that shares token or User-Agent with a member could be that member come back, and would take over what it had joined.
import { io } from 'socket.io-client'
import { answer } from '../lib/roles.ts'

answer({
  async connect({ url, tokens }: { url: string; tokens: string[] }): Promise<void> {
    for (const token of tokens) {
      const socket = io(url, { auth: { token }, transports: ['websocket'], forceNew: true, extraHeaders: { 'User-Agent': 'lobby' } })
      await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject))
    }
  },
})
