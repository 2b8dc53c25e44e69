// The people, ids and answers that the API documents show: the seed's own, so that both tell one story.
import type { ConversationView } from './conversations.ts'
import { type ErrorCode, errorCodes } from './errors.ts'
import type { ConversationId, MediaId, MessageId } from './ids.ts'
import type { MediaView } from './media.ts'
import type { MessageView } from './messages.ts'
import type { AgentView, PersonView } from './people.ts'
import type { StatsView } from './stats.ts'

/** Where texts and examples say the API is; a document names its own server instead. */
export const developmentUrl = 'http://localhost:5000'

export const ids = {
  conversation: '671234567890abcdef123456' as ConversationId,
  message: '671234567890abcdef123457' as MessageId,
  media: '671234567890abcdef123458' as MediaId,
  farmer: 'user123',
  agent: 'support123',
} as const

export const farmer: PersonView = { _id: ids.farmer, first_name: 'Rajesh', last_name: 'Kumar', role: 'User' }
export const agent: PersonView = { _id: ids.agent, first_name: 'Asha', last_name: 'Patil', role: 'Support' }

export const media: MediaView = {
  _id: ids.media,
  name: 'crop_disease.jpg',
  type: 'image',
  url: `${developmentUrl}/uploads/chat/${ids.media}/t5xk00-3q2-7wEjRWeJq83v3q2-7wEjRWeJq83v3q2-7wEjRWc/crop_disease.jpg`,
  thumbnailUrl: `${developmentUrl}/uploads/chat/${ids.media}/t5xk00t-7wEjRWeJq83v3q2-7wEjRWeJq83v3q2-7wEjRWeJq8M/crop_disease.jpg`,
  format: 'image/jpeg',
  size: 345_678,
  width: 1_280,
  height: 960,
}

export const message: MessageView = {
  _id: ids.message,
  conversationId: ids.conversation,
  seq: 1,
  senderId: farmer,
  messageType: 'text',
  content: 'Hello, I need help',
  mediaId: null,
  media: null,
  isRead: false,
  readAt: null,
  clientMessageId: 'phone-1-42',
  createdAt: '2025-10-24T10:35:00.000Z',
}

export const conversation: ConversationView = {
  _id: ids.conversation,
  userId: { _id: ids.farmer, first_name: 'Rajesh', last_name: 'Kumar', phone: '+919876543210', isOnline: true },
  assignedSupportId: agent,
  status: 'open',
  unreadCount: { [ids.agent]: 1 },
  myUnreadCount: 0,
  lastMessage: {
    _id: ids.message,
    seq: 1,
    senderId: ids.farmer,
    messageType: 'text',
    content: 'Hello, I need help',
    createdAt: '2025-10-24T10:35:00.000Z',
  },
  lastSeq: 1,
  waitingSince: null,
  previousConversationId: null,
  createdAt: '2025-10-24T10:00:00.000Z',
  updatedAt: '2025-10-24T10:35:00.000Z',
}

export const page = { currentPage: 1, totalPages: 1, totalItems: 1, limit: 20, hasNextPage: false }

export const agentOnDesk: AgentView = {
  ...agent,
  isOnline: true,
  available: true,
  active: 1,
  capacity: 5,
  lastSeenAt: '2025-10-24T10:34:00.000Z',
}

const durations = { count: 1, average: 42, median: 42, p90: 42 }
const messages = { User: 1, Support: 1, Admin: 0 }
export const stats: StatsView = {
  range: { from: '2025-10-24T00:00:00.000Z', to: '2025-10-25T00:00:00.000Z', tz: 'UTC' },
  conversations: { total: 1, waiting: 0, open: 1, resolved: 0, closed: 0 },
  queue: { length: 0, oldestWaitSeconds: null },
  perDay: [{ date: '2025-10-24', created: 1, resolved: 0, reopened: 0, closed: 0, messages, media: { image: 0, audio: 0, video: 0 } }],
  totals: { created: 1, resolved: 0, reopened: 0, closed: 0, messages },
  waitingTime: durations,
  firstResponseTime: durations,
  resolutionTime: { count: 0, average: null, median: null, p90: null },
  agents: [{ agent, active: 1, resolved: 0, messages: 1, firstResponseTime: durations, replyTime: durations }],
}

/** What each code's text may read like. */
export const errorTexts: Readonly<Record<ErrorCode, string>> = {
  VALIDATION_FAILED: 'content: must not be blank',
  INVALID_JSON: 'The body is not valid JSON',
  BAD_REQUEST: 'The request is malformed',
  UNAUTHENTICATED: 'Authentication required',
  TOKEN_EXPIRED: 'The token has expired',
  FORBIDDEN: 'This is not your conversation',
  LINK_INVALID: 'The link is not valid any more',
  NOT_FOUND: 'There is nothing here',
  CONVERSATION_NOT_FOUND: 'There is no such conversation',
  MESSAGE_NOT_FOUND: 'There is no such message',
  MEDIA_NOT_FOUND: 'There is no such file of yours',
  METHOD_NOT_ALLOWED: 'DELETE is not allowed here',
  CONVERSATION_CLOSED: 'The conversation is closed',
  ILLEGAL_TRANSITION: 'A closed conversation cannot become open',
  ALREADY_ASSIGNED: 'Another agent has this conversation already',
  AT_CAPACITY: 'The agent has as many open conversations as allowed',
  IDEMPOTENCY_CONFLICT: 'This key was used for another message',
  MEDIA_IN_USE: 'The file is used in another conversation; upload it again',
  PAYLOAD_TOO_LARGE: 'The body is too large',
  UNSUPPORTED_MEDIA_TYPE: 'A file of this kind is not accepted',
  RANGE_NOT_SATISFIABLE: 'The range is not satisfiable',
  UNPROCESSABLE_MEDIA: 'The image can not be read',
  RATE_LIMITED: 'Too many requests; try again later',
  INTERNAL: 'Internal server error',
  BAD_GATEWAY: 'conversation gave no usable answer',
  UNAVAILABLE: 'conversation is not available now',
}

export function errorExample(code: ErrorCode) {
  if (!errorCodes.includes(code)) throw new Error(`${code} is no error code`)
  return {
    success: false,
    message: errorTexts[code],
    code,
    requestId: 'b7c9a3e0-5f7e-4c57-9a54-0b6d6a1f2f10',
    ...(code === 'VALIDATION_FAILED' ? { details: [{ field: 'content', message: 'must not be blank' }] } : {}),
  }
}
