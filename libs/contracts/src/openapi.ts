// The OpenAPI 3.1 document of the public API, generated from the contracts (issue 9).
import { z } from 'zod'
import { createDocument, type ZodOpenApiOperationObject, type ZodOpenApiPathsObject, type ZodOpenApiResponsesObject } from 'zod-openapi'
import { AssignmentView, ConversationView, Reassign, Status } from './conversations.ts'
import { ErrorEnvelope } from './envelopes.ts'
import { ConversationId, MediaId, MessageId, PersonId } from './ids.ts'
import { MediaType, MediaView } from './media.ts'
import { MessageType, MessageView, SendMessage, textLimit } from './messages.ts'
import { anywhere, errorResponses, RequestId, withBody } from './openapi-errors.ts'
import { developmentUrl, ids } from './openapi-examples.ts'
import { type Answer, type Operation, operations } from './openapi-operations.ts'
import { Pagination, seqField } from './pages.ts'
import { AgentView, FarmerView, PersonView, Role } from './people.ts'
import { Durations, StatsView } from './stats.ts'

export const apiVersion = '1.1.0'

/** Schemas with a name of their own in the documents. */
export const namedSchemas = {
  Agent: AgentView,
  Assignment: AssignmentView,
  Conversation: ConversationView,
  ConversationId,
  Durations,
  Error: ErrorEnvelope,
  Farmer: FarmerView,
  Media: MediaView,
  MediaId,
  MediaType,
  Message: MessageView,
  MessageId,
  MessageType,
  Pagination,
  Person: PersonView,
  PersonId,
  Role,
  Stats: StatsView,
  Status,
} as const
for (const [id, schema] of Object.entries(namedSchemas)) z.globalRegistry.add(schema, { id })

const description = `Support chat between farmers on phones and agents on the web.

Every call names its person by \`Authorization: Bearer <token>\`. With \`npm start\` the gateway prints a token for each role; paste those
lines (\`export FARMER=…\`, \`export AGENT=…\`) and then:

\`\`\`sh
API=${developmentUrl}/api/v1/chat
ID=$(curl -s -X POST $API/conversations -H "Authorization: Bearer $FARMER" | sed 's/.*"data":{"_id":"\\([0-9a-f]*\\)".*/\\1/')
curl -s -X POST $API/messages -H "Authorization: Bearer $FARMER" -H 'Content-Type: application/json' \\
  -d "{\\"conversationId\\":\\"$ID\\",\\"content\\":\\"Hello, I need help\\"}"
curl -s $API/messages/$ID -H "Authorization: Bearer $FARMER"
\`\`\`

A success is \`{ message, data[, pagination] }\`, a failure \`{ success: false, message, code, requestId[, details] }\`. Unknown fields are
ignored; an optional field may as well be \`null\`, or \`""\` where it is text, and a blank query parameter is an absent one. Keys with \`$\`
or \`.\`, \`__proto__\`, \`constructor\` and \`prototype\` are refused. Real-time events are in \`/asyncapi.json\`.`

/** @param serverUrl where clients reach the gateway (`PUBLIC_URL`) */
export function openApiDocument(serverUrl = developmentUrl): object {
  const paths: Record<string, Record<string, ZodOpenApiOperationObject>> = {}
  for (const operation of operations) {
    const { path, method } = operation
    paths[path] = { ...paths[path], [method]: describe(operation) }
  }
  const document = createDocument(
    {
      openapi: '3.1.0',
      info: { title: 'Fieldline', version: apiVersion, description, license: { name: 'Proprietary', identifier: 'LicenseRef-Fieldline' } },
      servers: [{ url: developmentUrl }],
      security: [{ bearer: [] }],
      tags: ['Conversations', 'Messages', 'Media', 'Support'].map((name) => ({ name, description: tagTexts[name] ?? name })),
      paths: paths as ZodOpenApiPathsObject,
      components: {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: '`sub`, `role` and `exp` are needed.' },
        },
      },
    },
    { override: ({ jsonSchema, zodSchema }) => refine(jsonSchema, zodSchema) },
  )
  return naming(serverUrl.replace(/\/+$/, ''), document)
}

/** The same document, with that server in its texts and examples too, so that they work as pasted. */
function naming(serverUrl: string, document: object): object {
  const named = (value: unknown) => (typeof value === 'string' ? value.replaceAll(developmentUrl, () => serverUrl) : value)
  return JSON.parse(JSON.stringify(document), (_key, value: unknown) => named(value))
}

const tagTexts: Readonly<Record<string, string>> = {
  Conversations: 'One unclosed conversation a farmer.',
  Messages: 'Numbered 1, 2, 3 … per conversation, without a gap.',
  Media: 'Uploaded first, then named by a message.',
  Support: 'What agents and admins do.',
}

function describe(operation: Operation): ZodOpenApiOperationObject {
  const { id, tag, who, summary, params, query, headers, body, answers, errors, token } = operation
  const responses: ZodOpenApiResponsesObject = Object.fromEntries(answers.map((answer) => [String(answer.status), succeed(answer)]))
  return {
    operationId: id,
    tags: [tag],
    summary,
    description: [`For: ${who}.`, operation.description].filter(Boolean).join(' '),
    ...(token === 'optional' ? { security: [{}, { bearer: [] }] } : {}),
    ...(params || query || headers
      ? { requestParams: { ...(params ? { path: params } : {}), ...(query ? { query } : {}), ...(headers ? { header: headers } : {}) } }
      : {}),
    ...(body ? { requestBody: { required: body.required, content: { [body.type ?? 'application/json']: bodyOf(body) } } } : {}),
    responses: { ...responses, ...errorResponses([...anywhere, ...(operation.method === 'get' ? [] : withBody), ...errors]) },
  }
}

function bodyOf(body: NonNullable<Operation['body']>) {
  return { schema: body.schema, examples: Object.fromEntries(Object.entries(body.examples).map(([name, value]) => [name, { value }])) }
}

function succeed({ status, text, data, binary }: Answer) {
  const headers = z.object({ 'X-Request-Id': RequestId.optional() })
  if (binary) return { description: text, headers, content: { '*/*': { schema: z.file() } } }
  if (!data) return { description: status === 304 ? text : 'Nothing more', headers }
  const example = { message: text, data: data.example, ...data.moreExample }
  const schema = z.object({ message: z.string(), data: data.schema, ...data.more })
  return { description: text, headers, content: { 'application/json': { schema, examples: { seed: { value: example } } } } }
}

interface Loose {
  [key: string]: unknown
}
const text = { minLength: 1, maxLength: textLimit, pattern: '\\S' }
const [textMessage, mediaMessage] = SendMessage.out.options
const wholeNumber = (minimum: number) => ({ type: 'integer', minimum })
/** Queries are text on the wire and whole numbers in meaning; what a refinement demands is said in JSON Schema where it can be. */
const said = new Map<z.ZodType, Loose>([
  [textMessage.shape.content, text],
  [ConversationId, { examples: [ids.conversation] }],
  [MessageId, { examples: [ids.message] }],
  [MediaId, { examples: [ids.media] }],
  [PersonId, { examples: [ids.agent] }],
  [seqField, wholeNumber(0)],
  [Reassign.out.shape.force, { default: false }],
])

/** Changes what was generated, in place. */
export function refine(schema: object, from: unknown): void {
  const json = schema as Loose
  if (!(from instanceof z.ZodType)) return
  Object.assign(json, said.get(from))
  // The format says it; the pattern is a page long.
  if (json.format === 'date-time' || json.format === 'date') delete json.pattern
  if (json.type === 'string' && /^\^\\d\{1,\d+\}\$$/.test(String(json.pattern))) {
    delete json.pattern
    Object.assign(json, wholeNumber(from === seqField ? 0 : 1))
  }
  if (from instanceof z.ZodFile) Object.assign(json, { type: 'string', contentMediaType: 'application/octet-stream' })
  if (from === textMessage) {
    json.required = ['conversationId', 'content']
    Object.assign(json.properties as Loose, { messageType: { type: ['string', 'null'], enum: ['text', '', null], default: 'text' } })
  }
  if (from === SendMessage.out) {
    json.anyOf = json.oneOf
    delete json.oneOf
  }
  if (from === mediaMessage) Object.assign((json.properties as Record<string, Loose>).content ?? {}, { maxLength: textLimit })
  if (from === Reassign.out) {
    json.properties = {
      ...(json.properties as Loose),
      assignedSupportId: { type: ['string', 'null'], description: 'Another name of `supportId`.' },
    }
    json.required = ['conversationId']
    json.anyOf = [{ required: ['supportId'] }, { required: ['assignedSupportId'] }]
  }
}
