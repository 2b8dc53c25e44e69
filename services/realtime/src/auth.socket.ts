// Socket door of tokens: a newer token of the same person extends the connection.
import { AppError } from '@fieldline/contracts/errors'
import type { Verifier } from '@fieldline/service/auth'
import type { Doors } from './door.ts'
import { deviceMarks, type Session } from './session.ts'

export interface AuthDoorDeps {
  readonly verifier: Verifier
  /** The session has another token: its end, its role and its record follow. */
  readonly refreshed: (session: Session) => void
}

export function authDoors({ verifier, refreshed }: AuthDoorDeps) {
  return {
    'auth:refresh': async (session, { token }) => {
      const person = await verifier.verify(token)
      if (person.id !== session.person.id) throw new AppError('FORBIDDEN', 'The token names somebody else')
      session.person = person
      session.token = token
      session.tokenMark = deviceMarks(token, session.userAgent).tokenMark
      refreshed(session)
      return { expiresAt: person.exp === null ? null : new Date(person.exp * 1_000).toISOString() }
    },
  } satisfies Partial<Doors>
}
