// What "optional" means in input: clients of many languages write a field they have nothing for as `null`, or as an empty text.
import { z } from 'zod'

/** Whether an optional text is as good as absent. */
export function isAbsent(given: unknown): given is undefined | null | '' {
  return given === undefined || given === null || given === ''
}

/** A field that may be absent, which `null` says too, and of a text the empty one. */
export function optional<Schema extends z.ZodType>(schema: Schema) {
  const nothing = schema instanceof z.ZodString ? [z.null(), z.literal('')] : [z.null()]
  return (
    z
      // What is wrong is told by the field's own shape.
      .union([schema, ...nothing], { error: ({ errors }) => errors?.[0]?.[0]?.message })
      .transform((given) => (isAbsent(given) ? undefined : given))
      .optional()
  )
}
