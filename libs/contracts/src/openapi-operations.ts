// Every call of the public API (spec 2): who may ask it, with what, and every answer it gives.
import { z } from 'zod'
import {
  AssignmentView,
  ChangeStatus,
  ConversationView,
  ListConversations,
  ListSupportConversations,
  MarkRead,
  Reassign,
  statuses,
} from './conversations.ts'
import { apiBase, texts } from './envelopes.ts'
import type { ErrorCode } from './errors.ts'
import { ClientMessageId, ConversationId, MediaId } from './ids.ts'
import { MediaType, MediaView, mediaLimits } from './media.ts'
import { ListMessages, MessageView, SendMessage } from './messages.ts'
import { agent, agentOnDesk, conversation, ids, media, message, page, stats } from './openapi-examples.ts'
import { Pagination } from './pages.ts'
import { AgentView, type Role, SetAvailability } from './people.ts'
import { StatsQuery, StatsView } from './stats.ts'

export interface Operation {
  id: string
  method: 'get' | 'post' | 'patch'
  path: string
  tag: 'Conversations' | 'Messages' | 'Support' | 'Media'
  /** Roles that may ask at all; the others get 403. */
  roles: readonly Role[]
  /** The same, and more, in words. */
  who: string
  summary: string
  description?: string
  params?: z.ZodObject
  query?: z.ZodObject
  headers?: z.ZodObject
  body?: { schema: z.ZodType; examples: Record<string, unknown>; required: boolean; type?: 'multipart/form-data' }
  answers: readonly Answer[]
  errors: readonly ErrorCode[]
  /** Signed links need none. */
  token?: 'optional'
}
export interface Answer {
  status: 200 | 201 | 206 | 304
  text: string
  /** Absent: no JSON. */
  data?: { schema: z.ZodType; example: unknown; more?: z.ZodRawShape; moreExample?: Record<string, unknown> }
  binary?: boolean
}

const everybody: readonly Role[] = ['User', 'Support', 'Admin']
const desk: readonly Role[] = ['Support', 'Admin']
const ofConversation = z.object({ id: ConversationId })
const one = (text: string): Answer => ({ status: 200, text, data: { schema: ConversationView, example: conversation } })
const paged = { pagination: Pagination }
const pagedExample = { pagination: page }
const counts = z.object(
  Object.fromEntries(statuses.map((status) => [status, z.number().int()])) as Record<(typeof statuses)[number], z.ZodNumber>,
)

export const operations: readonly Operation[] = [
  {
    id: 'openConversation',
    method: 'post',
    path: `${apiBase}/conversations`,
    tag: 'Conversations',
    roles: ['User'],
    who: 'User',
    summary: 'My conversation, made if there is none',
    description: 'Returns the one conversation of the caller that is not `closed`, else creates it. `created` tells which.',
    answers: [
      {
        status: 200,
        text: texts.conversation,
        data: { schema: ConversationView, example: conversation, more: { created: z.boolean() }, moreExample: { created: false } },
      },
    ],
    errors: ['FORBIDDEN'],
  },
  {
    id: 'listConversations',
    method: 'get',
    path: `${apiBase}/conversations`,
    tag: 'Conversations',
    roles: everybody,
    who: 'User, Support, Admin',
    summary: 'My conversations, by last activity',
    description:
      'A User’s own, an agent’s assigned. `cursor` (from `pagination.nextCursor`) neither skips nor repeats while the list moves.',
    query: ListConversations,
    answers: [
      {
        status: 200,
        text: texts.conversations,
        data: { schema: z.array(ConversationView), example: [conversation], more: paged, moreExample: pagedExample },
      },
    ],
    errors: [],
  },
  {
    id: 'getConversation',
    method: 'get',
    path: `${apiBase}/conversations/{id}`,
    tag: 'Conversations',
    roles: everybody,
    who: 'who may read it',
    summary: 'One conversation',
    params: ofConversation,
    answers: [one(texts.conversation)],
    errors: ['FORBIDDEN', 'CONVERSATION_NOT_FOUND'],
  },
  {
    id: 'listAssignments',
    method: 'get',
    path: `${apiBase}/conversations/{id}/assignments`,
    tag: 'Conversations',
    roles: desk,
    who: 'its own agent, Admin',
    summary: 'Who was assigned, and why',
    params: ofConversation,
    answers: [
      {
        status: 200,
        text: texts.assignments,
        data: {
          schema: z.array(AssignmentView),
          example: [{ from: null, to: agent, reason: 'least-busy', note: null, by: 'system', at: '2025-10-24T10:00:00.000Z' }],
        },
      },
    ],
    errors: ['FORBIDDEN', 'CONVERSATION_NOT_FOUND'],
  },
  {
    id: 'markRead',
    method: 'patch',
    path: `${apiBase}/conversations/{id}/read`,
    tag: 'Conversations',
    roles: everybody,
    who: 'its farmer, its own agent',
    summary: 'I have read everything up to now',
    description: 'With `messageId` up to that message only.',
    params: ofConversation,
    body: { schema: MarkRead, required: false, examples: { upToOne: { messageId: ids.message }, everything: {} } },
    answers: [one(texts.read)],
    errors: ['FORBIDDEN', 'CONVERSATION_NOT_FOUND', 'MESSAGE_NOT_FOUND'],
  },
  {
    id: 'changeStatus',
    method: 'patch',
    path: `${apiBase}/conversations/{id}/status`,
    tag: 'Conversations',
    roles: desk,
    who: 'its own agent, Admin',
    summary: 'Resolve, close or give back',
    description: 'open → waiting, resolved, closed · waiting → closed · resolved → closed. The status it has already is no fault.',
    params: ofConversation,
    body: { schema: ChangeStatus, required: true, examples: { resolve: { status: 'resolved', reason: 'Advice was followed' } } },
    answers: [one(texts.status)],
    errors: ['FORBIDDEN', 'CONVERSATION_NOT_FOUND', 'ILLEGAL_TRANSITION', 'CONVERSATION_CLOSED'],
  },
  {
    id: 'listMessages',
    method: 'get',
    path: `${apiBase}/messages/{conversationId}`,
    tag: 'Messages',
    roles: everybody,
    who: 'who may read it',
    summary: 'History: page 1 is the newest, oldest first inside a page',
    description: '`beforeSeq` goes back from a message, `afterSeq` fetches what came after it; neither goes with `page`.',
    params: z.object({ conversationId: ConversationId }),
    query: ListMessages,
    answers: [
      {
        status: 200,
        text: texts.messages,
        data: { schema: z.array(MessageView), example: [message], more: paged, moreExample: { pagination: { ...page, limit: 50 } } },
      },
    ],
    errors: ['FORBIDDEN', 'CONVERSATION_NOT_FOUND'],
  },
  {
    id: 'sendMessage',
    method: 'post',
    path: `${apiBase}/messages`,
    tag: 'Messages',
    roles: everybody,
    who: 'its farmer, its own agent, Admin',
    summary: 'Send a message',
    description:
      'With `clientMessageId` (or `Idempotency-Key`, the same if both) a retry gets 200 and the original for at least 7 days. A farmer’s message to a closed conversation lands in the current one, which the answer names.',
    headers: z.object({ 'Idempotency-Key': ClientMessageId.optional() }),
    body: {
      schema: SendMessage.out,
      required: true,
      examples: {
        text: { conversationId: ids.conversation, messageType: 'text', content: 'Hello, I need help' },
        image: { conversationId: ids.conversation, messageType: 'image', mediaId: ids.media },
      },
    },
    answers: [
      { status: 201, text: texts.sent, data: { schema: MessageView, example: message } },
      { status: 200, text: texts.sent, data: { schema: MessageView, example: message } },
    ],
    errors: ['FORBIDDEN', 'CONVERSATION_NOT_FOUND', 'MEDIA_NOT_FOUND', 'CONVERSATION_CLOSED', 'IDEMPOTENCY_CONFLICT', 'MEDIA_IN_USE'],
  },
  {
    id: 'uploadMedia',
    method: 'post',
    path: `${apiBase}/media`,
    tag: 'Media',
    roles: everybody,
    who: 'User, Support, Admin',
    summary: 'Upload files before sending them',
    description: `At most ${mediaLimits.files} files of ${mediaLimits.bytesPerFile} bytes. What counts is the content, not the declared type. What no message uses within 7 days is removed.`,
    body: {
      type: 'multipart/form-data',
      required: true,
      schema: z.object({ media: z.array(z.file()).min(1).max(mediaLimits.files), type: MediaType }),
      examples: { image: { type: 'image', media: ['(bytes of crop_disease.jpg)'] } },
    },
    answers: [{ status: 201, text: texts.uploaded, data: { schema: z.array(MediaView), example: [media] } }],
    errors: ['PAYLOAD_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE', 'UNPROCESSABLE_MEDIA'],
  },
  {
    id: 'getFile',
    method: 'get',
    path: '/uploads/chat/{id}/{grant}/{name}',
    tag: 'Media',
    roles: everybody,
    who: 'who has the link, or may read the conversation it was sent in',
    summary: 'A file, by the link that came with its message',
    description:
      'Links stay the same for a day and are good for a day more at least. An expired one still works with the token of a person who may read the conversation.',
    token: 'optional',
    params: z.object({
      id: MediaId,
      grant: z.string().meta({ description: 'Expiry and signature.' }),
      name: z.string().meta({ description: 'The file’s name, encoded.' }),
    }),
    headers: z.object({ Range: z.string().optional() }),
    answers: [
      { status: 200, text: 'The file', binary: true },
      { status: 206, text: 'The range asked for', binary: true },
      { status: 304, text: 'The copy the client has is good' },
    ],
    errors: ['LINK_INVALID', 'NOT_FOUND', 'MEDIA_NOT_FOUND', 'RANGE_NOT_SATISFIABLE'],
  },
  {
    id: 'listSupportConversations',
    method: 'get',
    path: `${apiBase}/support/conversations`,
    tag: 'Support',
    roles: desk,
    who: 'Support, Admin',
    summary: 'The desk: my own and the waiting queue; for Admin all',
    query: ListSupportConversations,
    answers: [
      {
        status: 200,
        text: texts.conversations,
        data: {
          schema: z.array(ConversationView),
          example: [conversation],
          more: { ...paged, counts },
          moreExample: { ...pagedExample, counts: { waiting: 0, open: 1, resolved: 0, closed: 0 } },
        },
      },
    ],
    errors: ['FORBIDDEN'],
  },
  {
    id: 'claimConversation',
    method: 'post',
    path: `${apiBase}/support/conversations/{id}/claim`,
    tag: 'Support',
    roles: ['Support'],
    who: 'Support',
    summary: 'Take a waiting conversation',
    description: 'Exactly one claimer wins.',
    params: ofConversation,
    answers: [one(texts.claimed)],
    errors: ['FORBIDDEN', 'CONVERSATION_NOT_FOUND', 'ALREADY_ASSIGNED', 'AT_CAPACITY', 'CONVERSATION_CLOSED', 'ILLEGAL_TRANSITION'],
  },
  {
    id: 'reassignConversation',
    method: 'post',
    path: `${apiBase}/support/reassign`,
    tag: 'Support',
    roles: ['Admin'],
    who: 'Admin',
    summary: 'Give a conversation to an agent, or back to the queue',
    body: {
      schema: Reassign.out,
      required: true,
      examples: {
        toAgent: { conversationId: ids.conversation, supportId: ids.agent, reason: 'Speaks Marathi' },
        toQueue: { conversationId: ids.conversation, supportId: null },
      },
    },
    answers: [one(texts.reassigned)],
    errors: ['FORBIDDEN', 'CONVERSATION_NOT_FOUND', 'CONVERSATION_CLOSED', 'ILLEGAL_TRANSITION', 'AT_CAPACITY'],
  },
  {
    id: 'listAgents',
    method: 'get',
    path: `${apiBase}/support/agents`,
    tag: 'Support',
    roles: desk,
    who: 'Support, Admin',
    summary: 'Agents, whether they are online, and how many places they have',
    answers: [{ status: 200, text: texts.agents, data: { schema: z.array(AgentView), example: [agentOnDesk] } }],
    errors: ['FORBIDDEN'],
  },
  {
    id: 'setAvailability',
    method: 'patch',
    path: `${apiBase}/support/availability`,
    tag: 'Support',
    roles: ['Support'],
    who: 'Support',
    summary: 'Whether I take new conversations',
    body: { schema: SetAvailability, required: true, examples: { pause: { available: false } } },
    answers: [{ status: 200, text: texts.availability, data: { schema: AgentView, example: { ...agentOnDesk, available: false } } }],
    errors: ['FORBIDDEN'],
  },
  {
    id: 'getStats',
    method: 'get',
    path: `${apiBase}/support/stats`,
    tag: 'Support',
    roles: desk,
    who: 'Support (its own figures), Admin',
    summary: 'Figures of a span of time; durations in seconds',
    query: StatsQuery,
    answers: [{ status: 200, text: texts.stats, data: { schema: StatsView, example: stats } }],
    errors: ['FORBIDDEN'],
  },
]
