// The contract test: drives every operation of the OpenAPI document with generated input, valid and invalid, and judges every answer by the document.
import { openApiDocument } from '@fieldline/contracts/openapi'
import { type Operation, operations } from '@fieldline/contracts/openapi-operations'
import { mostPassedOver } from '@fieldline/contracts/pages'
import fc from 'fast-check'
import { fitting, type Known, resolved, type Schema, takenForAbsent, unfitting } from './arbitraries.ts'
import { type Call, Caller, type Fault, type Question, type Target } from './caller.ts'
import { formOf, image, operationOf, play, type World } from './scenario.ts'

export interface DriveOptions extends Target {
  /** Valid questions an operation. Default 10. */
  runs?: number
  /** Printed with the report; the same seed asks the same. */
  seed?: number
}
export interface DriveReport {
  seed: number
  calls: number
  /** Statuses seen by operation. */
  seen: Record<string, number[]>
  faults: Fault[]
}

interface Documented {
  parameters?: { in: string; name: string; schema: Schema }[]
  requestBody?: { content: Record<string, { schema: Schema }> }
}
const document = JSON.parse(JSON.stringify(openApiDocument())) as { paths: Record<string, Record<string, Documented>> }

/**
 * Tries everything against `baseUrl`, whose rate limits must be off. `tokens` name a farmer, an agent and an admin; the farmer's conversation is written to.
 * Rejects only where nothing answers; what is wrong with the answers is in `faults`.
 */
export async function driveContract({ baseUrl, tokens, runs = 10, seed = Date.now() % 2 ** 31 }: DriveOptions): Promise<DriveReport> {
  const caller = new Caller({ baseUrl, tokens })
  try {
    const world = await play(caller)
    for (const operation of operations) {
      const asked = new Asked(caller, operation, world)
      await asked.valid(runs, seed)
      await asked.strangers()
      await asked.wrongRoles()
      await asked.wrongPaths()
      await asked.wrongQueries()
      await asked.unreadableBodies()
      await asked.wrongBodies()
      await asked.absentFields()
    }
    await wrongUploads(caller)
    return { seed, calls: caller.calls.length, seen: statuses(caller.calls), faults: caller.faults }
  } finally {
    await caller.close()
  }
}

class Asked {
  readonly #caller: Caller
  readonly #operation: Operation
  readonly #world: World
  readonly #documented: Documented
  constructor(caller: Caller, operation: Operation, world: World) {
    this.#caller = caller
    this.#operation = operation
    this.#world = world
    this.#documented = document.paths[operation.path]?.[operation.method] ?? {}
  }

  get #isFile(): boolean {
    return this.#operation.id === 'getFile'
  }
  get #body(): Schema | undefined {
    return this.#documented.requestBody?.content['application/json']?.schema
  }
  get #params(): Record<string, string> {
    return { id: this.#world.conversationId, conversationId: this.#world.conversationId }
  }
  get #tokens(): string[] {
    const { farmer, agent, admin } = this.#caller.target.tokens
    const byRole = { User: farmer, Support: agent, Admin: admin }
    return this.#operation.roles.map((role) => byRole[role])
  }
  /** A question that nothing is wrong with. */
  get #plain(): Question {
    const token = this.#tokens.at(-1)
    return { token, params: this.#params, ...(this.#body ? { json: this.#example() } : {}) }
  }

  /** Values that name something must name what exists; a cursor must come from the API; a page lies in reach at any limit. */
  #known(): Known {
    const { conversationId, mediaId, agentId } = this.#world
    const day = fc.integer({ min: 1, max: 28 }).map((date) => `2026-01-${String(date).padStart(2, '0')}`)
    return {
      conversationId: fc.constant(conversationId),
      mediaId: fc.constant(mediaId),
      supportId: fc.constantFrom(agentId, null),
      assignedSupportId: fc.constantFrom(agentId, null),
      assignedTo: fc.constantFrom('me', 'none', agentId),
      from: day,
      to: day.map((date) => date.replace('-01-', '-02-')),
      tz: fc.constantFrom('UTC', 'Asia/Kolkata'),
      page: fc.integer({ min: 1, max: mostPassedOver / 100 }),
      agentId: fc.constant(agentId),
      'Idempotency-Key': fc.stringMatching(/^[\x21-\x7e]{8,40}$/),
      clientMessageId: fc.stringMatching(/^[\x21-\x7e]{8,40}$/),
    }
  }

  async valid(runs: number, seed: number): Promise<void> {
    if (this.#isFile || this.#operation.body?.type) return
    const known = this.#known()
    const query = fc.record(
      Object.fromEntries(this.#parameters('query').map(({ name, schema }) => [name, (known[name] ?? fitting(schema, known)).map(String)])),
      { requiredKeys: [] },
    )
    const body = this.#body ? fitting(this.#body, known) : fc.constant(undefined)
    for (const sample of fc.sample(fc.record({ query, body, token: fc.constantFrom(...this.#tokens) }), { numRuns: runs, seed })) {
      await this.#freshConversation()
      const question = { token: sample.token, params: this.#params, query: withoutClashes(sample.query), json: sample.body }
      const { status } = await this.#ask('generated, valid', question)
      if (status === 400) this.#fault('generated, valid', 'a valid question got 400', question)
    }
  }

  async strangers(): Promise<void> {
    if (this.#isFile) return
    await this.#ask('without a token', { ...this.#plain, token: undefined }, [401])
    await this.#ask('with a broken token', { ...this.#plain, token: 'eyJhbGciOiJub25lIn0.e30.' }, [401])
  }

  async wrongRoles(): Promise<void> {
    const { farmer, agent, admin } = this.#caller.target.tokens
    for (const [role, token] of [
      ['User', farmer],
      ['Support', agent],
      ['Admin', admin],
    ] as const) {
      if (!this.#operation.roles.includes(role)) await this.#ask(`as ${role}`, { ...this.#plain, token }, [403])
    }
  }

  async wrongPaths(): Promise<void> {
    if (this.#isFile) return
    for (const { name } of this.#parameters('path')) {
      for (const wrong of ['x', 'g'.repeat(24), "' or 1=1", '{"$ne":null}', '__proto__']) {
        await this.#ask(`${name} is ${wrong}`, { ...this.#plain, params: { ...this.#params, [name]: wrong } }, [400])
      }
      await this.#ask(`${name} is nobody's`, { ...this.#plain, params: { ...this.#params, [name]: '0'.repeat(24) } }, [404])
    }
  }

  async wrongQueries(): Promise<void> {
    for (const { name, schema } of this.#parameters('query')) {
      const { type, enum: values } = resolved(schema)
      const wrong = values ? ['none-of-these'] : type === 'integer' ? ['x', '-1', '1.5', '1e3', '0x10'] : []
      if (schema.maximum !== undefined) wrong.push(String(schema.maximum + 1))
      // A limit above the maximum is clamped, whatever its length; a number that none can have is refused elsewhere.
      if (type === 'integer')
        await this.#ask(`${name} of 30 digits`, { ...this.#plain, query: [[name, '9'.repeat(30)]] }, [name === 'limit' ? 200 : 400])
      for (const value of wrong) await this.#ask(`${name}=${value}`, { ...this.#plain, query: [[name, value]] }, [400])
      await this.#ask(
        `${name} twice`,
        {
          ...this.#plain,
          query: [
            [name, '1'],
            [name, '2'],
          ],
        },
        [400],
      )
      await this.#ask(`${name} as an operator`, { ...this.#plain, query: [[`${name}[$ne]`, '1']] }, [200, 400])
      await this.#ask(`${name} blank`, { ...this.#plain, query: [[name, '']] }, [200])
    }
  }

  /** Also where none is needed. */
  async unreadableBodies(): Promise<void> {
    if (this.#operation.method === 'get' || this.#operation.body?.type) return
    const unread = { ...this.#plain, json: undefined }
    for (const text of ['{', 'undefined', '{"a":}', '\u0000'])
      await this.#ask(`the body is ${JSON.stringify(text)}`, { ...unread, raw: { type: 'application/json', text } }, [400])
    await this.#ask('the body is XML', { ...unread, raw: { type: 'text/xml', text: '<a/>' } }, [415])
    await this.#ask('the body is 1 MB', { ...unread, json: { ...this.#example(), filler: 'x'.repeat(1_100_000) } }, [413])
  }

  async wrongBodies(): Promise<void> {
    const schema = this.#body
    if (!schema) return
    const nothing = this.#operation.body?.required ? [400] : [200]
    await this.#ask('the body is empty', { ...this.#plain, json: undefined, raw: { type: 'application/json', text: '' } }, nothing)
    await this.#ask('the body is null', { ...this.#plain, json: null }, nothing)
    for (const whole of [[], 'text', 7, true])
      await this.#ask(`the body is ${JSON.stringify(whole)}`, { ...this.#plain, json: whole }, [400])
    for (const key of ['__proto__', 'constructor', '$where', 'a.b']) {
      const text = JSON.stringify(this.#example()).replace(/^\{/, `{${JSON.stringify(key)}:{"x":1},`)
      await this.#ask(`a key is ${key}`, { ...this.#plain, json: undefined, raw: { type: 'application/json', text } }, [400])
    }
    const deep = `${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}`
    await this.#ask('nested 5,000 deep', { ...this.#plain, json: undefined, raw: { type: 'application/json', text: deep } }, [400])

    const shape = firstObject(schema)
    for (const [name, field] of Object.entries(shape.properties ?? {})) {
      const example = this.#example()
      // The one name hides the other.
      if (name === 'assignedSupportId') delete example.supportId
      for (const wrong of unfitting(field)) {
        const what = `${name} is ${JSON.stringify(wrong)?.slice(0, 60)}`
        await this.#ask(what, { ...this.#plain, json: { ...example, [name]: wrong } }, [400])
      }
    }
    for (const name of shape.required ?? []) {
      const { [name]: _left, ...rest } = this.#example()
      await this.#ask(`without ${name}`, { ...this.#plain, json: rest }, [400])
    }
  }

  /** A field that may be left out may as well be `null`; the document says which, and all of them are. */
  async absentFields(): Promise<void> {
    const { properties = {}, required = [] } = firstObject(this.#body ?? {})
    for (const [name, field] of Object.entries(properties).filter(([name]) => !required.includes(name))) {
      const absent = takenForAbsent(field)
      if (!absent.includes(null)) this.#fault(`${name} is null`, 'the document does not let an optional field be null', this.#plain)
      for (const value of absent) {
        const what = `${name} is ${JSON.stringify(value)}`
        const question = { ...this.#plain, json: { ...this.#example(), [name]: value } }
        const { status } = await this.#ask(what, question)
        if (status === 400) this.#fault(what, 'a field that may be absent got 400', question)
      }
    }
  }

  #ask(what: string, question: Question, expected?: readonly number[]): Promise<Call> {
    return this.#caller.ask(this.#operation, what, question, expected)
  }
  #fault(what: string, fault: string, question: Question): void {
    this.#caller.faults.push({ operation: this.#operation.id, what, fault, asked: JSON.stringify(question) })
  }
  #parameters(where: 'path' | 'query') {
    return (this.#documented.parameters ?? []).filter((one) => one.in === where && one.name !== 'cursor')
  }
  /** The operation's first example, about what exists. */
  #example(): Record<string, unknown> {
    const [example] = Object.values(this.#operation.body?.examples ?? {})
    const { conversationId, messageId, agentId } = this.#world
    const named = { conversationId, messageId, supportId: agentId } as const
    const own = Object.entries((example ?? {}) as Record<string, unknown>)
    return Object.fromEntries(own.map(([name, value]) => [name, name in named ? named[name as keyof typeof named] : value]))
  }
  /** A valid question may have closed the conversation: the farmer's current one takes its place. */
  async #freshConversation(): Promise<void> {
    const { farmer } = this.#caller.target.tokens
    const opened = await this.#caller.ask(operationOf('openConversation'), 'before a question', { token: farmer }, [200])
    const id = (opened.json as { data?: { _id?: string } } | undefined)?.data?._id
    if (id !== undefined) Object.assign(this.#world, { conversationId: id })
  }
}

async function wrongUploads(caller: Caller): Promise<void> {
  const operation = operationOf('uploadMedia')
  const token = caller.target.tokens.farmer
  const html = { bytes: Buffer.from('<html><script>alert(1)</script></html>'), name: 'leaf.jpg', mime: 'image/jpeg' }
  const ask = (what: string, question: Question, expected: readonly number[]) =>
    caller.ask(operation, what, { token, ...question }, expected)
  await ask('several files', { form: formOf('image', [image, image]) }, [201])
  await ask('no file', { form: formOf('image', []) }, [400])
  await ask('an unknown type', { form: formOf('document', [image]) }, [400])
  await ask('HTML as a picture', { form: formOf('image', [html]) }, [415])
  await ask('a picture as audio', { form: formOf('audio', [image]) }, [415])
  await ask('six files', { form: formOf('image', Array(6).fill(image)) }, [400, 413])
  await ask('JSON', { json: { type: 'image' } }, [415])
  await ask('a broken form', { raw: { type: 'multipart/form-data; boundary=x', text: '--x\r\nContent-Disp' } }, [400])
}

/** `page`, `beforeSeq`, `afterSeq` and `cursor` exclude one another. */
function withoutClashes(query: Readonly<Record<string, string | undefined>>): [string, string][] {
  const exclusive = ['page', 'beforeSeq', 'afterSeq', 'cursor']
  const [first] = exclusive.filter((name) => query[name] !== undefined)
  return Object.entries(query).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && (entry[0] === first || !exclusive.includes(entry[0])),
  )
}

function firstObject(given: Schema): Schema {
  const schema = resolved(given)
  const [first] = schema.oneOf ?? schema.anyOf ?? []
  return schema.properties || !first ? schema : firstObject(first)
}

function statuses(calls: readonly Call[]): Record<string, number[]> {
  const seen: Record<string, number[]> = {}
  for (const { operation, status } of calls) seen[operation] = [...new Set([...(seen[operation] ?? []), status])].sort()
  return seen
}
