// `kill -9` of the process at random moments under load, over the real broker: whatever was answered is in history once, with its seq, and published (issue 5).
// KILL_ROUNDS=2 makes it the short one, a second a kill.
import { randomUUID } from 'node:crypto'
import { type EventBus, namespaced, namespacedName } from '@fieldline/bus/bus'
import { connectBus } from '@fieldline/bus/connect'
import { eraseTopology } from '@fieldline/bus/rabbit-topology'
import type { ConversationEvent } from '@fieldline/contracts/events'
import { statsQueue, topology } from '@fieldline/contracts/topology'
import { silentLogger } from '@fieldline/service/logger'
import { backing } from '@fieldline/testing/backing'
import { type Running, start } from '@fieldline/testing/processes'
import { describe, expect, test } from '@jest/globals'
import { type Answer, call, eventually, onEachDatabase, secrets, tokenOf } from './service.ts'

const rounds = Number(process.env.KILL_ROUNDS ?? 20)
const senders = 4
const broker = await backing('rabbitmq')
const main = new URL('../src/main.ts', import.meta.url).pathname

await onEachDatabase((database) => {
  const suite = broker ? describe : describe.skip
  suite(broker ? 'killed under load' : 'killed under load: SKIPPED, no RabbitMQ answers', () => {
    test(
      `nothing answered is lost or doubled through ${rounds} kills`,
      async () => {
        const url = String(broker?.url)
        const namespace = `k${randomUUID().slice(0, 6)}-`
        const databaseUrl = database.url()
        const published = new Map<string, ConversationEvent>()
        const bus: EventBus = await connectBus(url, { topology: namespaced(topology, namespace), name: 'kill test', log: silentLogger })
        await bus.consume<ConversationEvent>(
          namespacedName(statsQueue, namespace),
          async ({ body }) => void published.set(`${body.conversationid} ${body.eventno}`, body),
          { prefetch: 50, maxAttempts: 1, handlerTimeoutMs: 5_000 },
        )
        const env = {
          ...secrets,
          DATABASE_URL: databaseUrl,
          BROKER_URL: url,
          NAMESPACE: namespace,
          LOG_LEVEL: 'error',
          RELAY_SWEEP_MS: '100',
          RELAY_ORPHANED_AFTER_MS: '300',
          ASSIGNMENT_SWEEP_MS: '500',
        }
        let process: Running = start(main, { env })
        let at = `${await process.url(20_000)}/api/v1/chat`
        const answered = new Map<string, { id: string; seq: number; conversationId: string }>()
        let sending = true

        /** Sends one message after the other, each until it is answered. */
        async function farmer(n: number): Promise<void> {
          const token = tokenOf('User', `farmer-${n}`)
          const conversation = await until(() => call(`${at}/conversations`, 'POST', token))
          const conversationId = conversation.body.data._id
          for (let count = 1; sending; count += 1) {
            const clientMessageId = `${n}-${count}`
            const { body } = await until(() =>
              call(`${at}/messages`, 'POST', token, { conversationId, content: clientMessageId, clientMessageId }),
            )
            answered.set(clientMessageId, { id: body.data._id, seq: body.data.seq, conversationId })
          }
        }

        try {
          const load = Array.from({ length: senders }, (_, n) => farmer(n))
          for (let round = 0; round < rounds; round += 1) {
            const before = answered.size
            await eventually(() => answered.size > before + senders, 'some answers', 20_000)
            // At a random moment of what runs.
            await new Promise((resolve) => setTimeout(resolve, Math.random() * 150))
            process.kill('SIGKILL')
            await process.exited
            process = start(main, { env })
            at = `${await process.url(20_000)}/api/v1/chat`
          }
          const last = answered.size
          await eventually(() => answered.size > last + senders, 'answers after the last kill', 20_000)
          sending = false
          await Promise.all(load)

          for (let n = 0; n < senders; n += 1) {
            const messages = await historyOf(at, `farmer-${n}`)
            expect(messages.map(({ seq }) => seq)).toEqual(messages.map((_, index) => index + 1))
            // One sender's order, and each key once.
            expect(messages.map(({ clientMessageId }) => clientMessageId)).toEqual(messages.map((_, index) => `${n}-${index + 1}`))
            for (const { _id, seq, clientMessageId } of messages) expect(answered.get(clientMessageId)).toMatchObject({ id: _id, seq })
          }
          const seqs = new Map<string, number>()
          for (const { conversationId, seq } of answered.values()) seqs.set(conversationId, Math.max(seq, seqs.get(conversationId) ?? 0))
          await eventually(
            () => [...seqs].every(([id, seq]) => Array.from({ length: seq + 1 }, (_, n) => published.has(`${id} ${n + 1}`)).every(Boolean)),
            'every event',
            20_000,
          )
          for (const { event, id } of [...answered.values()].map(({ conversationId, seq, id }) => ({
            event: published.get(`${conversationId} ${seq + 1}`),
            id,
          }))) {
            expect(event).toMatchObject({ type: 'message.created', data: { message: { id } } })
          }
        } finally {
          sending = false
          await process.stop()
          await bus.close()
          // A broker that hangs must not hide what the test found.
          await Promise.race([
            eraseTopology(url, namespaced(topology, namespace)),
            new Promise((resolve) => setTimeout(resolve, 10_000).unref()),
          ])
          await database.remove(databaseUrl)
        }
      },
      60_000 + rounds * 10_000,
    )
  })
})

/** Asks until there is an answer that is neither lost nor "later". */
async function until(ask: () => Promise<Answer>): Promise<Answer> {
  const deadline = performance.now() + 60_000
  for (;;) {
    const answer = await ask().catch(() => null)
    if (answer && answer.status < 500) return answer
    if (performance.now() > deadline) throw new Error(`no answer in 60 s; last: ${JSON.stringify(answer)}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function historyOf(at: string, farmer: string): Promise<{ _id: string; seq: number; clientMessageId: string }[]> {
  const token = tokenOf('User', farmer)
  const { body } = await call(`${at}/conversations`, 'GET', token)
  const found: { _id: string; seq: number; clientMessageId: string }[] = []
  for (let afterSeq = 0; ; afterSeq = found.length) {
    const page = await call(`${at}/messages/${body.data[0]._id}?limit=100&afterSeq=${afterSeq}`, 'GET', token)
    found.push(...page.body.data)
    if (!page.body.pagination.hasNextPage) return found
  }
}
