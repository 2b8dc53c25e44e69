// REST envelopes: what every success and every failure looks like (spec 2), and the seed's texts.
import { z } from 'zod'
import { errorCodes } from './errors.ts'
import { Pagination } from './pages.ts'

export const ErrorEnvelope = z.object({
  success: z.literal(false),
  message: z.string(),
  code: z.enum(errorCodes),
  requestId: z.string(),
  details: z.array(z.object({ field: z.string(), message: z.string() })).optional(),
})
export type ErrorEnvelope = z.infer<typeof ErrorEnvelope>

export function success<Data extends z.ZodType>(data: Data) {
  return z.object({ message: z.string(), data })
}
export function successPage<Item extends z.ZodType>(item: Item) {
  return z.object({ message: z.string(), data: z.array(item), pagination: Pagination })
}

export const texts = {
  conversation: 'Conversation retrieved successfully',
  conversations: 'Conversations fetched successfully',
  messages: 'Messages fetched successfully',
  sent: 'Message sent successfully',
  read: 'Messages marked as read',
  status: 'Conversation status updated successfully',
  claimed: 'Conversation claimed successfully',
  reassigned: 'Conversation reassigned successfully',
  assignments: 'Assignments fetched successfully',
  agents: 'Agents fetched successfully',
  availability: 'Availability updated successfully',
  stats: 'Statistics fetched successfully',
  uploaded: 'Media uploaded successfully',
} as const

/** Everything under here is the public API. */
export const apiBase = '/api/v1/chat'
