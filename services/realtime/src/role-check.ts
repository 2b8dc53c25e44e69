// Roles that a newer token lowered where this replica hears nothing of it (by REST alone): agents and admins who are connected are asked after now and then.
import type { Person } from '@fieldline/contracts/people'
import type { Logger } from '@fieldline/service/logger'
import type { Audience } from './audience.ts'
import type { Conversations } from './conversation.client.ts'

export interface RoleCheckDeps {
  readonly audience: Audience
  readonly conversations: Pick<Conversations, 'roles'>
  readonly log: Logger
  readonly everyMs: number
  /** This token of this person counts as this role from now on. */
  readonly lower: (token: Person, role: Person['role']) => void
}

const atOnce = 1_000

export class RoleCheck {
  readonly #deps: RoleCheckDeps
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(deps: RoleCheckDeps) {
    this.#deps = deps
  }

  start(): void {
    if (this.#stopped) return
    this.#timer = setTimeout(() => void this.#round().finally(() => this.start()), this.#deps.everyMs).unref()
  }
  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  async #round(): Promise<void> {
    const { audience, conversations, log, lower } = this.#deps
    const tokens = new Map(
      [...audience.agents, ...audience.admins].map(({ person }) => [`${person.id} ${person.role} ${person.iat}`, person]),
    )
    const all = [...tokens.values()]
    try {
      for (let at = 0; at < all.length; at += atOnce) {
        const some = all.slice(at, at + atOnce)
        const roles = await conversations.roles(some)
        for (const [index, token] of some.entries()) {
          const role = roles[index]
          if (role !== undefined && role !== token.role) lower(token, role)
        }
      }
    } catch (error) {
      // A conversation of a former release has no such path, and one that is away answers nothing else either.
      log.debug({ err: error }, 'roles could not be read')
    }
  }
}
