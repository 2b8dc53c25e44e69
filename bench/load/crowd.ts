// A crowd that is merely connected, each in a room, with the headers of a browser; dropped at once and back again when asked.
import { browserHeaders } from '../lib/browser.ts'
import { answer } from '../lib/roles.ts'
import { ThinClient } from '../lib/thin-client.ts'

export interface Member {
  token: string
  /** Joined once, as the clients the API was written for do. */
  room: string
}
export interface Storm {
  /** `connect` heard by all of them, per second. */
  perSecond: number
}

let address = ''
const members: Member[] = []
let clients: ThinClient[] = []
const losses: string[] = []

answer({
  /** Adds to the crowd: `atOnce` of them at a time connect and join. */
  async connect({ url, more, atOnce }: { url: string; more: Member[]; atOnce: number }): Promise<void> {
    address = url
    await inTurns(more, atOnce, async (member) => {
      const client = await enter(member)
      const answered = (await client.ask('conversation:join', { conversationId: member.room })) as { ok: boolean }
      if (!answered.ok) throw new Error(`join: ${JSON.stringify(answered)}`)
      members.push(member)
      clients.push(client)
    })
  },

  /** Everybody loses the network in one moment, and comes back, `atOnce` handshakes under way. */
  async storm({ atOnce }: { atOnce: number }): Promise<Storm> {
    for (const client of clients) client.drop()
    clients = []
    const began = performance.now()
    await inTurns(members, atOnce, async (member) => void clients.push(await enter(member)))
    return { perSecond: members.length / ((performance.now() - began) / 1_000) }
  },

  /** @throws Error where a connection ended that nobody dropped */
  check(): void {
    if (losses.length > 0) throw new Error(`${losses.length} connections lost, e.g. ${losses[0]}`)
  },
})

function enter({ token }: Member): Promise<ThinClient> {
  return ThinClient.connect({ url: address, token, headers: browserHeaders, onLost: (reason) => losses.push(reason) })
}

async function inTurns<T>(all: readonly T[], atOnce: number, work: (one: T) => Promise<void>): Promise<void> {
  let next = 0
  const one = async (): Promise<void> => {
    for (let item = all[next++]; item !== undefined; item = all[next++]) await work(item)
  }
  await Promise.all(Array.from({ length: atOnce }, one))
}
