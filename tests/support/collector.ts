// Where a whole's traces go and how a test reads them: a real Jaeger, or an OTLP receiver of the test's own where there is none.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import { request } from 'undici'

export interface SeenSpan {
  service: string
  name: string
  /** Sent to or taken from RabbitMQ. */
  onBroker: boolean
}
export interface Collector {
  /** What makes a whole send its traces here. */
  env: Record<string, string>
  /** What has come of this trace so far. */
  spansOf(traceId: string): Promise<SeenSpan[]>
  close(): Promise<void>
}

const always = { OTEL_TRACES_EXPORTER: 'otlp', OTEL_TRACES_SAMPLER: 'parentbased_always_on', OTEL_BSP_SCHEDULE_DELAY: '200' }

interface OtlpAttribute {
  key: string
  value: { stringValue?: string }
}
interface OtlpTraces {
  resourceSpans: {
    resource: { attributes: OtlpAttribute[] }
    scopeSpans: { spans: { traceId: string; name: string; attributes: OtlpAttribute[] }[] }[]
  }[]
}

/** Takes OTLP over HTTP as JSON and keeps it in memory. */
export async function ownCollector(): Promise<Collector> {
  const traces = new Map<string, SeenSpan[]>()
  const server = createServer(async (req, res) => {
    for (const { resource, scopeSpans } of ((await json(req)) as OtlpTraces).resourceSpans) {
      const service = textOf(resource.attributes, 'service.name')
      for (const { traceId, name, attributes } of scopeSpans.flatMap(({ spans }) => spans)) {
        const seen = traces.get(traceId) ?? []
        traces.set(traceId, [...seen, { service, name, onBroker: textOf(attributes, 'messaging.system') === 'rabbitmq' }])
      }
    }
    res.setHeader('content-type', 'application/json').end('{}')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    env: { ...always, OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' },
    spansOf: async (traceId) => traces.get(traceId) ?? [],
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

interface JaegerTraces {
  data:
    | {
        spans: { operationName: string; processID: string; tags: { key: string; value: unknown }[] }[]
        processes: Record<string, { serviceName: string }>
      }[]
    | null
}

/** @param url of its query API @param otlpUrl where it takes OTLP over HTTP */
export function jaeger(url: string, otlpUrl: string): Collector {
  return {
    env: { ...always, OTEL_EXPORTER_OTLP_ENDPOINT: otlpUrl, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf' },
    async spansOf(traceId) {
      const { body } = await request(`${url}/api/traces/${traceId}`)
      const { data } = (await body.json()) as JaegerTraces
      return (data ?? []).flatMap(({ spans, processes }) =>
        spans.map(({ operationName, processID, tags }) => ({
          service: processes[processID]?.serviceName ?? '',
          name: operationName,
          onBroker: tags.some(({ key, value }) => key === 'messaging.system' && value === 'rabbitmq'),
        })),
      )
    },
    close: async () => undefined,
  }
}

function textOf(attributes: readonly OtlpAttribute[], key: string): string {
  return attributes.find((attribute) => attribute.key === key)?.value.stringValue ?? ''
}
