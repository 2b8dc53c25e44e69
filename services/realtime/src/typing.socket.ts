// Socket doors of typing: whoever has not joined is not heard, and nobody is told of an error.
import type { Doors } from './door.ts'
import type { Typing } from './typing.ts'

export function typingDoors({ typing }: { readonly typing: Typing }) {
  return {
    'typing:start': (session, { conversationId }) => typing.start(session, conversationId),
    'typing:stop': (session, { conversationId }) => typing.stop(session, conversationId),
  } satisfies Partial<Doors>
}
