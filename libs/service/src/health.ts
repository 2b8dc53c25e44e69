// Liveness and readiness of one service: what it depends on, by name, and whether it takes work.

export type DependencyStatus = 'up' | 'down'
export interface DependencyReport {
  status: DependencyStatus
  /** When it became so, ISO 8601. */
  since: string
  message?: string
  /** False: shown, but it does not make the service unready. */
  required: boolean
}
export interface ReadyReport {
  status: 'ready' | 'unready' | 'starting' | 'stopping'
  dependencies: Record<string, DependencyReport>
}

/** Tells how a dependency is. Messages are read by operators on the admin port: no secret, no URL with a password. */
export interface DependencyState {
  up(): void
  down(message?: string): void
}

export interface DependencyOptions {
  /** Asked at most once a second, with a deadline of 2 s; a rejection means down. Without it, `up()` and `down()` tell. */
  check?: () => Promise<unknown>
  /** Default true. */
  required?: boolean
}

export interface Health {
  /** Registers a dependency, down until told or asked otherwise. */
  dependency(name: string, options?: DependencyOptions): DependencyState
  ready(): Promise<ReadyReport>
  setStarting(): void
  setStarted(): void
  setStopping(): void
  readonly stopping: boolean
}

const checkEveryMs = 1_000
const checkDeadlineMs = 2_000

interface Dependency {
  report: DependencyReport
  check: (() => Promise<unknown>) | undefined
  askedAt: number
  asking: Promise<void> | undefined
}

export function createHealth(): Health {
  const dependencies = new Map<string, Dependency>()
  let phase: 'starting' | 'started' | 'stopping' = 'started'

  return {
    dependency(name, options = {}) {
      const dependency: Dependency = {
        report: { status: 'down', since: new Date().toISOString(), message: 'not connected yet', required: options.required ?? true },
        check: options.check,
        askedAt: Number.NEGATIVE_INFINITY,
        asking: undefined,
      }
      dependencies.set(name, dependency)
      return { up: () => tell(dependency, 'up'), down: (message) => tell(dependency, 'down', message) }
    },
    async ready() {
      await Promise.all([...dependencies.values()].map(ask))
      const all = [...dependencies].map(([name, { report }]) => [name, report] as const)
      const wanting = all.some(([, report]) => report.required && report.status === 'down')
      const status = phase === 'started' ? (wanting ? 'unready' : 'ready') : phase
      return { status, dependencies: Object.fromEntries(all) }
    },
    setStarting: () => {
      if (phase !== 'stopping') phase = 'starting'
    },
    setStarted: () => {
      if (phase !== 'stopping') phase = 'started'
    },
    setStopping: () => {
      phase = 'stopping'
    },
    get stopping() {
      return phase === 'stopping'
    },
  }
}

function tell(dependency: Dependency, status: DependencyStatus, message?: string): void {
  const { since, required, status: before } = dependency.report
  dependency.report = {
    status,
    since: before === status ? since : new Date().toISOString(),
    required,
    ...(message === undefined ? {} : { message }),
  }
}

function ask(dependency: Dependency): Promise<void> | undefined {
  if (!dependency.check || performance.now() - dependency.askedAt < checkEveryMs) return dependency.asking
  dependency.askedAt = performance.now()
  dependency.asking = within(dependency.check())
    .then(
      () => tell(dependency, 'up'),
      (error: unknown) => tell(dependency, 'down', reason(error)),
    )
    .finally(() => {
      dependency.asking = undefined
    })
  return dependency.asking
}

async function within(answer: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(Object.assign(new Error('no answer'), { code: `no answer within ${checkDeadlineMs} ms` })),
      checkDeadlineMs,
    )
  })
  try {
    await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}

/** The kind of error only: its text may hold addresses or passwords. */
function reason(error: unknown): string {
  if (Error.isError(error) && 'code' in error && (typeof error.code === 'string' || typeof error.code === 'number'))
    return String(error.code)
  return Error.isError(error) ? error.name : 'failed'
}
