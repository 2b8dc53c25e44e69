import { ConversationEvent } from '@fieldline/contracts/events'
import { serverEvents } from '@fieldline/contracts/socket'
import { expect, test } from '@jest/globals'
import { asEvent, asPayload, messageCreated } from '../lib/feed.ts'

const feed = { conversationId: 'a'.repeat(24), farmerId: 'farmer-1', head: 3 }

test('what is fed to realtime is an event as conversation publishes it, next in number and seq', () => {
  const event = messageCreated(feed, 5)
  expect(ConversationEvent.parse(event)).toEqual(event)
  expect([event.eventno, event.data.message.seq]).toEqual([8, 5])
  expect(asEvent(feed, 5, 'chat.events')).toMatchObject({
    routingKey: 'message.created',
    headers: { 'x-conversation': feed.conversationId },
  })
})

test('the floor emits what members of the product hear', () => {
  const payload = asPayload(feed, 5)
  expect(serverEvents['message:new'].parse(payload)).toEqual(payload)
})
