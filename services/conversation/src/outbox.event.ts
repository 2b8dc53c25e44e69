// A conversation's event as it goes to the broker: routing key, headers by which a replica can skip it, and the trace it belongs to. Pure.
import type { OutgoingEvent } from '@fieldline/bus/bus'
import type { ConversationEvent } from '@fieldline/contracts/events'
import { headers } from '@fieldline/contracts/topology'

export function outgoing(event: ConversationEvent, exchange: string): OutgoingEvent {
  const { traceparent, tracestate } = event
  return {
    exchange,
    routingKey: event.type,
    id: event.id,
    body: event,
    headers: {
      [headers.conversation]: event.conversationid,
      [headers.eventno]: event.eventno,
      [headers.people]: JSON.stringify(concerned(event)),
      ...(concernsQueue(event) ? { [headers.queue]: '1' } : {}),
    },
    carrier: traceparent === undefined ? {} : { traceparent, ...(tracestate === undefined ? {} : { tracestate }) },
  }
}

/** The farmer, the assigned agent, the former one. */
function concerned(event: ConversationEvent): string[] {
  if (event.type === 'message.created') return [event.data.farmerId, ...(event.data.assignedId === null ? [] : [event.data.assignedId])]
  const { farmer, assigned } = event.data.conversation
  const former = event.type === 'conversation.assigned' ? event.data.from : null
  return [...new Set([farmer.id, ...(assigned ? [assigned.id] : []), ...(former ? [former.id] : [])])]
}

/** Whether it changes what every agent sees: the queue before or after it. */
function concernsQueue(event: ConversationEvent): boolean {
  switch (event.type) {
    case 'message.created':
      return event.data.status === 'waiting'
    case 'conversation.assigned':
      return event.data.from === null || event.data.to === null
    case 'conversation.status-changed':
      return event.data.from === 'waiting' || event.data.to === 'waiting'
    default:
      return event.data.conversation.status === 'waiting'
  }
}
