// The AsyncAPI 3 document: Socket.IO events both ways, domain events and signals, generated from the contracts (issue 9).
import { z } from 'zod'
import { createSchema } from 'zod-openapi'
import {
  ConversationAssigned,
  ConversationCreated,
  ConversationRead,
  ConversationStatusChanged,
  MediaUploaded,
  MessageCreated,
  StatsChanged,
  TypingSignal,
  UserAvailabilityChanged,
  UserOffline,
  UserOnline,
} from './events.ts'
import { apiVersion, refine } from './openapi.ts'
import { developmentUrl } from './openapi-examples.ts'
import { type ClientEvent, clientEvents, Joined, SocketError, serverEvents } from './socket.ts'
import { eventsExchange, headers, signalsExchange } from './topology.ts'

/** What each event is for; a missing one fails the generation. */
const told: Readonly<Record<string, string>> = {
  'conversation:join': 'Hear this conversation from now on; with `afterSeq` what was missed comes in the acknowledgement.',
  'conversation:leave': 'Hear it no longer; without an id: none of this socket’s.',
  'message:send': 'Send a message. Needs no join before it, and joins.',
  'message:read': 'I have read up to this message.',
  'conversation:mark-all-read': 'I have read everything up to now.',
  'typing:start': 'I am typing; expires by itself.',
  'typing:stop': 'I stopped typing; without an id: everywhere.',
  'auth:refresh': 'A newer token of the same person, so that the connection outlives the old one.',
  'message:new': 'A message, to everyone joined, its sender too, in order of `seq`.',
  'message:sent': 'Your message is committed.',
  'notification:new-message': 'A message in a conversation of yours that this socket has not joined. A hint; may repeat.',
  'typing:user-typing': 'Somebody else is typing.',
  'typing:user-stopped': 'Somebody else stopped typing.',
  'message:read-receipt': 'A message was read.',
  'user:online': 'Somebody you have joined a conversation with came online.',
  'user:offline': 'Somebody you have joined a conversation with went offline.',
  'stats:updated': 'Figures have changed; fetch them if you show them.',
  'conversation:assigned': 'A conversation of your lists has another agent.',
  'conversation:updated': 'A conversation of your lists has changed.',
  'auth:expiring': 'The token of this connection ends soon: send `auth:refresh`.',
  error: 'A request of this socket failed.',
  'conversation.created': 'A conversation began.',
  'conversation.assigned': 'Who is assigned has changed.',
  'conversation.status-changed': 'The status has changed.',
  'conversation.read': 'A read mark moved.',
  'message.created': 'A message was committed.',
  'media.uploaded': 'A file was stored.',
  'user.online': 'A person came online.',
  'user.offline': 'A person went offline.',
  'user.availability-changed': 'An agent takes new conversations, or no longer.',
  'typing.*': 'Somebody typing, or no longer.',
  'stats.changed': 'Figures have changed.',
}

const domainEvents = {
  'conversation.created': ConversationCreated,
  'conversation.assigned': ConversationAssigned,
  'conversation.status-changed': ConversationStatusChanged,
  'conversation.read': ConversationRead,
  'message.created': MessageCreated,
  'media.uploaded': MediaUploaded,
  'user.online': UserOnline,
  'user.offline': UserOffline,
  'user.availability-changed': UserAvailabilityChanged,
} as const
/** What an acknowledgement carries where it carries anything. */
const acknowledged: Partial<Record<ClientEvent, z.ZodType>> = {
  'conversation:join': Joined,
  'message:send': serverEvents['message:sent'],
  'auth:refresh': z.object({ expiresAt: z.iso.datetime().nullable() }),
}
const signals = { 'typing.*': TypingSignal, 'stats.changed': StatsChanged } as const

type Json = Record<string, unknown>
interface Parts {
  messages: Json
  schemas: Json
  operations: Json
}

/** @param serverUrl where clients reach the gateway (`PUBLIC_URL`) */
export function asyncApiDocument(serverUrl = developmentUrl): object {
  const { host, protocol } = new URL(serverUrl)
  const parts: Parts = { messages: {}, schemas: {}, operations: {} }
  const clientNames = Object.keys(clientEvents) as (keyof typeof clientEvents)[]
  const serverNames = Object.keys(serverEvents) as (keyof typeof serverEvents)[]

  for (const name of clientNames) addMessage(parts, name, payloadOf(clientEvents[name]), 'input')
  for (const name of serverNames) addMessage(parts, name, serverEvents[name], 'output')
  for (const name of clientNames) addAcknowledgement(parts, name)
  for (const [name, schema] of [...Object.entries(domainEvents), ...Object.entries(signals)]) addMessage(parts, name, schema, 'output')

  for (const name of clientNames) {
    parts.operations[`on ${name}`.replace(/\W+/g, '_')] = {
      action: 'receive',
      summary: told[name],
      channel: ref('channels', 'socket'),
      messages: [inChannel('socket', name)],
      reply: { channel: ref('channels', 'socket'), messages: [inChannel('socket', `${name} ack`)] },
    }
  }
  const send = (channel: string, names: readonly string[]) => {
    for (const name of names) {
      parts.operations[`send ${channel} ${name}`.replace(/\W+/g, '_')] = {
        action: 'send',
        summary: told[name],
        channel: ref('channels', channel),
        messages: [inChannel(channel, name)],
      }
    }
  }
  send('socket', serverNames)
  send('events', Object.keys(domainEvents))
  send('signals', Object.keys(signals))

  const channel = (names: readonly string[]) =>
    Object.fromEntries(names.map((name) => [keyOf(name), ref('components/messages', keyOf(name))]))
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Fieldline events',
      version: apiVersion,
      description:
        'Socket.IO events between clients and the gateway, and domain events between services. An acknowledgement callback is optional; on failure `error` comes as well. An optional field may as well be `null`, or `""` where it is text.',
    },
    defaultContentType: 'application/json',
    servers: {
      gateway: {
        host,
        protocol: protocol === 'https:' ? 'wss' : 'ws',
        description: 'Socket.IO 4 (Engine.IO 4), WebSocket or polling, token in `auth.token`',
        security: [ref('components/securitySchemes', 'token')],
      },
      broker: {
        host: 'localhost:5672',
        protocol: 'amqp',
        description: 'RabbitMQ; between services only',
        security: [ref('components/securitySchemes', 'broker')],
      },
    },
    channels: {
      socket: {
        address: '/socket.io',
        description: 'The default namespace.',
        servers: [ref('servers', 'gateway')],
        messages: channel([...clientNames, ...clientNames.map((name) => `${name} ack`), ...serverNames]),
      },
      events: {
        address: eventsExchange,
        description: `Topic exchange, durable; the routing key is the event's type. CloudEvents 1.0 in structured mode. Headers: ${Object.values(headers).join(', ')}.`,
        servers: [ref('servers', 'broker')],
        messages: channel(Object.keys(domainEvents)),
        bindings: { amqp: { is: 'routingKey', exchange: { name: eventsExchange, type: 'topic', durable: true, autoDelete: false } } },
      },
      signals: {
        address: signalsExchange,
        description: "Topic exchange for what may be lost; the routing key is the signal's type.",
        servers: [ref('servers', 'broker')],
        messages: channel(Object.keys(signals)),
        bindings: { amqp: { is: 'routingKey', exchange: { name: signalsExchange, type: 'topic', durable: true, autoDelete: false } } },
      },
    },
    operations: parts.operations,
    components: {
      messages: parts.messages,
      schemas: parts.schemas,
      securitySchemes: {
        broker: { type: 'userPassword', description: 'As `BROKER_URL` says.' },
        token: {
          type: 'httpApiKey',
          name: 'auth.token',
          in: 'query',
          description: 'A JWT in `auth.token` of the Socket.IO handshake; nowhere else.',
        },
      },
    },
  }
}

/** A shorthand (a bare id, nothing at all) is told beside the full form. */
function payloadOf(schema: z.ZodType): z.ZodType {
  return schema instanceof z.ZodPipe && schema.in instanceof z.ZodTransform ? (schema.out as z.ZodType) : schema
}

function addMessage(parts: Parts, name: string, schema: z.ZodType, io: 'input' | 'output'): void {
  const { schema: payload, components } = createSchema(schema, {
    io,
    schemaRefPath: '#/components/schemas/',
    opts: { override: ({ jsonSchema, zodSchema }) => refine(jsonSchema, zodSchema) },
  })
  Object.assign(parts.schemas, components)
  if (told[name] === undefined && !name.endsWith(' ack')) throw new Error(`AsyncAPI: nothing is told about ${name}`)
  parts.messages[keyOf(name)] = {
    name,
    title: name,
    ...(told[name] ? { summary: told[name] } : {}),
    contentType: 'application/json',
    payload,
  }
}

function addAcknowledgement(parts: Parts, name: keyof typeof clientEvents): void {
  const data = acknowledged[name] ?? z.unknown()
  const failure = z.object({ ok: z.literal(false), error: SocketError.pick({ code: true, message: true, retryable: true }) })
  addMessage(parts, `${name} ack`, z.union([z.object({ ok: z.literal(true), data }), failure]), 'output')
}

function keyOf(name: string): string {
  return name.replace(/[^\w.-]+/g, '-')
}
function ref(where: string, name: string): Json {
  return { $ref: `#/${where}/${name}` }
}
function inChannel(channel: string, name: string): Json {
  return { $ref: `#/channels/${channel}/messages/${keyOf(name)}` }
}
