// The first messages of the README and of the API's document, as pasted: their commands run as they stand, against the embedded process.

import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { kill, root, startEmbedded, token, type Whole } from '../support/whole.ts'

let whole: Whole
beforeAll(async () => {
  whole = await startEmbedded()
}, 90_000)
afterAll(() => whole?.stop(), 30_000)

test('the farmer’s lines of curl and the agent’s lines of socket.io-client are answered', async () => {
  const section = readFileSync(join(root, 'README.md'), 'utf8').split('## A first message')[1]?.split('\n## ')[0] ?? ''
  const blocks = [...section.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block]) => block ?? '')
  expect(blocks).toHaveLength(2)
  const pasted = blocks.join('\n').replaceAll('http://localhost:5000', whole.url)
  const output = await bash(pasted)
  expect(output).not.toContain('event not found')
  expect(output).toContain('"message":"Message sent successfully"')
  expect(output).toContain('Rajesh: My tomato leaves are turning yellow')
  expect(output).toContain('Asha: Namaste, please send a photo')
}, 60_000)

test('the lines of curl in the document that is served are answered, wherever it is served', async () => {
  const document = (await (await fetch(`${whole.url}/openapi.json`)).json()) as { info: { description: string } }
  const [, block = ''] = /```sh\n([\s\S]*?)```/.exec(document.info.description) ?? []
  const output = await bash(`export FARMER=${token('User', 'sunita', { firstName: 'Sunita' })}\n${block}`)
  expect(output).toContain('"message":"Message sent successfully"')
  expect(output).toMatch(/"message":"Messages fetched successfully","data":\[\{[^\]]*"content":"Hello, I need help"/)
}, 60_000)

/** As a terminal takes what is pasted: line by line, with history expansion, which reads `!` even between double quotes. */
function bash(commands: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const env = {
      ...process.env,
      NODE_OPTIONS: '',
      JWT_SECRET: whole.secret,
      DATA_DIR: whole.dataDir,
      PATH: `${join(root, 'node_modules/.bin')}:${process.env.PATH}`,
    }
    const child = spawn('bash', ['-o', 'history', '-o', 'histexpand'], { cwd: root, env, detached: true })
    // With all it started: whoever hangs would keep the output open.
    const timer = setTimeout(() => child.pid && kill(-child.pid), 45_000)
    child.stdin.end(`unset HISTFILE\n${commands}`)
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.once('close', () => {
      clearTimeout(timer)
      resolve(output)
    })
    child.once('error', reject)
  })
}
