// Socket.IO's own wire format, written without its search for bytes: what the contract lets us say is JSON throughout.
import { Decoder, Encoder, type Packet } from 'socket.io-parser'

class JsonEncoder extends Encoder {
  /** The stock one walks through every payload to see whether it is one with attachments, which cost 7 % of this service. */
  override encode({ type, nsp, id, data }: Packet): string[] {
    const namespace = nsp === '/' ? '' : `${nsp},`
    return [`${type}${namespace}${id ?? ''}${data === undefined ? '' : JSON.stringify(data)}`]
  }
}

// Bytes from clients are still read, and refused by the door.
export const jsonParser = { Encoder: JsonEncoder, Decoder }
