// The story every call appears in once, and succeeds: a farmer asks, an agent answers. What it makes is what generated questions are about.
import { type Operation, operations } from '@fieldline/contracts/openapi-operations'
import { FormData } from 'undici'
import type { Call, Caller } from './caller.ts'

export interface World {
  conversationId: string
  messageId: string
  mediaId: string
  farmerId: string
  agentId: string
}

export function operationOf(id: string): Operation {
  const found = operations.find((one) => one.id === id)
  if (!found) throw new Error(`there is no operation ${id}`)
  return found
}

/** A PNG of one pixel: small, and an image by its bytes. */
export const pixel = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
)

export function formOf(type: string, files: readonly { bytes: Buffer; name: string; mime: string }[]): FormData {
  const form = new FormData()
  form.set('type', type)
  for (const { bytes, name, mime } of files) form.append('media', new Blob([new Uint8Array(bytes)], { type: mime }), name)
  return form
}
export const image = { bytes: pixel, name: 'leaf.png', mime: 'image/png' }

/** Plays the story; every call must succeed. */
export async function play(caller: Caller): Promise<World> {
  const { farmer, agent, admin } = caller.target.tokens
  const story = (id: string, question: Parameters<Caller['ask']>[2], expected: readonly number[] = [200]) =>
    caller.ask(operationOf(id), 'in the story', question, expected)

  const opened = dataOf(await story('openConversation', { token: farmer }))
  const conversationId = String(opened._id)
  const farmerId = String((opened.userId as { _id?: unknown } | undefined)?._id)
  const params = { id: conversationId }
  await story('listConversations', { token: farmer })
  await story('getConversation', { token: farmer, params })

  const key = `contract-${Date.now()}-${Math.random().toString(36).slice(2)}`
  const text = { conversationId, messageType: 'text', content: 'Hello, I need help', clientMessageId: key }
  const sent = dataOf(await story('sendMessage', { token: farmer, json: text }, [201]))
  await story('sendMessage', { token: farmer, json: text }, [200])
  await story('sendMessage', { token: farmer, json: text, headers: { 'idempotency-key': key } }, [200])

  const uploaded = await story('uploadMedia', { token: farmer, form: formOf('image', [image]) }, [201])
  const [file] = [dataOf(uploaded)].flat() as { _id?: string; url?: string }[]
  await story(
    'sendMessage',
    { token: farmer, json: { conversationId, messageType: 'image', mediaId: file?._id, content: 'My leaf' } },
    [201],
  )
  await fetchFile(caller, String(file?.url))
  await story('listMessages', { token: farmer, params: { conversationId } })

  const agents = await story('listAgents', { token: admin })
  await story('setAvailability', { token: agent, json: { available: true } })
  await story('reassignConversation', { token: admin, json: { conversationId, supportId: null, reason: 'contract test' } })
  await story('listSupportConversations', { token: admin, query: [['status', 'waiting']] })
  // The queue may have been quicker: then the conversation is somebody's already.
  const claimed = await story('claimConversation', { token: agent, params }, [200, 409])
  const agentId = String((dataOf(claimed).assignedSupportId as { _id?: unknown } | undefined)?._id ?? firstId(agents))
  await story('reassignConversation', { token: admin, json: { conversationId, supportId: agentId, force: true } })
  await story('markRead', { token: farmer, params })
  await story('listAssignments', { token: admin, params })
  await story('changeStatus', { token: admin, params, json: { status: 'open' } })
  await story('getStats', { token: admin, query: [['tz', 'Asia/Kolkata']] })
  return { conversationId, messageId: String(sent._id), mediaId: String(file?._id), farmerId, agentId }
}

/** The link as it came, whole, by range, and as a copy the client has. */
async function fetchFile(caller: Caller, url: string): Promise<void> {
  const [id = '', grant = '', name = ''] = new URL(url).pathname.split('/').slice(3)
  const params = { id, grant, name: decodeURIComponent(name) }
  const operation = operationOf('getFile')
  const whole = await caller.ask(operation, 'in the story', { params }, [200])
  await caller.ask(operation, 'by range', { params, headers: { range: 'bytes=0-9' } }, [206])
  const { etag } = whole.headers
  if (typeof etag === 'string') await caller.ask(operation, 'as a copy', { params, headers: { 'if-none-match': etag } }, [304])
  await caller.ask(
    operation,
    'tampered with',
    { params: { ...params, grant: `${grant.slice(0, -3)}${grant.at(-3) === 'A' ? 'B' : 'A'}${grant.slice(-2)}` } },
    [403],
  )
  await caller.ask(operation, 'beyond its end', { params, headers: { range: 'bytes=999999999-' } }, [416])
}

function dataOf(call: Call): Record<string, unknown> {
  const data: unknown = typeof call.json === 'object' && call.json !== null && 'data' in call.json ? call.json.data : undefined
  return typeof data === 'object' && data !== null ? (data as Record<string, unknown>) : {}
}
function firstId(call: Call): string {
  const [first] = [dataOf(call)].flat() as { _id?: string }[]
  return String(first?._id)
}
