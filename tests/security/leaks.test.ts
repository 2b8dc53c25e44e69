// Closed: what tells too much: secrets in logs, errors, metrics, process lists and the repository; doors meant for operators (OWASP API8:2023).
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { request } from 'undici'
import { rest } from '../support/client.ts'
import { root } from '../support/whole.ts'
import { onTheWhole, type Stage, tokenOf } from './stage.ts'

const privateText = 'my wife is ill and I owe the bank'
const secretsOf = ({ whole }: Stage): Record<string, string> => ({
  ...(JSON.parse(readFileSync(join(whole.dataDir, 'secrets.json'), 'utf8')) as Record<string, string>),
  JWT_SECRET: whole.secret,
})

onTheWhole(
  { LOG_LEVEL: 'trace' },
  (stage) => {
    test('secrets, tokens, texts and phone numbers are in no log line, whatever happened', async () => {
      const rajesh = stage.as('rajesh')
      const { rajeshs: conversationId } = stage.scene
      await rajesh('POST', '/messages', { conversationId, content: privateText, clientMessageId: 'private-1' })
      await rajesh('POST', '/messages', { conversationId: { $ne: privateText }, content: privateText })
      await rajesh('POST', '/messages', `{"content":"${privateText}"`, { raw: true })
      await rajesh('POST', '/conversations', undefined, {
        headers: { cookie: 'session=cookie-secret', 'x-api-key': 'api-key-secret', 'proxy-authorization': 'Basic cHJveHk6c2VjcmV0' },
      })
      await rest(stage.url(), `${tokenOf('rajesh').slice(0, -3)}abc`)('GET', `/conversations?access_token=${tokenOf('asha')}`)
      const socket = stage.connect(tokenOf('rajesh'))
      await socket.ask('message:send', { conversationId, content: privateText })
      await socket.ask('message:send', { conversationId: 'x', content: privateText })
      const bad = stage.connect(`${tokenOf('lata')}x`, 'gateway', { reconnection: false })
      await bad.next('connect_error')
      // The last line waited for is written after all of the above.
      await stage.as('meena')('GET', '/conversations/trace-marker')
      const output = stage.whole.output()
      expect(output.length).toBeGreaterThan(1_000)
      const lines = output.split('\n').filter((line) => !line.startsWith('export '))
      const telling = [
        ...Object.entries(secretsOf(stage)),
        ['a text', privateText],
        ['a cookie', 'cookie-secret'],
        ['an API key', 'api-key-secret'],
        ['a proxy password', 'cHJveHk6c2VjcmV0'],
      ] as const
      for (const [what, secret] of telling)
        expect({ what, lines: lines.filter((line) => line.includes(secret)) }).toEqual({ what, lines: [] })
      const tokens = lines.filter((line) => /eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}/.test(line))
      expect(tokens.map((line) => line.slice(0, 300))).toEqual([])
    })

    test('secrets are in no process list, and kept in a file of the owner’s alone', () => {
      const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
      for (const [name, secret] of Object.entries(secretsOf(stage))) {
        const shown = pids.filter((pid) => {
          try {
            return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(secret)
          } catch {
            // A process that ended meanwhile shows nothing.
            return false
          }
        })
        expect({ name, shown }).toEqual({ name, shown: [] })
      }
      expect(statSync(join(stage.whole.dataDir, 'secrets.json')).mode & 0o077).toBe(0)
    })

    test('metrics and health tell figures and names of dependencies: no secret, no id of a person or conversation, no address', async () => {
      for (const door of stage.doors) {
        for (const path of ['/metrics', '/health/ready', '/health/live']) {
          const { body, statusCode } = await request(`${stage.url(door)}${path}`)
          const text = await body.text()
          expect(statusCode).toBe(200)
          for (const telling of [
            ...Object.values(secretsOf(stage)),
            'rajesh',
            'asha',
            'meena',
            stage.scene.rajeshs,
            'mongodb://',
            'amqp://',
            stage.whole.dataDir,
          ]) {
            expect({ door, path, telling: text.includes(telling) ? telling : '' }).toEqual({ door, path, telling: '' })
          }
        }
      }
    })

    test('answers tell nothing of what they are made with', async () => {
      for (const door of stage.doors) {
        for (const path of [
          '/',
          '/api/v1/chat/conversations',
          '/api/v1/chat/nothing',
          '/.env',
          '/.git/config',
          '/package.json',
          '/server-status',
          '/api/v1/chat/conversations/%',
          '/debug',
          '/graphql',
          '/console',
        ]) {
          const { headers, body, statusCode } = await request(`${stage.url(door)}${path}`)
          const text = await body.text()
          expect([200, 301, 302, 400, 401, 404]).toContain(statusCode)
          expect(headers['x-powered-by']).toBeUndefined()
          expect(headers.server).toBeUndefined()
          expect(text).not.toMatch(/\bat .+\(.+:\d+:\d+\)|node_modules|\/src\/|express|mongoose|amqplib|BRANCH|"dependencies"/i)
        }
      }
    })

    test('the gateway’s answers carry the headers that bind a browser', async () => {
      const { headers } = await rest(stage.url(), tokenOf('asha'))('GET', '/conversations')
      expect(headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'cache-control': expect.stringContaining('no-store') })
      const docs = await request(`${stage.url()}/docs/`)
      await docs.body.dump()
      expect(docs.headers['content-security-policy']).toEqual(expect.stringContaining('frame-ancestors'))
    })

    test('TRACE, OPTIONS and others do nothing and mirror nothing', async () => {
      for (const method of ['TRACE', 'TRACK', 'PROPFIND', 'PURGE', 'DELETE', 'PUT']) {
        const answer = await request(`${stage.url()}/api/v1/chat/conversations`, {
          method: method as 'GET',
          headers: { authorization: `Bearer ${tokenOf('asha')}`, 'x-mirror': 'mirrored' },
        }).catch(() => undefined)
        if (!answer) continue
        expect([400, 404, 405, 501]).toContain(answer.statusCode)
        expect(await answer.body.text()).not.toContain('mirrored')
      }
    })
  },
  true,
)

describe('the repository', () => {
  const files = execFileSync('git', ['ls-files', '-z'], { cwd: root, maxBuffer: 64_000_000 })
    .toString()
    .split('\0')
    .filter((file) => file && existsSync(join(root, file)) && statSync(join(root, file)).isFile())

  test('holds no secret: no key, no token, no password', () => {
    const telling =
      /-----BEGIN (?:RSA |EC |OPENSSH )?PRIVATE KEY-----|eyJ[\w-]{15,}\.eyJ[\w-]{15,}\.[\w-]{20,}|AKIA[0-9A-Z]{16}|ghp_[A-Za-z0-9]{36}|xox[bp]-[\w-]{20,}/
    const found = files.filter(
      (file) => statSync(join(root, file)).size < 2_000_000 && telling.test(readFileSync(join(root, file), 'latin1')),
    )
    expect(found).toEqual([])
    expect(files.filter((file) => /(^|\/)\.env($|\.(?!example))|\.pem$|\.key$|secrets\.json$|\.p12$/.test(file))).toEqual([])
  })

  test('images are built without secrets: none by ARG or ENV, none copied, no root', () => {
    const dockerfiles = files.filter((file) => /(^|\/)Dockerfile$/.test(file))
    for (const file of dockerfiles) {
      const text = readFileSync(join(root, file), 'utf8')
      expect({ file, secret: /^\s*(?:ARG|ENV)\s+\w*(?:SECRET|PASSWORD|TOKEN|KEY)\b/im.test(text) }).toEqual({ file, secret: false })
      expect({ file, user: /^USER\s+(?!root|0)/m.test(text) }).toEqual({ file, user: true })
    }
    if (dockerfiles.length > 0) expect(readFileSync(join(root, '.dockerignore'), 'utf8')).toMatch(/^data/m)
  })
})
