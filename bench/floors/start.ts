// Floor of a start: imports the packages it is given, opens a channel where AMQP is among them, listens.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

const packages = process.argv.slice(2)
await Promise.all(packages.map((name) => import(name)))
if (packages.includes('amqplib')) {
  const { connect } = await import('amqplib')
  await (await connect(process.env.BROKER_URL ?? '')).createChannel()
}
const server = createServer((_req, res) => void res.end())
server.listen(0, '127.0.0.1', () => process.send?.({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }))
process.on('disconnect', () => process.exit())
