// The documents as they are served, and that they say what the contracts say.
import { readFileSync } from 'node:fs'
import { asyncApiDocument } from '@fieldline/contracts/asyncapi'
import { openApiDocument } from '@fieldline/contracts/openapi'
import { operations } from '@fieldline/contracts/openapi-operations'
import { clientEvents, serverEvents } from '@fieldline/contracts/socket'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Ajv2020 } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import { gateway, type Stage } from './support/stage.ts'

let stage: Stage
beforeAll(async () => {
  stage = await gateway({ PUBLIC_URL: 'https://chat.example.org' })
})
afterAll(() => stage.stop())

test.each(['openapi', 'asyncapi'])('docs/%s.json is what the contracts say', (name) => {
  const committed = readFileSync(new URL(`../../../docs/${name}.json`, import.meta.url), 'utf8')
  const generated = name === 'openapi' ? openApiDocument() : asyncApiDocument()
  expect(JSON.parse(committed)).toEqual(JSON.parse(JSON.stringify(generated)))
})

test('both documents are served to anybody and name the public address', async () => {
  const openApi = await (await fetch(`${stage.url}/openapi.json`)).json()
  expect(openApi).toMatchObject({ openapi: '3.1.0', servers: [{ url: 'https://chat.example.org' }] })
  const asyncApi = await (await fetch(`${stage.url}/asyncapi.json`)).json()
  expect(asyncApi).toMatchObject({ asyncapi: '3.0.0', servers: { gateway: { host: 'chat.example.org', protocol: 'wss' } } })
})

test('texts and examples name the public address too, and never the one of development', async () => {
  for (const name of ['openapi.json', 'docs/', 'docs/swagger-ui-init.js'])
    expect({ name, text: await (await fetch(`${stage.url}/${name}`)).text() }).toEqual({
      name,
      text: expect.not.stringContaining('localhost'),
    })
  const openApi = JSON.stringify(await (await fetch(`${stage.url}/openapi.json`)).json())
  expect(openApi).toContain('API=https://chat.example.org/api/v1/chat')
  expect(openApi).toContain('"url":"https://chat.example.org/uploads/chat/')
})

test.each(['https://chat.example.org', 'https://chat.example.org/', 'http://127.0.0.1:50001', 'https://example.org/$&'])(
  'a document for %s is the committed one, with that address',
  (url) => {
    const committed = readFileSync(new URL('../../../docs/openapi.json', import.meta.url), 'utf8')
    const address = url.replace(/\/$/, '')
    expect(openApiDocument(url)).toEqual(JSON.parse(committed.split('http://localhost:5000').join(address)))
  },
)

test('every call of the API stands in the document, with its refusals', () => {
  const { paths } = openApiDocument() as { paths: Record<string, Record<string, { responses: object; operationId: string }>> }
  const told = Object.values(paths).flatMap((ofPath) => Object.values(ofPath).map(({ operationId }) => operationId))
  expect(told.sort()).toEqual(operations.map(({ id }) => id).sort())
  for (const ofPath of Object.values(paths)) {
    for (const { responses } of Object.values(ofPath))
      expect(Object.keys(responses)).toEqual(expect.arrayContaining(['400', '401', '429', '500', '503']))
  }
})

test('every call that a body may come with says that it may be too large, or of another type', () => {
  const { paths } = openApiDocument() as Document
  const told = Object.entries(paths).flatMap(([path, { get: _get, ...ofPath }]) =>
    Object.entries(ofPath).map(([method, { responses }]) => ({
      path,
      method,
      told: ['413', '415'].filter((status) => status in responses),
    })),
  )
  expect(told.length).toBeGreaterThan(5)
  for (const one of told) expect(one).toEqual({ ...one, told: ['413', '415'] })
})

test('every socket event of the contracts stands in the AsyncAPI document, in its direction', () => {
  const document = asyncApiDocument() as { operations: Record<string, { action: string; messages: { $ref: string }[] }> }
  const named = (action: string) =>
    Object.values(document.operations)
      .filter((operation) => operation.action === action && operation.messages[0]?.$ref.startsWith('#/channels/socket/'))
      .map((operation) => operation.messages[0]?.$ref.split('/').at(-1))
      .sort()
  const keys = (events: object) =>
    Object.keys(events)
      .map((name) => name.replace(':', '-'))
      .sort()
  expect(named('receive')).toEqual(keys(clientEvents))
  expect(named('send')).toEqual(keys(serverEvents))
})

test('every example fits its own schema', () => {
  const document = openApiDocument() as Document
  const ajv = new Ajv2020({ strict: false, allErrors: true })
  ;(formats as unknown as (ajv: Ajv2020) => void)(ajv)
  ajv.addSchema({ $id: 'doc', ...document })
  let checked = 0
  for (const [path, ofPath] of Object.entries(document.paths)) {
    for (const [method, { requestBody, responses }] of Object.entries(ofPath)) {
      for (const content of [requestBody, ...Object.values(responses)].map((one) => one?.content?.['application/json'])) {
        for (const [name, { value }] of Object.entries(content?.examples ?? {})) {
          const schema = JSON.parse(JSON.stringify(content?.schema).replaceAll('"#/components', '"doc#/components'))
          const fits = ajv.validate(schema, value)
          expect({ path, method, name, faults: fits ? null : ajv.errorsText() }).toEqual({ path, method, name, faults: null })
          checked += 1
        }
      }
    }
  }
  expect(checked).toBeGreaterThan(100)
})

describe('/docs', () => {
  test('is a page whose every asset comes from here', async () => {
    const answer = await fetch(`${stage.url}/docs/`)
    expect(answer.status).toBe(200)
    const page = await answer.text()
    const assets = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, asset]) => String(asset))
    expect(assets.length).toBeGreaterThan(3)
    for (const asset of assets) {
      expect(asset).not.toMatch(/^(https?:)?\/\//)
      expect((await fetch(new URL(asset, `${stage.url}/docs/`))).status).toBe(200)
    }
    expect(await (await fetch(`${stage.url}/docs/swagger-ui-init.js`)).text()).toContain('/openapi.json')
  })

  test('is found without the slash', async () => {
    const answer = await fetch(`${stage.url}/docs`)
    expect([answer.url, answer.status]).toEqual([`${stage.url}/docs/`, 200])
  })

  test('runs no script but its own', async () => {
    const policy = (await fetch(`${stage.url}/docs/`)).headers.get('content-security-policy')
    expect(policy).toContain("script-src 'self'")
    expect(policy).not.toMatch(/script-src[^;]*unsafe/)
  })

  test('may call the API by the address its document names, whatever name it was opened under', async () => {
    const { servers } = (await (await fetch(`${stage.url}/openapi.json`)).json()) as { servers: { url: string }[] }
    const policy = (await fetch(`${stage.url}/docs/`)).headers.get('content-security-policy') ?? ''
    const allowed = /connect-src ([^;]*)/.exec(policy)?.[1]?.split(' ')
    for (const { url } of servers) expect(allowed).toContain(new URL(url).origin)
  })
})

interface Content {
  content?: Record<string, { schema: object; examples?: Record<string, { value: unknown }> }>
}
interface Document {
  paths: Record<string, Record<string, { requestBody?: Content; responses: Record<string, Content> }>>
}
