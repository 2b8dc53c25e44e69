// HTTP door of the support desk: agents, their availability, claiming and reassigning, and why a conversation is whose (spec 2).
import { type AssignmentView, type ConversationView, Reassign } from '@fieldline/contracts/conversations'
import { texts } from '@fieldline/contracts/envelopes'
import type { ConversationId } from '@fieldline/contracts/ids'
import { IdParams } from '@fieldline/contracts/internal'
import { type Person, SetAvailability } from '@fieldline/contracts/people'
import { requireRole } from '@fieldline/service/auth'
import { parse, refuseHarmful } from '@fieldline/service/parse'
import { Router } from 'express'
import type { Agents } from './agents.ts'

/** What a person asks of assignment. Each answers with the conversation as that person sees it. */
export interface SupportDesk {
  /** @throws AppError CONVERSATION_NOT_FOUND, ALREADY_ASSIGNED, ILLEGAL_TRANSITION, CONVERSATION_CLOSED, AT_CAPACITY, UNAVAILABLE */
  claim(conversationId: ConversationId, by: Person): Promise<ConversationView>
  /** @throws AppError CONVERSATION_NOT_FOUND, VALIDATION_FAILED no known agent, ILLEGAL_TRANSITION, CONVERSATION_CLOSED, AT_CAPACITY, UNAVAILABLE */
  reassign(asked: Reassign, by: Person): Promise<ConversationView>
  /** The decisions about who is assigned, oldest first. @throws AppError CONVERSATION_NOT_FOUND, FORBIDDEN */
  decisions(conversationId: ConversationId, by: Person): Promise<AssignmentView[]>
}

/** Behind `authenticate` and the recognising of people, so that roles are the ones that count. */
export function supportRoutes({ desk, agents }: { desk: SupportDesk; agents: Pick<Agents, 'list' | 'setAvailable'> }): Router {
  const routes = Router()

  routes.post('/support/conversations/:id/claim', requireRole('Support'), async (req, res) => {
    const { id } = parse(IdParams.conversation, req.params, 'params')
    refuseHarmful(req.body)
    res.json({ message: texts.claimed, data: await desk.claim(id, req.person) })
  })

  routes.post('/support/reassign', requireRole('Admin'), async (req, res) => {
    res.json({ message: texts.reassigned, data: await desk.reassign(parse(Reassign, req.body), req.person) })
  })

  routes.get('/support/agents', requireRole('Support', 'Admin'), async (_req, res) => {
    res.json({ message: texts.agents, data: await agents.list() })
  })

  routes.patch('/support/availability', requireRole('Support'), async (req, res) => {
    const { available } = parse(SetAvailability, req.body)
    res.json({ message: texts.availability, data: await agents.setAvailable(req.person.id, available) })
  })

  routes.get('/conversations/:id/assignments', async (req, res) => {
    const { id } = parse(IdParams.conversation, req.params, 'params')
    res.json({ message: texts.assignments, data: await desk.decisions(id, req.person) })
  })

  return routes
}
