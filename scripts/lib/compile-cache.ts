// Where Node keeps modules as it has stripped and compiled them (NODE_COMPILE_CACHE): a process that finds them there starts with less, and never loads the stripper.
import { join } from 'node:path'

export const compileCache = join(import.meta.dirname, '../../node_modules/.cache/fieldline')
