// The session id of a Socket.IO request, which names the replica that owns the session.
import { AppError } from '@fieldline/contracts/errors'
import { refuseTricks } from './routes.ts'

export const socketPath = '/socket.io'

/** Undefined: a new handshake. @throws AppError NOT_FOUND for another path, BAD_REQUEST for more than one id or an odd one */
export function sessionOf(url: string): string | undefined {
  const [path = '', query = ''] = url.split('?', 2)
  refuseTricks(path)
  if (path !== socketPath && path !== `${socketPath}/`) throw new AppError('NOT_FOUND', 'There is nothing here')
  const sids = new URLSearchParams(query).getAll('sid')
  const [sid] = sids
  if (sids.length > 1 || (sid !== undefined && !/^[\w.-]{1,256}$/.test(sid)))
    throw new AppError('BAD_REQUEST', 'The session id is malformed')
  return sid
}

/** What engine.io says to a session it does not know; the client starts anew. */
export const unknownSession = { code: 1, message: 'Session ID unknown' }
/** The same, to a session begun by anything but GET. */
export const badHandshake = { code: 2, message: 'Bad handshake method' }
