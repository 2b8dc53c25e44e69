// One after the other per key, side by side across keys.
import { AppError } from '@fieldline/contracts/errors'

export interface Lanes {
  /** Runs `task` when those before it under this key have ended. @throws AppError UNAVAILABLE when the lane is full */
  run<T>(key: string, task: () => Promise<T>): Promise<T>
  /** Resolves when nothing runs or waits. */
  idle(): Promise<void>
}

/** @param longest tasks that may stand in one lane, the running one included */
export function createLanes(longest: number): Lanes {
  const lanes = new Map<string, { length: number; last: Promise<unknown> }>()
  const emptied: (() => void)[] = []

  return {
    run(key, task) {
      const lane = lanes.get(key) ?? { length: 0, last: Promise.resolve() }
      if (lane.length >= longest) return Promise.reject(new AppError('UNAVAILABLE', 'Too much at once for this conversation'))
      lane.length += 1
      lanes.set(key, lane)
      const result = lane.last.then(task)
      lane.last = result.then(leave, leave)
      function leave(): void {
        lane.length -= 1
        if (lane.length > 0) return
        lanes.delete(key)
        if (lanes.size === 0) for (const resolve of emptied.splice(0)) resolve()
      }
      return result
    },
    idle() {
      if (lanes.size === 0) return Promise.resolve()
      return new Promise((resolve) => emptied.push(resolve))
    },
  }
}
