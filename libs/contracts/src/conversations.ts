// Conversations as they cross a wire: state between services, the view a client gets, and the commands of spec 2.
import { z } from 'zod'
import { ConversationId, MessageId, PersonId } from './ids.ts'
import { MessageType } from './messages.ts'
import { optional } from './optional.ts'
import { byNumberOrCursor, CursorField, limitField, listPageField } from './pages.ts'
import { FarmerView, PersonSummary, PersonView, personView } from './people.ts'

export const statuses = ['waiting', 'open', 'resolved', 'closed'] as const
export const Status = z.enum(statuses)
export type Status = z.infer<typeof Status>

/** The newest message as lists show it; `content` cut to 200 code points. */
export const LastMessage = z.object({
  id: MessageId,
  seq: z.number().int(),
  senderId: PersonId,
  messageType: MessageType,
  content: z.string().nullable(),
  createdAt: z.iso.datetime(),
})
export type LastMessage = z.infer<typeof LastMessage>

/** A read mark: messages up to `seq` were read at `at` the latest. `steps` are its last moves, oldest first, so that `readAt` of a message can be told. */
export const Mark = z.object({
  personId: PersonId,
  side: z.enum(['farmer', 'support']),
  seq: z.number().int().nonnegative(),
  steps: z.array(z.object({ seq: z.number().int(), at: z.iso.datetime() })),
})
export type Mark = z.infer<typeof Mark>

/** A conversation between services (in events and snapshots): everything but history. People are items, never keys. */
export const ConversationState = z.object({
  id: ConversationId,
  farmer: PersonSummary,
  assigned: PersonSummary.nullable(),
  status: Status,
  /** Unread messages by person, zeros left out. */
  unread: z.array(z.object({ personId: PersonId, count: z.number().int().positive() })),
  lastMessage: LastMessage.nullable(),
  lastSeq: z.number().int().nonnegative(),
  waitingSince: z.iso.datetime().nullable(),
  previousConversationId: ConversationId.nullable(),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
})
export type ConversationState = z.infer<typeof ConversationState>

/** The conversation as a client sees it. */
export const ConversationView = z.object({
  _id: ConversationId,
  userId: FarmerView,
  assignedSupportId: PersonView.nullable(),
  status: Status,
  unreadCount: z.record(z.string(), z.number().int()),
  myUnreadCount: z.number().int(),
  lastMessage: z
    .object({
      _id: MessageId,
      seq: z.number().int(),
      senderId: PersonId,
      messageType: MessageType,
      content: z.string().nullable(),
      createdAt: z.iso.datetime(),
    })
    .nullable(),
  lastSeq: z.number().int(),
  waitingSince: z.iso.datetime().nullable(),
  previousConversationId: ConversationId.nullable(),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
})
export type ConversationView = z.infer<typeof ConversationView>

/** Shows a conversation to `viewer`. People's ids become keys only here, in an object without a prototype. */
export function conversationView(state: ConversationState, viewerId: string, farmerOnline: boolean): ConversationView {
  const unreadCount: Record<string, number> = Object.create(null)
  for (const { personId, count } of state.unread) unreadCount[personId] = count
  const last = state.lastMessage
  return {
    _id: state.id,
    userId: {
      _id: state.farmer.id,
      first_name: state.farmer.firstName,
      last_name: state.farmer.lastName,
      phone: state.farmer.phone,
      isOnline: farmerOnline,
    },
    assignedSupportId: state.assigned ? personView(state.assigned) : null,
    status: state.status,
    unreadCount,
    myUnreadCount: state.unread.find(({ personId }) => personId === viewerId)?.count ?? 0,
    lastMessage: last
      ? {
          _id: last.id,
          seq: last.seq,
          senderId: last.senderId,
          messageType: last.messageType,
          content: last.content,
          createdAt: last.createdAt,
        }
      : null,
    lastSeq: state.lastSeq,
    waitingSince: state.waitingSince,
    previousConversationId: state.previousConversationId,
    createdAt: state.createdAt,
    updatedAt: state.updatedAt,
  }
}

const ReasonText = optional(z.string().max(500))

/** `GET /conversations`. `cursor` and `page` exclude each other. */
export const ListConversations = z
  .object({ status: Status.optional(), page: listPageField, limit: limitField(20), cursor: CursorField.optional() })
  .superRefine(byNumberOrCursor)
export type ListConversations = z.infer<typeof ListConversations>

/** `GET /support/conversations`. `assignedTo`: `me`, `none` or a person's id. */
export const ListSupportConversations = z
  .object({
    status: Status.optional(),
    assignedTo: PersonId.optional(),
    sort: z.enum(['activity', 'waitingSince']).default('activity'),
    page: listPageField,
    limit: limitField(20),
    cursor: CursorField.optional(),
  })
  .superRefine(byNumberOrCursor)
export type ListSupportConversations = z.infer<typeof ListSupportConversations>

/** `PATCH /conversations/:id/status` */
export const ChangeStatus = z.object({ status: Status, reason: ReasonText })
export type ChangeStatus = z.infer<typeof ChangeStatus>

/** `PATCH /conversations/:id/read`: up to which message; without one, all. */
export const MarkRead = z.object({ messageId: optional(MessageId) })
export type MarkRead = z.infer<typeof MarkRead>

/** `POST /support/reassign`. `null` puts the conversation back in the queue. `assignedSupportId` is another name of `supportId`. */
export const Reassign = z.preprocess(
  (body) => {
    if (typeof body !== 'object' || body === null || Array.isArray(body)) return body
    const { supportId, assignedSupportId } = body as Record<string, unknown>
    // Whoever writes the name it does not use as `null` means the other.
    return { ...body, supportId: supportId ?? (assignedSupportId === undefined ? supportId : assignedSupportId) }
  },
  z.object({
    conversationId: ConversationId,
    supportId: PersonId.nullable(),
    reason: ReasonText,
    force: optional(z.boolean()),
  }),
)
export type Reassign = z.infer<typeof Reassign>

/** Why an assignment was decided as it was; kept with the decision (spec 3). */
export const assignmentReasons = [
  'least-busy',
  'claimed',
  'reassigned',
  'released-by-admin',
  'released-by-agent',
  'agent-gone',
  'empty',
  'reopened',
  'resolved',
  'closed',
] as const
export const AssignmentReason = z.enum(assignmentReasons)
export type AssignmentReason = z.infer<typeof AssignmentReason>

/** One decision of `GET /conversations/:id/assignments`. */
export const AssignmentView = z.object({
  from: PersonView.nullable(),
  to: PersonView.nullable(),
  reason: AssignmentReason,
  /** What a person wrote with it. */
  note: z.string().nullable(),
  /** Who decided: a person's id, or `system`. */
  by: z.string(),
  at: z.iso.datetime(),
})
export type AssignmentView = z.infer<typeof AssignmentView>
