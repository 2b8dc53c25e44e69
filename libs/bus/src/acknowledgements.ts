// Acknowledges what a listener has taken, once a turn: a run of deliveries costs one frame instead of one each.
import type { Channel, ConsumeMessage } from 'amqplib'

export class Acknowledgements {
  readonly #channel: Pick<Channel, 'ack'>
  /** Taken, but with an untaken one before it, or since the last flush. By delivery tag; tags of a channel are 1, 2, 3, … */
  readonly #taken = new Map<number, { readonly message: ConsumeMessage; told: boolean }>()
  #lowest = 1
  #scheduled = false

  constructor(channel: Pick<Channel, 'ack'>) {
    this.#channel = channel
  }

  /** Once per delivery. */
  add(message: ConsumeMessage): void {
    this.#taken.set(message.fields.deliveryTag, { message, told: false })
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => this.#flush())
  }

  #flush(): void {
    this.#scheduled = false
    try {
      // A tag the broker has heard already must not be named again, so the run is told by its last one that is new.
      const last = this.#advance()
      if (last !== null) this.#channel.ack(last, true)
      for (const entry of this.#taken.values()) {
        if (entry.told) continue
        entry.told = true
        this.#channel.ack(entry.message)
      }
    } catch {
      // The channel is gone and the exclusive queue with it: nothing is left to acknowledge.
    }
  }

  #advance(): ConsumeMessage | null {
    let last: ConsumeMessage | null = null
    for (let entry = this.#taken.get(this.#lowest); entry !== undefined; entry = this.#taken.get(this.#lowest)) {
      if (!entry.told) last = entry.message
      this.#taken.delete(this.#lowest++)
    }
    return last
  }
}
