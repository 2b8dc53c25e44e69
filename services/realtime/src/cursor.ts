// How far a replica has told a conversation: which event comes next, which is old, and where one is missing. Pure.

/** The last event told here and the newest message told here. */
export interface Cursor {
  readonly eventNo: number
  readonly seq: number
}

/** `next` is to be told; `old` was told before (a repetition); `gap` means one before it was lost on the way. */
export function placeOf(cursor: Cursor, eventNo: number): 'old' | 'next' | 'gap' {
  if (eventNo <= cursor.eventNo) return 'old'
  return eventNo === cursor.eventNo + 1 ? 'next' : 'gap'
}

/** Where a fetch begins so that its messages serve both a joiner and those in the room; undefined where nobody lacks any. */
export function fetchFrom(cursor: Cursor | null, afterSeq: number | undefined): number | undefined {
  if (!cursor) return afterSeq
  return Math.min(afterSeq ?? cursor.seq, cursor.seq)
}

/** A pause after the nth failure in a row (1, 2, …): doubling up to 25 times the first, with jitter. `random` in [0, 1). */
export function backOff(failures: number, firstMs: number, random: number): number {
  const whole = Math.min(firstMs * 2 ** Math.min(failures - 1, 10), firstMs * 25)
  return whole / 2 + (whole / 2) * random
}
