// The RabbitMQ the tests use: AMQP_URL, or one that answers on loopback, or none.
import { connect } from 'amqplib'

/** Its URL, or null if none answers. */
export async function rabbitUrl(): Promise<string | null> {
  const url = process.env.AMQP_URL ?? 'amqp://guest:guest@127.0.0.1:5672'
  try {
    const connection = await connect(url, { timeout: 3_000 })
    await connection.close()
    return url
  } catch (cause) {
    if (process.env.AMQP_URL !== undefined) throw new Error('AMQP_URL is set, but no broker answers there', { cause })
    return null
  }
}
