// Which packages a module loads: its imports followed through our own files, to where they leave for somebody else's.
import { readFileSync } from 'node:fs'

// Also where only types are named inside the braces: such an import is loaded for its effects, unless `type` stands before them.
const statement = /^(?:import|export)\s+(?!type\b)(?:[^'";]*?\sfrom\s+)?'([^']+)'/gm

/** Packages (and paths in them), each once, as they are named; what Node itself has is left out. Imports at run time (`await import`) don't count. */
export function packagesOf(...entries: readonly URL[]): string[] {
  const seen = new Set<string>()
  const packages = new Set<string>()
  function follow(file: URL): void {
    if (seen.has(file.href)) return
    seen.add(file.href)
    for (const name of importsIn(readFileSync(file, 'utf8'))) {
      if (name.startsWith('node:')) continue
      const target = name.startsWith('.') ? new URL(name, file) : new URL(import.meta.resolve(name))
      if (target.pathname.endsWith('.ts')) follow(target)
      else packages.add(name)
    }
  }
  for (const entry of entries) follow(entry)
  return [...packages].sort()
}

export function importsIn(source: string): string[] {
  return [...source.matchAll(statement)].flatMap(([, name]) => name ?? [])
}
