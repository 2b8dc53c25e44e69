// Where attacks happen: the whole, started once a file in each way it is run, its doors as an attacker reaches them, and people who already talk in it.
import { afterAll, beforeAll, describe } from '@jest/globals'
import { type Client, client, eventually, type Rest, rest } from '../support/client.ts'
import { withBroker } from '../support/servers.ts'
import { startEmbedded, startServices, token, type Whole } from '../support/whole.ts'

export const services = ['conversation', 'media', 'stats', 'realtime'] as const
/** The gateway as clients reach it, or a service itself, as whoever got into the cluster would. */
export type Door = 'gateway' | (typeof services)[number]

export const people = {
  rajesh: { id: 'rajesh', role: 'User' },
  sunita: { id: 'sunita', role: 'User' },
  lata: { id: 'lata', role: 'User' },
  asha: { id: 'asha', role: 'Support' },
  vikram: { id: 'vikram', role: 'Support' },
  meena: { id: 'meena', role: 'Admin' },
} as const
export type Name = keyof typeof people

export function tokenOf(name: Name, more: Parameters<typeof token>[2] = {}): string {
  return token(people[name].role, people[name].id, { firstName: name, ...more })
}

/** Rajesh's conversation is Asha's, Sunita's is Vikram's, Lata's waits; each has one message. Nobody is available, so nothing moves by itself. */
export interface Scene {
  rajeshs: string
  sunitas: string
  latas: string
  /** Rajesh's first message. */
  messageId: string
  /** Sockets of the two agents and of Rajesh, joined to what is theirs. */
  ears: Record<'asha' | 'vikram' | 'rajesh', Client>
}

export interface Stage {
  readonly whole: Whole
  readonly scene: Scene
  /** Doors of this way of running: an embedded run has but one. */
  readonly doors: readonly Door[]
  url(door?: Door): string
  as(name: Name | undefined, door?: Door): Rest
  /** A socket that ends with the file. Doors: gateway or realtime. */
  connect(token: string | undefined, door?: 'gateway' | 'realtime', options?: Parameters<typeof client>[2]): Client
}

/** Declares `attacks` against the embedded run and against separate processes, each started once. */
export function onTheWhole(env: Record<string, string>, attacks: (stage: Stage) => void, withScene = false): void {
  const ways = [
    { name: 'embedded', start: startEmbedded, doors: ['gateway'] },
    { name: withBroker('separate processes'), start: startServices, doors: ['gateway', ...services] },
  ] as const
  for (const { name, start, doors } of ways) {
    if (name === null) continue
    describe(name, () => {
      let whole: Whole | undefined
      let scene: Scene | undefined
      const open: Client[] = []
      const stage: Stage = {
        get whole() {
          return given(whole)
        },
        get scene() {
          return given(scene)
        },
        doors,
        url: (door = 'gateway') => (door === 'gateway' ? stage.whole.url : stage.whole.processOf(door).url),
        as: (who, door) => rest(stage.url(door), who && tokenOf(who)),
        connect(withToken, door = 'gateway', options) {
          const made = client(stage.url(door), withToken, options)
          open.push(made)
          return made
        },
      }
      beforeAll(async () => {
        whole = await start({ env: { AGENT_GRACE_MS: '3600000', EMPTY_RELEASE_MS: '3600000', ...env } })
        if (withScene) scene = await setScene(stage)
      }, 90_000)
      afterAll(async () => {
        for (const each of open) each.close()
        await whole?.stop()
      }, 30_000)
      attacks(stage)
    })
  }
}

/** A socket's attempt to get in, told as REST would: 401 for one that is refused by its token. */
export async function handshake(url: string, token: string | undefined, options: Parameters<typeof client>[2] = {}) {
  const knocking = client(url, token, { reconnection: false, ...options })
  try {
    return await new Promise<{ status: number; code: string | undefined }>((resolve) => {
      knocking.socket.on('connect', () => resolve({ status: 200, code: undefined }))
      knocking.socket.on('connect_error', (error: Error & { data?: { code?: string } }) => resolve({ status: 401, code: error.data?.code }))
    })
  } finally {
    knocking.close()
  }
}

async function setScene(stage: Stage): Promise<Scene> {
  const ears = { asha: stage.connect(tokenOf('asha')), vikram: stage.connect(tokenOf('vikram')), rajesh: stage.connect(tokenOf('rajesh')) }
  for (const ear of Object.values(ears)) await ear.next('connect')
  for (const agent of ['asha', 'vikram'] as const) {
    await eventually(async () => (await stage.as(agent)('PATCH', '/support/availability', { available: false })).status === 200)
  }
  const ids: Partial<Record<Name, string>> = {}
  let messageId = ''
  for (const farmer of ['rajesh', 'sunita', 'lata'] as const) {
    const { body } = await stage.as(farmer)('POST', '/conversations')
    ids[farmer] = body.data._id
    const sent = await stage.as(farmer)('POST', '/messages', { conversationId: body.data._id, content: `I am ${farmer}` })
    if (farmer === 'rajesh') messageId = sent.body.data._id
  }
  const scene = { rajeshs: given(ids.rajesh), sunitas: given(ids.sunita), latas: given(ids.lata), messageId, ears }
  for (const [agent, id] of [
    ['asha', scene.rajeshs],
    ['vikram', scene.sunitas],
  ] as const) {
    const claimed = await stage.as(agent)('POST', `/support/conversations/${id}/claim`)
    if (claimed.status !== 200) throw new Error(`the scene cannot be set: claim gave ${JSON.stringify(claimed.body)}`)
  }
  await ears.asha.ask('conversation:join', { conversationId: scene.rajeshs })
  await ears.rajesh.ask('conversation:join', { conversationId: scene.rajeshs })
  await ears.vikram.ask('conversation:join', { conversationId: scene.sunitas })
  return scene
}

function given<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('not started yet: use it inside a test')
  return value
}
