// Prometheus metrics: a registry a service, the process's own figures once, and several services' text merged into one.
import { AggregatorRegistry, Counter, collectDefaultMetrics, Gauge, Histogram, type MetricObject, Registry } from 'prom-client'

export type { Counter, Gauge, Histogram, Registry } from 'prom-client'

let processRegistry: Registry | undefined

/** A registry whose every series carries `service`. */
export function createRegistry(service: string): Registry {
  const registry = new Registry()
  registry.setDefaultLabels({ service })
  return registry
}

/** `fieldline_<room>_<what>_total`. Labels must have few, bounded values: never an id. */
export function counter<L extends string = never>(
  registry: Registry,
  name: string,
  help: string,
  labelNames: readonly L[] = [],
): Counter<L> {
  return new Counter({ name, help, labelNames: [...labelNames], registers: [registry] })
}

export function gauge<L extends string = never>(registry: Registry, name: string, help: string, labelNames: readonly L[] = []): Gauge<L> {
  return new Gauge({ name, help, labelNames: [...labelNames], registers: [registry] })
}

const secondsBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/** `fieldline_<room>_<what>_seconds`, unless `buckets` say another unit. */
export function histogram<L extends string = never>(
  registry: Registry,
  name: string,
  help: string,
  labelNames: readonly L[] = [],
  buckets: readonly number[] = secondsBuckets,
): Histogram<L> {
  return new Histogram({ name, help, labelNames: [...labelNames], buckets: [...buckets], registers: [registry] })
}

/** The exposition text of these services and, once, of the process they live in. */
export async function metricsText(registries: readonly Registry[]): Promise<string> {
  if (!processRegistry) {
    processRegistry = new Registry()
    collectDefaultMetrics({ register: processRegistry })
  }
  const all = await Promise.all([processRegistry, ...new Set(registries)].map((registry) => registry.getMetricsAsJSON()))
  return AggregatorRegistry.aggregate(all as unknown as MetricObject[]).metrics()
}

export const metricsType = Registry.PROMETHEUS_CONTENT_TYPE
