// A stand-in for all services, made from the same table of operations: it checks as the contracts say and answers with the examples.
import { Reassign } from '@fieldline/contracts/conversations'
import { AppError } from '@fieldline/contracts/errors'
import { SendMessage } from '@fieldline/contracts/messages'
import { type Operation, operations } from '@fieldline/contracts/openapi-operations'
import { authenticate, createVerifier, requireRole } from '@fieldline/service/auth'
import { createHealth } from '@fieldline/service/health'
import { createHttp } from '@fieldline/service/http'
import { silentLogger } from '@fieldline/service/logger'
import { createRegistry } from '@fieldline/service/metrics'
import { parse } from '@fieldline/service/parse'
import type { Request, Response } from 'express'
import type { ZodType } from 'zod'
import { jwtSecret } from '../support/stage.ts'
import { pixel } from './scenario.ts'

export interface Stub {
  url: string
  stop(): Promise<void>
}

/** @param lie changes an answer before it is sent, to see whether it is noticed */
export async function stub(
  lie: (operation: Operation, body: Record<string, unknown>, res: Response) => void = () => undefined,
): Promise<Stub> {
  const verifier = createVerifier({
    jwtSecrets: [jwtSecret],
    jwtAlgorithms: [],
    jwtAudience: [],
    jwtRequireExp: true,
    jwtClaims: [],
    jwtRoles: [],
  })
  const log = silentLogger
  const keys = new Set<string>()

  function answer(operation: Operation, req: Request, res: Response): void {
    const { params, query, body, id } = operation
    if (params) {
      const given = parse(params, req.params, 'params') as Record<string, string>
      if (Object.values(given).includes('0'.repeat(24))) throw new AppError('CONVERSATION_NOT_FOUND', 'There is no such conversation')
    }
    if (query) parse(query as ZodType, req.query, 'query')
    let status = operation.answers[0]?.status ?? 200
    if (id === 'uploadMedia') {
      upload(operation, req, res, lie)
      return
    }
    if (body) {
      const given = parse(whole[id] ?? body.schema, req.body) as { clientMessageId?: string }
      if (id === 'sendMessage' && given.clientMessageId !== undefined) {
        if (keys.has(given.clientMessageId)) status = 200
        keys.add(given.clientMessageId)
      }
    }
    const found = operation.answers.find((one) => one.status === status) ?? operation.answers[0]
    const sent = { message: found?.text, data: structuredClone(found?.data?.example), ...found?.data?.moreExample }
    lie(operation, sent, res)
    if (!res.headersSent) res.status(status).json(sent)
  }

  const http = createHttp({
    name: 'stub',
    log,
    health: createHealth(),
    registry: createRegistry('stub'),
    host: '127.0.0.1',
    port: 0,
    drainMs: 100,
    otherBodies: ['multipart/form-data'],
    routers(app) {
      for (const operation of operations) {
        const path = operation.path.replace(/\{(\w+)\}/g, ':$1')
        if (operation.id === 'getFile') app.get(path, file)
        else app[operation.method](path, authenticate(verifier), requireRole(...operation.roles), (req, res) => answer(operation, req, res))
      }
    },
  })
  await http.start()
  return { url: String(http.url), stop: () => http.stop() }
}

/** The documents show the inner shape of these. */
const whole: Readonly<Record<string, ZodType>> = { sendMessage: SendMessage, reassignConversation: Reassign }

/** As much of media's door as the contract test asks about. */
function upload(operation: Operation, req: Request, res: Response, lie: Parameters<typeof stub>[0] = () => undefined): void {
  if (!/^multipart/.test(req.get('content-type') ?? '')) throw new AppError('UNSUPPORTED_MEDIA_TYPE', 'An upload is multipart/form-data')
  const chunks: Buffer[] = []
  req.on('data', (chunk: Buffer) => chunks.push(chunk))
  req.on('end', () => {
    const form = Buffer.concat(chunks).toString('latin1')
    const files = form.match(/name="media"/g)?.length ?? 0
    const type = /name="type"\r\n\r\n(\w+)/.exec(form)?.[1]
    const refusal =
      files > 5
        ? new AppError('PAYLOAD_TOO_LARGE', 'At most 5 files')
        : files === 0 || !['image', 'audio', 'video'].includes(type ?? '')
          ? new AppError('VALIDATION_FAILED', 'media: is missing')
          : type !== 'image' || form.includes('<html>')
            ? new AppError('UNSUPPORTED_MEDIA_TYPE', 'The content is not of that type')
            : undefined
    if (refusal) {
      res.status(refusal.status).json({ success: false, message: refusal.message, code: refusal.code, requestId: req.requestId })
      return
    }
    const [created] = operation.answers
    const sent = { message: created?.text, data: created?.data?.example }
    lie(operation, sent, res)
    if (!res.headersSent) res.status(201).json(sent)
  })
}

function file(req: Request, res: Response): void {
  // The one link it has handed out, letter by letter.
  if (!shownLink().includes(`/${req.params.grant}/`)) throw new AppError('LINK_INVALID', 'The link is not valid any more')
  if (req.get('range') === 'bytes=999999999-') throw new AppError('RANGE_NOT_SATISFIABLE', 'The range is not satisfiable')
  res.set({ 'Content-Type': 'image/png', ETag: '"pixel"' })
  if (req.get('if-none-match') === '"pixel"') res.status(304).end()
  else if (req.get('range')) res.status(206).set('Content-Range', `bytes 0-9/${pixel.length}`).end(pixel.subarray(0, 10))
  else res.end(pixel)
}

function shownLink(): string {
  const [uploaded] = operations.find(({ id }) => id === 'uploadMedia')?.answers ?? []
  return JSON.stringify(uploaded?.data?.example)
}
