// Who hears of what (spec 8): nothing is unroutable by design, and each consumer's queue takes all it lives on.
import { topicMatches } from '@fieldline/bus/topic'
import { expect, test } from '@jest/globals'
import { ConversationEvent, DomainEvent, UserEvent } from '../src/events.ts'
import { conversationPeopleQueue, eventsExchange, realtimeBindings, signalsExchange, statsQueue, topology } from '../src/topology.ts'

const typesOf = (union: typeof DomainEvent | typeof ConversationEvent | typeof UserEvent): string[] =>
  union.options.map(({ shape }) => shape.type.value)
const takes = (bindings: readonly { exchange: string; keys: readonly string[] }[], type: string, exchange: string = eventsExchange) =>
  bindings.some((binding) => binding.exchange === exchange && binding.keys.some((key) => topicMatches(key, type)))
const heardBy = (name: string) =>
  typesOf(DomainEvent)
    .filter((type) => topology.queues.some((queue) => queue.name === name && takes(queue.bindings, type)))
    .sort()

test('the domain events are those of the specification', () => {
  expect(typesOf(DomainEvent).sort()).toEqual([
    'conversation.assigned',
    'conversation.created',
    'conversation.read',
    'conversation.status-changed',
    'media.uploaded',
    'message.created',
    'user.availability-changed',
    'user.offline',
    'user.online',
  ])
})

test.each(typesOf(DomainEvent))('%s has a durable queue that takes it', (type) => {
  expect(topology.queues.filter(({ bindings }) => takes(bindings, type))).not.toEqual([])
})

test('stats hears every event of a conversation and of uploads, conversation every one of people', () => {
  expect(heardBy(statsQueue)).toEqual([...typesOf(ConversationEvent), 'media.uploaded'].sort())
  expect(heardBy(conversationPeopleQueue)).toEqual(typesOf(UserEvent).sort())
})

test('a realtime replica hears of conversations, people and signals', () => {
  for (const type of [...typesOf(ConversationEvent), ...typesOf(UserEvent)]) expect(takes(realtimeBindings, type)).toBe(true)
  for (const type of ['typing.started', 'typing.stopped', 'stats.changed'])
    expect(takes(realtimeBindings, type, signalsExchange)).toBe(true)
})

test('what fails for good has a place: every queue has dead letters of its own, named after it', () => {
  for (const { name, deadLetter } of topology.queues) expect(deadLetter).toBe(`${name}.dead`)
})
