// What stats tells Prometheus about itself.
import { type Counter, counter, type Gauge, gauge, type Registry } from '@fieldline/service/metrics'

export interface StatsMetrics {
  /** Age of the event handled last, s. */
  lag: Gauge
  /** Handlings by outcome: done, retry (failed, tried again), dead. */
  events: Counter<'outcome'>
  dead: Gauge
  early: Gauge
  dirty: Gauge
  fetched: Counter
}

export function createStatsMetrics(registry: Registry): StatsMetrics {
  return {
    lag: gauge(registry, 'fieldline_stats_lag_seconds', 'Age of the event that was handled last'),
    events: counter(registry, 'fieldline_stats_events_total', 'Events handled (done), failed and tried again (retry), given up (dead)', [
      'outcome',
    ]),
    dead: gauge(registry, 'fieldline_stats_dead_letters', 'Events that lie in the dead letter queue'),
    early: gauge(registry, 'fieldline_stats_early_events', 'Events that wait for those before them'),
    dirty: gauge(registry, 'fieldline_stats_dirty_quarters', 'Quarter hours whose kept sums are not up to date'),
    fetched: counter(registry, 'fieldline_stats_fetched_events_total', "Events fetched from conversation's log to fill gaps"),
  }
}
