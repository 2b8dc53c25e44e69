// What people are told without having joined: new messages, and conversations that enter, leave or change in their lists (spec 5).
import { type ConversationState, conversationView } from '@fieldline/contracts/conversations'
import type { ConversationEvent, MessageCreated } from '@fieldline/contracts/events'
import type { ConversationId } from '@fieldline/contracts/ids'
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
  /** A message changed lists whose owners may hear nothing of it here. */
  readonly listChanged: (id: ConversationId, senderId: string) => void
}

/** Shows a conversation to each of these as that person may see it. */
export function createTeller({ metrics, supportSees }: Pick<NoticeDeps, 'metrics' | 'supportSees'>) {
  return function tell(
    event: 'conversation:assigned' | 'conversation:updated',
    state: ConversationState,
    to: ReadonlySet<Session>,
    farmerOnline: boolean,
  ): void {
    const parties = partiesOf(state)
    for (const session of to) {
      const seen =
        isParticipant(parties, session.person.id) || mayRead(parties, session.person, supportSees) ? state : withoutContent(state)
      session.emit(event, { conversation: conversationView(seen, session.person.id, farmerOnline) })
    }
    metrics.emits.inc({ event }, to.size)
  }
}

export function createNotices({ audience, metrics, sign, supportSees, isOnline, findOut, listChanged }: NoticeDeps) {
  const tell = createTeller({ metrics, supportSees })

  function ofMessage({ message, farmerId, assignedId }: MessageCreated['data']): void {
    const to = new Set<Session>()
    const add = (sessions: ReadonlySet<Session>) => {
      for (const session of sessions)
        if (session.person.id !== message.sender.id && !session.joined.has(message.conversationId)) to.add(session)
    }
    add(audience.of(farmerId))
    add(assignedId === null ? audience.agents : audience.of(assignedId))
    listChanged(message.conversationId, message.sender.id)
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
    wider: { former?: string | undefined; queue: boolean },
  ): void {
    const to = new Set<Session>([...audience.of(state.farmer.id), ...(state.assigned ? audience.of(state.assigned.id) : [])])
    if (wider.former !== undefined) for (const session of audience.of(wider.former)) to.add(session)
    if (wider.queue || supportSees === 'all') for (const session of audience.agents) to.add(session)
    for (const session of audience.admins) to.add(session)
    tell(event, state, to, isOnline(state.farmer.id) ?? false)
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
    if (event.type === 'conversation.created') ofConversation('conversation:updated', conversation, { queue })
    else if (event.type === 'conversation.read') ofConversation('conversation:updated', conversation, { queue: false })
    else if (event.type === 'conversation.status-changed')
      ofConversation('conversation:updated', conversation, { queue: queue || event.data.from === 'waiting' })
    else {
      const { from, to } = event.data
      ofConversation('conversation:assigned', conversation, { former: from?.id, queue: from === null || to === null })
    }
  }

  return notice
}
