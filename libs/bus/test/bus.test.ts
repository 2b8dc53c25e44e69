// Runs the contract against each adapter.
import { describe, expect, test } from '@jest/globals'
import { connectBus } from '../src/connect.ts'
import { eraseTopology } from '../src/rabbit-topology.ts'
import { busContract, retryDelaysMs } from './bus.contract.ts'
import { rabbitUrl } from './rabbit-server.ts'

const url = await rabbitUrl()

describe('the memory bus', () => {
  busContract({
    connect: (options) => connectBus(`memory:${options.topology.queues[0]?.name}`, options),
    erase: async () => undefined,
  })
})

if (url === null) {
  describe.skip('SKIPPED: no RabbitMQ at AMQP_URL or 127.0.0.1:5672', () => {
    test('the contract over RabbitMQ', () => undefined)
  })
} else {
  describe('the bus over RabbitMQ', () => {
    busContract({ connect: (options) => connectBus(url, options), erase: (topology) => eraseTopology(url, topology, retryDelaysMs) })
  })
}

test('an URL of another kind is refused without showing its password', async () => {
  const refused = connectBus('kafka://user:secret@host', { topology: { exchanges: [], queues: [] }, name: 'test' })
  await expect(refused).rejects.toThrow('BROKER_URL must begin with amqp://, amqps:// or memory:, not "kafka:"')
})

test('an unreadable URL is refused without showing its password', async () => {
  const refused = connectBus('amqp://user:secret@host:port', { topology: { exchanges: [], queues: [] }, name: 'test' })
  await expect(refused).rejects.toThrow(/^BROKER_URL is not a valid URL$/)
})
