// People as they cross a wire: who a token names, and how a person is shown beside a conversation or a message.
import { z } from 'zod'
import { PersonId } from './ids.ts'

export const roles = ['User', 'Support', 'Admin'] as const
export const Role = z.enum(roles)
export type Role = z.infer<typeof Role>

/** Whom a verified token names. `iat` and `exp` in seconds since 1970; `exp` is null where `JWT_REQUIRE_EXP=false` allows it. */
export interface Person {
  id: PersonId
  role: Role
  firstName: string
  lastName: string
  phone: string | null
  iat: number
  exp: number | null
}

/** A person in events and between services. */
export const PersonSummary = z.object({
  id: PersonId,
  role: Role,
  firstName: z.string().max(256),
  lastName: z.string().max(256),
  phone: z.string().max(64).nullable(),
})
export type PersonSummary = z.infer<typeof PersonSummary>

/** The farmer of a conversation, as the seed shows `userId`. */
export const FarmerView = z.object({
  _id: PersonId,
  first_name: z.string(),
  last_name: z.string(),
  phone: z.string().nullable(),
  isOnline: z.boolean(),
})
export type FarmerView = z.infer<typeof FarmerView>

/** An agent or a sender, as the seed shows `assignedSupportId` and `senderId`. */
export const PersonView = z.object({ _id: PersonId, first_name: z.string(), last_name: z.string(), role: Role })
export type PersonView = z.infer<typeof PersonView>

export const AgentView = z.object({
  _id: PersonId,
  first_name: z.string(),
  last_name: z.string(),
  role: Role,
  isOnline: z.boolean(),
  available: z.boolean(),
  /** Conversations that hold one of the agent's places. */
  active: z.number().int(),
  capacity: z.number().int(),
  lastSeenAt: z.iso.datetime().nullable(),
})
export type AgentView = z.infer<typeof AgentView>

/** What a person reads about another: first and last name, or the id where both are blank. */
export function displayName(person: { id: string; firstName: string; lastName: string }): string {
  return `${person.firstName} ${person.lastName}`.trim() || person.id
}

export function personView(person: PersonSummary): PersonView {
  return { _id: person.id, first_name: person.firstName, last_name: person.lastName, role: person.role }
}

export const SetAvailability = z.object({ available: z.boolean() })
export type SetAvailability = z.infer<typeof SetAvailability>
