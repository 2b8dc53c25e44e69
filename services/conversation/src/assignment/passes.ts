// One run at a time and one pending: however often work is asked for, at most two runs are ahead.

export interface Passes {
  /** Resolves when a run begun after this call has ended. Never rejects; after `stop` it resolves at once. */
  run(): Promise<void>
  /** Resolves when the run that runs has ended; none begins after it. */
  stop(): Promise<void>
  readonly stopped: boolean
}

/** @param failed is told what a run threw */
export function onePass(pass: () => Promise<void>, failed: (err: unknown) => void): Passes {
  let running: Promise<void> | null = null
  let pending: Promise<void> | null = null
  let stopped = false

  function run(): Promise<void> {
    if (running) {
      pending ??= running.then(() => {
        pending = null
        return run()
      })
      return pending
    }
    if (stopped) return Promise.resolve()
    running = pass()
      .catch(failed)
      .finally(() => {
        running = null
      })
    return running
  }

  return {
    run,
    async stop() {
      stopped = true
      await pending
      await running
    },
    get stopped() {
      return stopped
    },
  }
}
