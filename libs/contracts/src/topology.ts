// Exchanges, durable queues and bindings: all of them, so that every publisher declares every queue before it publishes (spec 8).

/** Domain events: topic, durable; the routing key is the event's type. */
export const eventsExchange = 'chat.events'
/** Signals that may be lost: topic; the routing key is the signal's type. */
export const signalsExchange = 'chat.signals'

/** Stats' own queue: every conversation event and `media.uploaded`. */
export const statsQueue = 'stats.events'
/** Conversation's own queue: who is online and who is not. */
export const conversationPeopleQueue = 'conversation.people'

export const topology = {
  exchanges: [
    { name: eventsExchange, type: 'topic', durable: true },
    { name: signalsExchange, type: 'topic', durable: true },
  ],
  queues: [
    {
      name: statsQueue,
      kind: 'quorum',
      bindings: [{ exchange: eventsExchange, keys: ['conversation.*', 'message.*', 'media.uploaded'] }],
      deadLetter: `${statsQueue}.dead`,
    },
    {
      name: conversationPeopleQueue,
      kind: 'quorum',
      bindings: [{ exchange: eventsExchange, keys: ['user.*'] }],
      deadLetter: `${conversationPeopleQueue}.dead`,
    },
  ],
} as const

/** What each realtime replica listens to through its exclusive queue. */
export const realtimeBindings = [
  { exchange: eventsExchange, keys: ['conversation.*', 'message.*', 'user.*'] },
  { exchange: signalsExchange, keys: ['#'] },
] as const

/** AMQP headers by which a replica can skip an event without parsing it. */
export const headers = {
  /** The conversation's id. */
  conversation: 'x-conversation',
  /** The event's number in its conversation. */
  eventno: 'x-eventno',
  /** Ids of the people concerned (farmer, assigned agent, the former one), as a JSON array: ids are opaque strings. */
  people: 'x-people',
  /** `1` where the queue is concerned: every connected agent. */
  queue: 'x-queue',
} as const
