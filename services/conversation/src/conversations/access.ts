// The one rule of visibility, asked about a conversation just loaded; looks at the farmer's current one only where that may let somebody in.
import { AppError } from '@fieldline/contracts/errors'
import type { Conversation } from './conversation.ts'
import type { Current } from './current.ts'
import { mayRead, mayWrite, type SupportSees, type Viewer } from './visibility.ts'

export interface Access {
  mayRead(conversation: Conversation, viewer: Viewer): Promise<boolean>
  mayWrite(conversation: Conversation, viewer: Viewer): boolean
  /** @throws AppError FORBIDDEN */
  mustRead(conversation: Conversation, viewer: Viewer): Promise<void>
}

export function createAccess({ current, sees }: { current: Pick<Current, 'find'>; sees: SupportSees }): Access {
  async function may(conversation: Conversation, viewer: Viewer): Promise<boolean> {
    if (mayRead(conversation, viewer, sees)) return true
    if (viewer.role !== 'Support') return false
    const newest = await current.find(conversation.farmer.id)
    return newest !== null && newest.id !== conversation.id && mayRead(conversation, viewer, sees, newest.assigned?.person.id)
  }
  return {
    mayRead: may,
    mayWrite,
    async mustRead(conversation, viewer) {
      if (!(await may(conversation, viewer))) throw new AppError('FORBIDDEN', 'This is not your conversation')
    },
  }
}
