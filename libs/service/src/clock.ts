// Where rules and stores get the time from, so that tests can say what time it is.

export interface Clock {
  now(): Date
}

export const systemClock: Clock = { now: () => new Date() }
