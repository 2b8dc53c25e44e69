// Tells the life of a conversation as the events conversation would publish, in their order. For tests.
import type { assignmentReasons, ConversationState, Status } from '@fieldline/contracts/conversations'
import { ConversationEvent, type MediaUploaded } from '@fieldline/contracts/events'
import type { MediaType } from '@fieldline/contracts/media'
import type { PersonSummary } from '@fieldline/contracts/people'

type Reason = (typeof assignmentReasons)[number]

export interface Who {
  id: string
  role: PersonSummary['role']
  firstName: string
  lastName: string
}

export const rajesh: Who = { id: 'rajesh', role: 'User', firstName: 'Rajesh', lastName: 'Kumar' }
export const asha: Who = { id: 'asha', role: 'Support', firstName: 'Asha', lastName: 'Patil' }
export const meena: Who = { id: 'meena', role: 'Support', firstName: 'Meena', lastName: 'Iyer' }
export const anil: Who = { id: 'anil', role: 'Admin', firstName: 'Anil', lastName: 'Rao' }

/** A 24-digit id out of a small number. */
export function idOf(number: number): string {
  return number.toString(16).padStart(24, '0')
}

export interface Story {
  readonly id: string
  readonly events: ConversationEvent[]
  readonly status: Status
  readonly assigned: Who | null
  created(at: Date): Story
  says(who: Who, at: Date): Story
  /** Out of the queue, or from one agent to another. */
  assign(to: Who, at: Date, reason?: Reason): Story
  /** Back to the queue. */
  release(at: Date, reason?: Reason): Story
  /** An empty one leaves its agent, or the queue, until its first message. */
  empty(at: Date): Story
  resolve(at: Date): Story
  /** A farmer's message to a resolved conversation: to its agent, or to the queue; the message's event first, or last. */
  reopen(at: Date, toQueue: boolean, messageFirst?: boolean): Story
  close(at: Date): Story
  reads(who: Who, at: Date): Story
}

export function story(number: number, farmer: Who = rajesh): Story {
  const id = idOf(number)
  const events: ConversationEvent[] = []
  const summary = (who: Who): PersonSummary => ({ ...who, phone: null })
  let state: ConversationState
  let assigned: Who | null = null

  function emit(type: string, at: Date, data: object): void {
    const eventno = events.length + 1
    const time = at.toISOString()
    const common = { specversion: '1.0', id: `${id}-${eventno}`, source: 'conversation', time, datacontenttype: 'application/json' }
    events.push(ConversationEvent.parse({ ...common, type, conversationid: id, eventno, data }))
  }
  function become(at: Date, change: Partial<ConversationState>): void {
    state = { ...state, ...change, updatedAt: at.toISOString() }
  }
  function give(to: Who | null, at: Date, reason: Reason): void {
    const from = assigned
    assigned = to
    emit('conversation.assigned', at, {
      from: from && summary(from),
      to: to && summary(to),
      reason,
      note: null,
      by: 'system',
      conversation: state,
    })
  }
  function turn(from: Status, to: Status, at: Date, reopened = false): void {
    if (from !== to) emit('conversation.status-changed', at, { from, to, reason: null, by: 'system', reopened, conversation: state })
  }
  function say(who: Who, at: Date): void {
    const seq = state.lastSeq + 1
    become(at, { lastSeq: seq })
    const { id: senderId, ...names } = who
    const message = {
      id: idOf(number * 100_000 + seq),
      conversationId: id,
      seq,
      sender: { id: senderId, ...names },
      messageType: 'text',
      content: `message ${seq}`,
      media: null,
      clientMessageId: null,
      createdAt: at.toISOString(),
    }
    emit('message.created', at, {
      message,
      farmerId: farmer.id,
      assignedId: state.assigned?.id ?? null,
      status: state.status,
      sentTo: null,
    })
  }

  const tale: Story = {
    id,
    events,
    get status() {
      return state.status
    },
    get assigned() {
      return assigned
    },
    created(at) {
      const time = at.toISOString()
      state = {
        id: id as ConversationState['id'],
        farmer: summary(farmer),
        assigned: null,
        status: 'waiting',
        unread: [],
        lastMessage: null,
        lastSeq: 0,
        waitingSince: time,
        previousConversationId: null,
        createdAt: time,
        updatedAt: time,
      }
      emit('conversation.created', at, { conversation: state })
      return tale
    },
    says(who, at) {
      if (state.status === 'waiting' && state.waitingSince === null) become(at, { waitingSince: at.toISOString() })
      say(who, at)
      return tale
    },
    assign(to, at, reason = 'least-busy') {
      const { status } = state
      become(at, { assigned: summary(to), status: 'open', waitingSince: null })
      give(to, at, reason)
      turn(status, 'open', at)
      return tale
    },
    release(at, reason = 'released-by-agent') {
      become(at, { assigned: null, status: 'waiting', waitingSince: at.toISOString() })
      give(null, at, reason)
      turn('open', 'waiting', at)
      return tale
    },
    empty(at) {
      const { status } = state
      become(at, { assigned: null, status: 'waiting', waitingSince: null })
      give(null, at, 'empty')
      turn(status, 'waiting', at)
      return tale
    },
    resolve(at) {
      become(at, { status: 'resolved' })
      turn('open', 'resolved', at)
      return tale
    },
    reopen(at, toQueue, messageFirst = true) {
      const before = assigned
      become(at, {
        status: toQueue ? 'waiting' : 'open',
        assigned: toQueue || !before ? null : summary(before),
        waitingSince: toQueue ? at.toISOString() : null,
      })
      if (messageFirst) say(farmer, at)
      give(toQueue ? null : before, at, 'reopened')
      turn('resolved', toQueue ? 'waiting' : 'open', at, true)
      if (!messageFirst) say(farmer, at)
      return tale
    },
    close(at) {
      const { status } = state
      become(at, { status: 'closed', waitingSince: null })
      turn(status, 'closed', at)
      return tale
    },
    reads(who, at) {
      const { id: readerId, ...names } = who
      emit('conversation.read', at, {
        reader: { id: readerId, ...names },
        side: who.role === 'User' ? 'farmer' : 'support',
        fromSeq: 0,
        upToSeq: Math.max(1, state.lastSeq),
        readAt: at.toISOString(),
        messages: [],
        conversation: state,
      })
      return tale
    },
  }
  return tale
}

export function upload(number: number, type: MediaType, ownerId: string, at: Date): MediaUploaded {
  const time = at.toISOString()
  const media = {
    id: idOf(number) as MediaUploaded['data']['media']['id'],
    name: 'leaf.jpg',
    type,
    format: 'image/jpeg',
    size: 9,
    hasThumbnail: false,
  }
  const common = { specversion: '1.0' as const, id: `media-${number}`, source: 'media', time, datacontenttype: 'application/json' as const }
  return { ...common, type: 'media.uploaded', data: { media, ownerId, at: time } }
}
