// Reading history: the log and the outbox as one, and nothing above what was loaded (architecture, "The log").
import type { ConversationEvent, MessageCreated } from '@fieldline/contracts/events'
import type { MessageId } from '@fieldline/contracts/ids'
import type { Message } from '@fieldline/contracts/messages'
import type { ConversationStore } from '../conversations/conversation.store.ts'
import type { Conversation, Entry } from '../conversations/conversation.ts'

export interface History {
  /** The messages with `from <= seq <= to`, by seq, of a conversation just loaded: none above its `lastSeq`, none missing. */
  messages(conversation: Conversation, from: number, to: number): Promise<Message[]>
  /** The log of a conversation just loaded after `after`, at most `limit`, nothing above its `eventNo`. */
  events(conversation: Conversation, after: number, limit: number): Promise<ConversationEvent[]>
  /** A message of this conversation, with how many up to it are the farmer's; null if it has none of that id. */
  message(conversation: Conversation, id: MessageId): Promise<{ message: Message; farmerMessages: number } | null>
  /** The newest `limit` messages of the side that doesn't read, with `after < seq <= upTo`, oldest first. */
  unreadBy(
    conversation: Conversation,
    reader: 'farmer' | 'support',
    after: number,
    upTo: number,
    limit: number,
  ): Promise<{ id: string; seq: number }[]>
}

type Log = Pick<ConversationStore, 'messages' | 'messagesOf' | 'message' | 'entries'>

export function createHistory(log: Log): History {
  return {
    async messages(conversation, from, to) {
      const first = Math.max(from, 1)
      const last = Math.min(to, conversation.lastSeq)
      if (first > last) return []
      const fresh = messageEntries(conversation.outbox).map(({ message }) => message)
      // What the outbox holds needs no look into the log: mostly that is all of it, or nothing.
      const inOutbox = new Map(fresh.filter(({ seq }) => seq >= first && seq <= last).map((message) => [message.seq, message]))
      if (inOutbox.size < last - first + 1) {
        for (const { message } of messageEntries(await log.messages(conversation.id, first, last))) inOutbox.set(message.seq, message)
      }
      const found = [...inOutbox.values()].sort((a, b) => a.seq - b.seq)
      if (found.length !== last - first + 1) throw new Error(`conversation ${conversation.id} lacks messages between ${first} and ${last}`)
      return found
    },

    async events(conversation, after, limit) {
      const upTo = Math.min(after + limit, conversation.eventNo)
      if (after >= upTo) return []
      const found = new Map<number, ConversationEvent>()
      for (const { event } of [...(await log.entries(conversation.id, after, limit)), ...conversation.outbox]) {
        if (event.eventno > after && event.eventno <= upTo) found.set(event.eventno, event)
      }
      if (found.size !== upTo - after) throw new Error(`conversation ${conversation.id} lacks events between ${after + 1} and ${upTo}`)
      return [...found.values()].sort((a, b) => a.eventno - b.eventno)
    },

    async message(conversation, id) {
      const isIt = ({ message }: { message: Message }) => message.id === id
      const fresh = messageEntries(conversation.outbox).find(isIt)
      if (fresh) return fresh
      const logged = await log.message(conversation.id, id)
      return (logged && messageEntries([logged]).find(({ message }) => message.seq <= conversation.lastSeq)) ?? null
    },

    async unreadBy(conversation, reader, after, upTo, limit) {
      const isOther = ({ sender }: Message) => (sender.id === conversation.farmer.id) === (reader === 'support')
      const fresh = messageEntries(conversation.outbox)
        .map(({ message }) => message)
        .filter((message) => isOther(message) && message.seq > after && message.seq <= upTo)
      const found = new Map(fresh.map(({ id, seq }) => [seq, { id: id as string, seq }]))
      for (const one of await log.messagesOf(conversation.id, reader === 'farmer' ? 'support' : 'farmer', after, upTo, limit))
        found.set(one.seq, one)
      return [...found.values()].sort((a, b) => a.seq - b.seq).slice(-limit)
    },
  }
}

function messageEntries(entries: readonly Entry[]): { message: Message; farmerMessages: number }[] {
  return entries.flatMap(({ event, farmerMessages }) =>
    event.type === 'message.created' ? [{ message: (event as MessageCreated).data.message, farmerMessages: farmerMessages ?? 0 }] : [],
  )
}
