// A file on its way out: chunk by chunk, the memory of each given back once it has left. V8 would find it much later, tens of MiB on.
import type { ServerResponse } from 'node:http'
import { finished, Writable } from 'node:stream'

/** Writes into the answer and ends it. It fails when the client leaves; failed itself, it cuts the answer short. Nobody else may read the chunks it was given. */
export function outletOf(res: ServerResponse): Writable {
  const outlet = new Writable({
    // One chunk at a time: the sockets on both sides hold more.
    highWaterMark: 1,
    write(chunk: Buffer<ArrayBuffer>, _encoding, done) {
      res.write(chunk, (error) => {
        // The client has left: the answer's end says so below, once for every case.
        if (error) return
        giveBack(chunk)
        done()
      })
    },
    final: (done) => void res.end(done),
    destroy(error, done) {
      if (error) res.destroy()
      done(error)
    },
  })
  finished(res, (error) => error && outlet.destroy(error))
  return outlet
}

/** A piece of something larger is left to V8: others may still read the rest. */
function giveBack(chunk: Buffer<ArrayBuffer>): void {
  if (chunk.buffer.byteLength === chunk.length) chunk.buffer.transfer(0)
}
