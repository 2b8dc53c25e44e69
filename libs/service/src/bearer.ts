// The one place a token is taken from over HTTP: `Authorization: Bearer`.
import { AppError } from '@fieldline/contracts/errors'

/** @throws AppError UNAUTHENTICATED where there is none */
export function bearerOf(header: string | undefined): string {
  const token = /^Bearer +([^\s,]+) *$/i.exec(header ?? '')?.[1]
  if (token === undefined) throw new AppError('UNAUTHENTICATED', 'Authentication required')
  return token
}
