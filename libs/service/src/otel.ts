// OpenTelemetry, started before anything else: `node --import ./libs/service/src/otel.ts …`. Without an exporter it does nothing.
import { onFlush, withoutKeys } from './telemetry.ts'

const { env } = process
const exporter = env.OTEL_TRACES_EXPORTER ?? ''
const wanted =
  env.OTEL_SDK_DISABLED !== 'true' &&
  exporter !== 'none' &&
  (exporter !== '' || Boolean(env.OTEL_EXPORTER_OTLP_ENDPOINT || env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT))

if (wanted) {
  // Hooks first: only what is loaded after them can be instrumented.
  const { register } = await import('import-in-the-middle/register-hooks.mjs')
  // Only what is instrumented: hooking every import doubles the start.
  register({ include: [/^(node:)?https?$/, /amqplib/, /express/] })
  const { NodeSDK } = await import('@opentelemetry/sdk-node')
  const { HttpInstrumentation } = await import('@opentelemetry/instrumentation-http')
  const { UndiciInstrumentation } = await import('@opentelemetry/instrumentation-undici')
  const { AmqplibInstrumentation } = await import('@opentelemetry/instrumentation-amqplib')
  // Spans of Express cost more than they tell: on request only.
  const express = (env.OTEL_NODE_ENABLED_INSTRUMENTATIONS ?? '').split(',').includes('express')
    ? [new (await import('@opentelemetry/instrumentation-express')).ExpressInstrumentation()]
    : []
  const unseen = /^\/(health\/|metrics|socket\.io\/)/
  const sdk = new NodeSDK({
    serviceName: env.OTEL_SERVICE_NAME ?? serviceName(process.argv[1] ?? ''),
    autoDetectResources: false,
    metricReaders: [],
    logRecordProcessors: [],
    instrumentations: [
      new HttpInstrumentation({ ignoreIncomingRequestHook: (request) => unseen.test(request.url ?? ''), requestHook: withoutKeys }),
      new UndiciInstrumentation({ requestHook: withoutKeys }),
      new AmqplibInstrumentation(),
      ...express,
    ],
  })
  sdk.start()
  onFlush(() => sdk.shutdown())
}

/** `services/realtime/src/main.ts` → `realtime`; else the whole of it. */
function serviceName(script: string): string {
  return /services[\\/]([\w-]+)[\\/]/.exec(script)?.[1] ?? 'fieldline'
}
