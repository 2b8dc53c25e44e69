// How conversations and messages are shown: people by their newest names, links signed now (spec 2).
import { type ConversationState, type ConversationView, conversationView } from '@fieldline/contracts/conversations'
import type { States } from '@fieldline/contracts/internal'
import type { SignLink } from '@fieldline/contracts/media'
import { type Message, type MessageView, messageView } from '@fieldline/contracts/messages'
import { readOf } from '../messages/marks.ts'
import type { People } from '../people/people.ts'
import type { KnownPerson } from '../people/person.ts'
import { type Conversation, stateOf } from './conversation.ts'
import type { Viewer } from './visibility.ts'

export interface Views {
  conversations(conversations: readonly Conversation[], viewer: Pick<Viewer, 'id'>): Promise<ConversationView[]>
  conversation(conversation: Conversation, viewer: Pick<Viewer, 'id'>): Promise<ConversationView>
  messages(conversation: Conversation, messages: readonly Message[]): Promise<MessageView[]>
  /** A message just sent: its sender's names are the newest there are. */
  sent(conversation: Conversation, message: Message): MessageView
  /** States between services, with the newest names. */
  states(conversations: readonly Conversation[]): Promise<States['states']>
  /** Messages between services, with the newest names. */
  named(messages: readonly Message[]): Promise<Message[]>
}

export function createViews({ people, sign }: { people: Pick<People, 'find'>; sign: SignLink }): Views {
  async function conversations(all: readonly Conversation[], viewer: Pick<Viewer, 'id'>): Promise<ConversationView[]> {
    return (await states(all)).map(({ conversation, farmerOnline }) => conversationView(conversation, viewer.id, farmerOnline))
  }

  async function states(all: readonly Conversation[]): Promise<States['states']> {
    const known = await people.find(all.flatMap(partiesOf))
    return all.map((one) => ({ conversation: withNames(one, known), farmerOnline: known.get(one.farmer.id)?.online ?? false }))
  }

  async function named(messages: readonly Message[]): Promise<Message[]> {
    const known = await people.find([...new Set(messages.map(({ sender }) => sender.id))])
    return messages.map((message) => {
      const sender = known.get(message.sender.id)
      // The role stays the one it was said in.
      return sender ? { ...message, sender: { ...message.sender, firstName: sender.firstName, lastName: sender.lastName } } : message
    })
  }

  return {
    conversations,
    async conversation(conversation, viewer) {
      const [view] = await conversations([conversation], viewer)
      return view as ConversationView
    },
    async messages(conversation, messages) {
      return (await named(messages)).map((message) => messageView(message, readOf(conversation, message), sign))
    },
    sent: (conversation, message) => messageView(message, readOf(conversation, message), sign),
    states,
    named,
  }
}

function partiesOf({ farmer, assigned }: Conversation): string[] {
  return assigned ? [farmer.id, assigned.person.id] : [farmer.id]
}

function withNames(conversation: Conversation, known: ReadonlyMap<string, KnownPerson>): ConversationState {
  const state = stateOf(conversation)
  return { ...state, farmer: renamed(state.farmer, known), assigned: state.assigned && renamed(state.assigned, known) }
}

function renamed(person: ConversationState['farmer'], known: ReadonlyMap<string, KnownPerson>): ConversationState['farmer'] {
  const newest = known.get(person.id)
  return newest && newest.iat > 0 ? { ...person, firstName: newest.firstName, lastName: newest.lastName, phone: newest.phone } : person
}
