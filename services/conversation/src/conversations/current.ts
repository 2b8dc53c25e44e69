// A farmer's current conversation: the one that is not closed, made if need be (architecture, "One unclosed conversation").
import { AppError } from '@fieldline/contracts/errors'
import type { ConversationId } from '@fieldline/contracts/ids'
import type { PersonSummary } from '@fieldline/contracts/people'
import type { Clock } from '@fieldline/service/clock'
import { newId } from '@fieldline/service/ids'
import type { Commands } from './commands.ts'
import type { ConversationStore } from './conversation.store.ts'
import type { Conversation } from './conversation.ts'
import { create } from './lifecycle.ts'

export interface Current {
  /** The farmer's unclosed conversation as it is stored; `created` if this call made it. @throws AppError UNAVAILABLE */
  ensure(farmer: PersonSummary): Promise<{ conversation: Conversation; created: boolean }>
  /** The farmer's newest conversation, closed or not; null before the first. */
  find(farmerId: string): Promise<Conversation | null>
}

const maxTries = 20

export function createCurrent({
  store,
  commands,
  clock,
}: {
  store: Pick<ConversationStore, 'load' | 'slot' | 'moveSlot'>
  commands: Pick<Commands, 'insert'>
  clock: Clock
}): Current {
  return {
    async ensure(farmer) {
      for (let tries = 0; tries < maxTries; tries += 1) {
        const slot = await store.slot(farmer.id)
        const current = slot && (await store.load(slot.conversationId))
        if (current && current.status !== 'closed') return { conversation: current, created: false }
        if (slot && !current) {
          // The slot was moved and its mover died, or is about to insert: whoever comes first does, by that one id.
          const { conversationId: id, previousConversationId } = slot
          const made = await commands.insert(create({ id, farmer, previousConversationId }, clock.now().toISOString()))
          if (made.conversation.status !== 'closed') return made
          continue
        }
        // Whoever moves the slot first decides the id; the next round inserts by it.
        await store.moveSlot(farmer.id, current?.id ?? null, newId() as ConversationId)
      }
      throw new AppError('UNAVAILABLE', 'Your conversation is being changed; try again soon')
    },

    async find(farmerId) {
      const slot = await store.slot(farmerId)
      return slot && store.load(slot.conversationId)
    },
  }
}
