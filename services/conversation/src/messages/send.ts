// Sending a message: once per key, to the conversation that was named or to the one that took its place (spec 2 and 4).
import { AppError } from '@fieldline/contracts/errors'
import type { MessageCreated } from '@fieldline/contracts/events'
import type { ConversationId, MessageId, PersonId } from '@fieldline/contracts/ids'
import type { MediaSummary } from '@fieldline/contracts/media'
import type { Message, SendMessage } from '@fieldline/contracts/messages'
import type { Person } from '@fieldline/contracts/people'
import { newId } from '@fieldline/service/ids'
import type { Assignment } from '../assignment.port.ts'
import type { Commands } from '../conversations/commands.ts'
import type { ConversationStore } from '../conversations/conversation.store.ts'
import type { Conversation, Entry } from '../conversations/conversation.ts'
import type { Current } from '../conversations/current.ts'
import { contentHashOf, keyOf } from '../conversations/keys.ts'
import { isFarmer, mayWrite } from '../conversations/visibility.ts'
import { askedBy, saidIn, say } from './message.ts'

export interface Sent {
  readonly message: Message
  /** The conversation it landed in, with the message; of an earlier call's message, as it is stored now. */
  readonly conversation: Conversation
  /** False for one sent by an earlier call under this key. */
  readonly created: boolean
}

export interface MediaReservation {
  mediaId: string
  ownerId: string
  type: 'image' | 'audio' | 'video'
  conversationId: ConversationId
  messageId: MessageId
  /** Whose conversation it is: a farmer's file goes along to where the message lands. */
  farmerId: PersonId
}

export interface SendDeps {
  store: Pick<ConversationStore, 'load' | 'key' | 'message'>
  commands: Pick<Commands, 'execute' | 'cached'>
  current: Current
  assignment: Assignment
  /** @throws AppError MEDIA_NOT_FOUND, MEDIA_IN_USE, VALIDATION_FAILED, UNAVAILABLE */
  reserveMedia(reservation: MediaReservation): Promise<MediaSummary>
}

/** Closed conversations between the one named and the current one that are searched for a key not in the index yet. */
const longestChain = 50
/** How often a farmer's message may find its conversation closed under its hands. */
const maxLandings = 5

export function createSend({ store, commands, current, assignment, reserveMedia }: SendDeps) {
  /** @throws AppError CONVERSATION_NOT_FOUND, FORBIDDEN, CONVERSATION_CLOSED, IDEMPOTENCY_CONFLICT, UNAVAILABLE, those of media */
  return async function send(command: SendMessage, sender: Person): Promise<Sent> {
    const key = command.clientMessageId ?? null
    const content = command.content
    const mediaId = command.messageType === 'text' ? null : command.mediaId
    const contentHash = contentHashOf({ messageType: command.messageType, content, mediaId })
    const messageId = newId() as MessageId
    let named = await commands.cached(command.conversationId)
    if (!named) throw new AppError('CONVERSATION_NOT_FOUND', 'There is no such conversation')

    // The key speaks before status and rights: a retry gets its message whatever happened since. For the plain case the command itself looks, once.
    const plain = mediaId === null && named.status !== 'closed' && mayWrite(named, sender)
    const before = plain ? null : await knownIn(named)
    if (before) return original(before)

    let reserved = null as { media: MediaSummary; at: ConversationId } | null
    for (let landings = 0; landings < maxLandings; landings += 1) {
      const target = await landing(named)
      if (target.id !== named.id) {
        const earlier = await knownIn(named)
        if (earlier) return original(earlier)
      }
      if (mediaId !== null && command.messageType !== 'text' && reserved?.at !== target.id) {
        const reservation: MediaReservation = {
          mediaId,
          ownerId: sender.id,
          type: command.messageType,
          conversationId: target.id,
          messageId,
          farmerId: target.farmer.id,
        }
        reserved = { media: await reserveMedia(reservation), at: target.id }
      }
      const sent = await saidAt(target.id, reserved?.media ?? null)
      if (sent) return sent
      // Closed meanwhile: once more, from what is stored.
      named = (await store.load(command.conversationId)) ?? named
    }
    throw new AppError('UNAVAILABLE', 'The conversation is being changed; try again soon')

    /** Where this message goes. Refusals are decided on what is stored. */
    async function landing(asked: Conversation): Promise<Conversation> {
      if (mayWrite(asked, sender) && asked.status !== 'closed') return asked
      const stored = (await store.load(asked.id)) ?? asked
      if (!mayWrite(stored, sender)) throw new AppError('FORBIDDEN', 'This is not your conversation')
      if (stored.status !== 'closed') return stored
      if (!isFarmer(stored, sender)) throw new AppError('CONVERSATION_CLOSED', 'The conversation is closed')
      const { conversation, created } = await current.ensure(stored.farmer)
      if (created) assignment.kick()
      return conversation
    }

    async function saidAt(target: ConversationId, media: MediaSummary | null): Promise<Sent | null> {
      const sentTo = target === command.conversationId ? null : command.conversationId
      let place = null as { agentId: string; token: string } | null
      try {
        const executed = await commands.execute(target, {
          known: async (conversation) => {
            if (key === null) return null
            const found = saidIn(conversation.outbox, sender.id, key)
            return found ? checked(found) : indexed()
          },
          decide: async (conversation, now) => {
            const said = { messageId, sender, messageType: command.messageType, content, media, clientMessageId: key, sentTo }
            const agent = conversation.assigned?.person
            place = null
            if (conversation.status === 'resolved' && agent && isFarmer(conversation, sender)) {
              const token = await assignment.reserve(agent.id, conversation.id)
              place = token === null ? null : { agentId: agent.id, token }
            }
            return say(conversation, { ...said, placeToken: place?.token ?? null }, now)
          },
          abandoned: async () => {
            if (place) await assignment.cancel(place.agentId, place.token)
          },
        })
        const event = messageEvent(executed.entries)
        if (executed.repeated) return original(event)
        after(executed.conversation)
        return { message: event.data.message, conversation: executed.conversation, created: true }
      } catch (error) {
        const closed = error instanceof AppError && error.code === 'CONVERSATION_CLOSED'
        const stored = closed ? await store.load(target) : null
        if (stored && isFarmer(stored, sender)) return null
        throw error
      }
    }

    /** An admin's message, too, may be the first of an empty conversation that stood in no queue. */
    function after(conversation: Conversation): void {
      if (conversation.status === 'waiting') assignment.kick()
      else if (conversation.status === 'open' && isFarmer(conversation, sender)) assignment.farmerWrote(conversation)
    }

    /** What this key stands for already: in the outboxes from the farmer's current conversation back to the named one, then in the index. */
    async function knownIn(asked: Conversation): Promise<MessageCreated | null> {
      if (key === null) return null
      for (const conversation of asked.status === 'closed' ? await chain(asked) : [asked]) {
        const found = saidIn(conversation.outbox, sender.id, key)
        if (found) return messageEvent([checked(found)])
      }
      const found = await indexed()
      return found && messageEvent([found])
    }

    async function chain(asked: Conversation): Promise<Conversation[]> {
      const found: Conversation[] = []
      let next = await current.find(asked.farmer.id)
      while (next && next.id !== asked.id && found.length < longestChain) {
        found.push(next)
        next = next.previousConversationId && (await store.load(next.previousConversationId))
      }
      return [...found, (await store.load(asked.id)) ?? asked]
    }

    async function indexed(): Promise<Entry | null> {
      const known = await store.key(keyOf(sender.id, key ?? ''))
      if (!known) return null
      if (known.named !== command.conversationId || known.contentHash !== contentHash) throw conflict()
      const { conversationId, messageId: id } = known
      // Key and log entry are written side by side: between the two the message stands in its outbox, and leaves it only for the log.
      const logged = () => store.message(conversationId, id)
      const inOutbox = async () =>
        (await store.load(conversationId))?.outbox.find(({ event }) => event.type === 'message.created' && event.data.message.id === id)
      const entry = (await logged()) ?? (await inOutbox()) ?? (await logged())
      if (!entry) throw new Error(`the key of message ${id} is there, the message is not`)
      return entry
    }

    function checked(entry: Entry): Entry {
      const asked = askedBy(messageEvent([entry]))
      if (asked.named !== command.conversationId || contentHashOf(asked) !== contentHash) throw conflict()
      return entry
    }

    async function original(event: MessageCreated): Promise<Sent> {
      const conversation = await store.load(event.conversationid)
      if (!conversation) throw new Error(`conversation ${event.conversationid} of a known message is gone`)
      return { message: event.data.message, conversation, created: false }
    }
  }
}

function messageEvent(entries: readonly Entry[]): MessageCreated {
  for (const { event } of entries) if (event.type === 'message.created') return event
  throw new Error('a message was sent without its event')
}

function conflict(): AppError {
  return new AppError('IDEMPOTENCY_CONFLICT', 'This key was used for another message')
}
