// What people are told without having joined: new messages, and conversations that enter, leave or change in their lists (spec 5).
import { type ConversationState, conversationView } from '@fieldline/contracts/conversations'
import type { ConversationEvent, MessageCreated } from '@fieldline/contracts/events'
import type { SignLink } from '@fieldline/contracts/media'
import { messageView } from '@fieldline/contracts/messages'
import { displayName } from '@fieldline/contracts/people'
import type { Audience } from './audience.ts'
import type { RealtimeMetrics } from './metrics.ts'
import { isParticipant, mayRead, partiesOf, withoutContent } from './rights.ts'
import type { Session } from './session.ts'

export interface NoticeDeps {
  readonly audience: Audience
  readonly metrics: RealtimeMetrics
  readonly sign: SignLink
  readonly supportSees: 'own' | 'all'
  /** Is this person online, as far as is known here without waiting? */
  readonly isOnline: (personId: string) => boolean | undefined
  /** Looks it up, so that it is known. */
  readonly findOut: (personId: string) => Promise<void>
}

export function createNotices({ audience, metrics, sign, supportSees, isOnline, findOut }: NoticeDeps) {
  function ofMessage({ message, farmerId, assignedId }: MessageCreated['data']): void {
    const to = new Set<Session>()
    const add = (sessions: ReadonlySet<Session>) => {
      for (const session of sessions)
        if (session.person.id !== message.sender.id && !session.joined.has(message.conversationId)) to.add(session)
    }
    add(audience.of(farmerId))
    add(assignedId === null ? audience.agents : audience.of(assignedId))
    if (to.size === 0) return
    const sender = { id: message.sender.id, name: displayName(message.sender) }
    audience.say(to, 'notification:new-message', {
      conversationId: message.conversationId,
      message: messageView(message, null, sign),
      sender,
    })
    metrics.emits.inc({ event: 'notification:new-message' }, to.size)
  }

  /** Everyone whose lists it changes: participants, the one it was taken from, admins, and agents where it enters or leaves the queue. */
  function ofConversation(
    event: 'conversation:assigned' | 'conversation:updated',
    state: ConversationState,
    wider: { former?: string | undefined; queue: boolean; admins: boolean },
  ): void {
    const to = new Set<Session>([...audience.of(state.farmer.id), ...(state.assigned ? audience.of(state.assigned.id) : [])])
    if (wider.former !== undefined) for (const session of audience.of(wider.former)) to.add(session)
    if (wider.queue || supportSees === 'all') for (const session of audience.agents) to.add(session)
    if (wider.admins) for (const session of audience.admins) to.add(session)
    const parties = partiesOf(state)
    const online = isOnline(state.farmer.id) ?? false
    for (const session of to) {
      const seen =
        isParticipant(parties, session.person.id) || mayRead(parties, session.person, supportSees) ? state : withoutContent(state)
      session.emit(event, { conversation: conversationView(seen, session.person.id, online) })
    }
    metrics.emits.inc({ event }, to.size)
  }

  const lookups = new Map<string, Promise<void>>()

  function notice(event: ConversationEvent): void {
    if (event.type === 'message.created') {
      ofMessage(event.data)
      return
    }
    const farmerId = event.data.conversation.farmer.id
    const looking = lookups.get(farmerId)
    if (looking === undefined && isOnline(farmerId) !== undefined) {
      ofEvent(event)
      return
    }
    // Views tell whether the farmer is online: whoever is unknown here is looked up first, in order for one farmer.
    const next = (looking ?? findOut(farmerId).catch(() => undefined)).then(() => {
      ofEvent(event)
      if (lookups.get(farmerId) === next) lookups.delete(farmerId)
    })
    lookups.set(farmerId, next)
  }

  function ofEvent(event: Exclude<ConversationEvent, MessageCreated>): void {
    const { conversation } = event.data
    const queue = conversation.status === 'waiting'
    if (event.type === 'conversation.created') ofConversation('conversation:updated', conversation, { queue, admins: true })
    else if (event.type === 'conversation.read') ofConversation('conversation:updated', conversation, { queue: false, admins: false })
    else if (event.type === 'conversation.status-changed')
      ofConversation('conversation:updated', conversation, { queue: queue || event.data.from === 'waiting', admins: true })
    else {
      const { from, to } = event.data
      ofConversation('conversation:assigned', conversation, { former: from?.id, queue: from === null || to === null, admins: true })
    }
  }

  return notice
}
