// A suite that needs a real server, and says so loudly where there is none.
import { afterAll, describe, test } from '@jest/globals'
import { backing, type ServerName, servers } from './backing.ts'

/** A describe block that needs a server: `await describeWith('mongodb', 'the store', (url) => …)`. Skipped, by a name that says so, where there is none. */
export async function describeWith(name: ServerName, title: string, tests: (url: string) => void): Promise<void> {
  const server = await backing(name)
  if (server) {
    describe(`${title} (${name})`, () => {
      tests(server.url)
      if (server.from === 'docker') afterAll(() => server.stop())
    })
    return
  }
  describe.skip(`SKIPPED, no ${name} answers: ${title}`, () => {
    test(`set ${servers[name].variable} or start one at its usual port`, () => undefined)
  })
}
