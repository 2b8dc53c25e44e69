// How the content's parsers read a file: piecewise, from anywhere, never whole.

/** Up to `length` bytes from `position`; fewer at the end of the file. */
export type ReadAt = (position: number, length: number) => Promise<Buffer>
