// Messages of one conversation as conversation would publish them, and as a floor that checks nothing emits them.
import type { OutgoingEvent } from '@fieldline/bus/bus'
import type { MessageCreated } from '@fieldline/contracts/events'
import { ConversationId, MessageId, PersonId } from '@fieldline/contracts/ids'
import { messageView } from '@fieldline/contracts/messages'
import { outgoing } from '../../services/conversation/src/outbox.event.ts'

export interface Feed {
  readonly conversationId: string
  readonly farmerId: string
  /** `eventno` of message 1, less one. */
  readonly head: number
}

const content = 'My tomato leaves are turning yellow, what can I do?'

/** Message `seq` of a waiting conversation; the conversation's only events after `head` are its messages. */
export function messageCreated({ conversationId, farmerId, head }: Feed, seq: number): MessageCreated {
  const time = new Date().toISOString()
  const id = MessageId.parse(seq.toString(16).padStart(24, '0'))
  const sender = { id: PersonId.parse(farmerId), role: 'User', firstName: 'Rajesh', lastName: 'Kumar' } as const
  return {
    ...{ specversion: '1.0', id: `${conversationId}-${head + seq}`, source: 'conversation', datacontenttype: 'application/json', time },
    type: 'message.created',
    conversationid: ConversationId.parse(conversationId),
    eventno: head + seq,
    data: {
      message: {
        ...{ id, conversationId: ConversationId.parse(conversationId), seq, sender, messageType: 'text', content, createdAt: time },
        ...{ media: null, clientMessageId: null },
      },
      ...{ farmerId: sender.id, assignedId: null, status: 'waiting', sentTo: null },
    },
  }
}

/** For the product's exchange: the whole event, with the headers conversation gives it. */
export function asEvent(feed: Feed, seq: number, exchange: string): OutgoingEvent {
  return outgoing(messageCreated(feed, seq), exchange)
}

/** For the floor's: nothing but what it emits, which is what the product's members hear too. */
export function asPayload(feed: Feed, seq: number): { message: object; conversationId: string } {
  const sign = () => {
    throw new Error('there is no media here')
  }
  return { message: messageView(messageCreated(feed, seq).data.message, null, sign), conversationId: feed.conversationId }
}
