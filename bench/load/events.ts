// The event both sides of the row `publish` send: a message of ordinary length, as conversation makes it.
import type { MessageCreated } from '@fieldline/contracts/events'
import type { ConversationId, MessageId } from '@fieldline/contracts/ids'

/** @param number from 1: its place among the events of one conversation */
export function messageCreated(number: number): MessageCreated {
  const conversationid = 'c'.repeat(24) as ConversationId
  const id = number.toString(16).padStart(24, '0')
  const time = '2026-01-01T10:00:00.000Z'
  return {
    ...{ specversion: '1.0', id: `${id}-0`, source: 'fieldline/conversation', time, datacontenttype: 'application/json' },
    ...{ type: 'message.created', conversationid, eventno: number },
    data: {
      message: {
        ...{ id: id as MessageId, conversationId: conversationid, seq: number },
        sender: { id: 'farmer-1', role: 'User', firstName: 'Rajesh', lastName: 'Kumar' },
        ...{ messageType: 'text', content: 'My tomato leaves are turning yellow, what can I do?', media: null, clientMessageId: id },
        createdAt: time,
      },
      ...{ farmerId: 'farmer-1', assignedId: 'agent-1', status: 'open', sentTo: null },
    },
  }
}

/** Keeps `window` events unconfirmed until `count` are confirmed. */
export function pipelined({ count, window }: Pipelined, publish: (number: number) => Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    let written = 0
    let confirmed = 0
    const next = () => {
      written += 1
      publish(written).then(() => {
        confirmed += 1
        if (confirmed === count) resolve()
        else if (written < count) next()
      }, reject)
    }
    for (let each = 0; each < Math.min(window, count); each += 1) next()
  })
}

export interface Pipelined {
  count: number
  window: number
}
