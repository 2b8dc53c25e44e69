// `conversation:updated` after a message, to those whose lists it changes and who hear neither the message nor a notification of it: admins, the sender's other devices.
import type { ConversationState } from '@fieldline/contracts/conversations'
import type { ConversationId } from '@fieldline/contracts/ids'
import type { Logger } from '@fieldline/service/logger'
import type { Audience } from './audience.ts'
import type { Conversations } from './conversation.client.ts'
import type { Session } from './session.ts'

export interface ListUpdatesDeps {
  readonly audience: Audience
  readonly conversations: Pick<Conversations, 'states'>
  readonly log: Logger
  readonly supportSees: 'own' | 'all'
  /** At most one for a conversation in this time, the last change included. */
  readonly everyMs: number
  readonly tell: (event: 'conversation:updated', state: ConversationState, to: ReadonlySet<Session>, farmerOnline: boolean) => void
}

const atOnce = 500
/** What waits beyond this is not told: a list shows it at its next change. */
const mostWaiting = 20_000

export class ListUpdates {
  readonly #deps: ListUpdatesDeps
  /** Who said something in which conversation since the last round. */
  readonly #waiting = new Map<ConversationId, Set<string>>()
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(deps: ListUpdatesDeps) {
    this.#deps = deps
  }

  /** @param senderId left out where none of the sender's devices is here */
  changed(id: ConversationId, senderId?: string): void {
    const senders = senderId === undefined ? [] : [senderId]
    if (this.#stopped || !this.#concerns(id, senders)) return
    const before = this.#waiting.get(id)
    if (!before && this.#waiting.size >= mostWaiting) return
    this.#waiting.set(id, new Set([...(before ?? []), ...senders]))
    this.#timer ??= setTimeout(() => void this.#round(), this.#deps.everyMs).unref()
  }
  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  async #round(): Promise<void> {
    const { conversations, log, everyMs, tell } = this.#deps
    const round = new Map(this.#waiting)
    const ids = [...round.keys()]
    this.#waiting.clear()
    try {
      for (let at = 0; at < ids.length; at += atOnce)
        for (const { conversation, farmerOnline } of await conversations.states(ids.slice(at, at + atOnce))) {
          const senders = round.get(conversation.id) ?? new Set()
          const to = new Set([...this.#hearers(conversation.id, senders)].filter((session) => !isNotified(session, conversation, senders)))
          if (to.size > 0) tell('conversation:updated', conversation, to, farmerOnline)
          round.delete(conversation.id)
        }
    } catch (error) {
      log.debug({ err: error }, 'states could not be read')
      // Whoever is told again has it twice; whoever isn't has an old list.
      for (const [id, senders] of round) this.#waiting.set(id, new Set([...senders, ...(this.#waiting.get(id) ?? [])]))
    }
    this.#timer = this.#stopped || this.#waiting.size === 0 ? undefined : setTimeout(() => void this.#round(), everyMs).unref()
  }

  #concerns(id: ConversationId, senders: Iterable<string>): boolean {
    return !this.#hearers(id, senders).next().done
  }

  *#hearers(id: ConversationId, senders: Iterable<string>): Generator<Session> {
    const { audience, supportSees } = this.#deps
    const all = [audience.admins, supportSees === 'all' ? audience.agents : [], ...[...senders].map((personId) => audience.of(personId))]
    for (const sessions of all) for (const session of sessions) if (!session.joined.has(id)) yield session
  }
}

/** Agents are notified of others' messages while nobody is assigned, and who is assigned always. */
function isNotified({ person }: Session, { assigned }: ConversationState, senders: ReadonlySet<string>): boolean {
  return person.role === 'Support' && !senders.has(person.id) && (assigned === null || assigned.id === person.id)
}
