// `npm run docs:api`: writes docs/openapi.json and docs/asyncapi.json from the contracts; with `--check` it fails where they are not what would be written.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { asyncApiDocument } from '@fieldline/contracts/asyncapi'
import { openApiDocument } from '@fieldline/contracts/openapi'

const documents = { 'openapi.json': openApiDocument(), 'asyncapi.json': asyncApiDocument() }
const folder = new URL('../docs/', import.meta.url)
const check = process.argv.includes('--check')
mkdirSync(folder, { recursive: true })
let stale = 0
for (const [name, document] of Object.entries(documents)) {
  const file = new URL(name, folder)
  const text = `${JSON.stringify(document, null, 2)}\n`
  if (!check) writeFileSync(file, text)
  else if (read(file) !== text) {
    stale += 1
    console.error(`docs/${name} is not what the contracts say: run npm run docs:api`)
  }
}
if (stale > 0) process.exit(1)

function read(file: URL): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
