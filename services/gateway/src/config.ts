// What the gateway reads from its environment.
import { bool, type Config, commonFields, int, list, ms, text, url, urls } from '@fieldline/service/config'

const perWindow = (name: string, most: number, doc: string) => int(name, { default: most, min: 1, unit: 'requests', doc })

export const fields = {
  ...commonFields,
  nodeEnv: text('NODE_ENV', { default: '', doc: '`production` refuses weak secrets and lets no origin in by itself' }),
  conversationUrl: url('CONVERSATION_URL', { required: true, protocols: ['http', 'https'], doc: 'where conversation is' }),
  mediaUrl: url('MEDIA_URL', { required: true, protocols: ['http', 'https'], doc: 'where media is' }),
  statsUrl: url('STATS_URL', { required: true, protocols: ['http', 'https'], doc: 'where stats is' }),
  realtimeUrls: urls('REALTIME_URL', {
    required: true,
    protocols: ['http', 'https', 'dns+http'],
    doc: "where realtime's replicas are: a list, or a headless name as `dns+http://realtime:4002`, resolved every few seconds",
  }),
  corsOrigins: list('CORS_ORIGINS', {
    shown: 'localhost; none in production',
    doc: 'origins of web clients, as `https://desk.example.org`; `*` lets every one in',
  }),
  trustedProxies: int('TRUSTED_PROXIES', {
    default: 0,
    max: 16,
    unit: 'hops',
    doc: 'proxies before the gateway whose `X-Forwarded-For` is believed',
  }),

  rateLimitEnabled: bool('RATE_LIMIT_ENABLED', { default: true, doc: 'limit requests' }),
  rateLimitUrl: url('RATE_LIMIT_URL', {
    protocols: ['redis', 'rediss'],
    doc: 'a Redis that counts for all replicas; unset: each counts for itself',
  }),
  rateLimitWindowMs: ms('RATE_LIMIT_WINDOW_MS', { default: 60_000, min: 1_000, doc: 'the window in which requests are counted' }),
  rateLimitRead: perWindow('RATE_LIMIT_READ', 600, 'reads of one person in a window'),
  rateLimitWrite: perWindow('RATE_LIMIT_WRITE', 300, 'writes of one person in a window'),
  rateLimitUpload: perWindow('RATE_LIMIT_UPLOAD', 60, 'uploads of one person in a window'),
  rateLimitAnonymous: perWindow(
    'RATE_LIMIT_ANONYMOUS',
    1_200,
    'requests without a valid token from one address in a window; carriers put thousands behind one',
  ),
  rateLimitDelivery: perWindow('RATE_LIMIT_DELIVERY', 6_000, 'files fetched by signed links from one address in a window'),

  readTimeoutMs: ms('READ_TIMEOUT_MS', { default: 10_000, min: 1, doc: 'how long a service may take to begin its answer to a read' }),
  writeTimeoutMs: ms('WRITE_TIMEOUT_MS', { default: 15_000, min: 1, doc: 'how long a service may take to begin its answer to a write' }),
  pollTimeoutMs: ms('POLL_TIMEOUT_MS', {
    default: 90_000,
    min: 1_000,
    doc: 'how long a Socket.IO poll may wait; longer than a ping interval and its timeout',
  }),
  bodyTimeoutMs: ms('BODY_TIMEOUT_MS', { default: 30_000, min: 1, doc: 'how long a JSON body may take to arrive in whole' }),
  idleTimeoutMs: ms('IDLE_TIMEOUT_MS', {
    default: 60_000,
    min: 1,
    doc: 'an upload or a download ends after this long without a byte; there is no total',
  }),
  jsonLimitBytes: int('JSON_LIMIT_BYTES', { default: 131_072, min: 1_024, unit: 'bytes', doc: 'size of a JSON body' }),
  uploadLimitBytes: int('UPLOAD_LIMIT_BYTES', {
    default: 53_477_376,
    min: 1_024,
    unit: 'bytes',
    doc: 'size of an upload in whole: five files and their form',
  }),
  pollLimitBytes: int('POLL_LIMIT_BYTES', {
    default: 131_072,
    min: 1_024,
    unit: 'bytes',
    doc: "size of a Socket.IO polling request; more than realtime's `SOCKET_PACKET_BYTES`",
  }),
  compressFromBytes: int('COMPRESS_FROM_BYTES', { default: 1_024, unit: 'bytes', doc: 'JSON of at least this size is compressed' }),

  breakerFailuresPercent: int('BREAKER_FAILURES_PERCENT', {
    default: 50,
    min: 1,
    max: 100,
    unit: '%',
    doc: 'share of failures at which a breaker opens',
  }),
  breakerLeastRequests: int('BREAKER_LEAST_REQUESTS', {
    default: 10,
    min: 1,
    unit: 'requests',
    doc: 'requests in the window before a breaker may open',
  }),
  breakerWindowMs: ms('BREAKER_WINDOW_MS', { default: 10_000, min: 100, doc: 'the window in which failures are counted' }),
  breakerResetMs: ms('BREAKER_RESET_MS', { default: 3_000, min: 10, doc: 'after this long an open breaker lets one request try' }),
  concurrency: int('UPSTREAM_CONCURRENCY', {
    default: 1_024,
    min: 1,
    unit: 'requests',
    doc: 'requests under way at one service; more get 503',
  }),
  discoveryMs: ms('DISCOVERY_MS', { default: 2_000, min: 50, doc: "how often realtime's replicas are looked up" }),
}
export type GatewayConfig = Config<typeof fields>
