// What realtime counts: connections, rooms, emits, how late messages are, repairs, drops.
import { counter, gauge, histogram, type Registry } from '@fieldline/service/metrics'

export function createMetrics(
  registry: Registry,
  now: { connections(): number; people(): number; rooms(): number; joined(): number; waiting(): number },
) {
  const live = (name: string, help: string, read: () => number) => {
    const made = gauge(registry, name, help)
    Object.assign(made, { collect: () => made.set(read()) })
  }
  live('fieldline_realtime_connections', 'Connected sockets', now.connections)
  live('fieldline_realtime_people', 'People with a socket here', now.people)
  live('fieldline_realtime_conversations_followed', 'Conversations somebody here has joined', now.rooms)
  live('fieldline_realtime_joined_rooms', 'Memberships of sockets in rooms', now.joined)
  live('fieldline_realtime_lane_waiting', 'Events that wait in lanes', now.waiting)
  return {
    emits: counter(registry, 'fieldline_realtime_emits_total', 'Events emitted to sockets, one per receiver', ['event']),
    delivery: histogram(registry, 'fieldline_realtime_delivery_seconds', 'From the commit of a message to its emit'),
    lag: histogram(registry, 'fieldline_realtime_consumer_lag_seconds', 'From the time of an event to its arrival here'),
    consumed: counter(registry, 'fieldline_realtime_consumed_total', 'Deliveries of the broker', ['outcome']),
    repairs: counter(registry, 'fieldline_realtime_gap_repairs_total', 'Snapshots fetched because events were missing', ['cause']),
    fetchFailures: counter(registry, 'fieldline_realtime_fetch_failures_total', 'Fetches from conversation that failed'),
    drops: counter(registry, 'fieldline_realtime_drops_total', 'Connections closed and events dropped by us', ['reason']),
    events: counter(registry, 'fieldline_realtime_client_events_total', 'Events of clients', ['event', 'outcome']),
    takeovers: counter(registry, 'fieldline_realtime_takeovers_total', 'Records of ended devices taken over'),
    refused: counter(registry, 'fieldline_realtime_handshakes_refused_total', 'Handshakes refused', ['reason']),
  }
}
export type RealtimeMetrics = ReturnType<typeof createMetrics>
