// What realtime reads from the environment: every limit and time of the socket side, with its unit and default.
import { bool, type Config, commonFields, int, list, ms, oneOf, secrets, text, url } from '@fieldline/service/config'
import { databaseUrl } from '@fieldline/service/database-url'

export const fields = {
  ...commonFields,
  databaseUrl: databaseUrl('realtime', { default: 'sqlite:./data/realtime.db', doc: 'where presence and the records of devices are kept' }),
  conversationUrl: url('CONVERSATION_URL', {
    default: 'http://127.0.0.1:5002',
    protocols: ['http', 'https'],
    doc: 'the conversation service',
  }),
  mediaSigningSecrets: secrets('MEDIA_SIGNING_SECRET', { required: true, doc: 'secrets that sign links to media, newest first' }),
  instanceName: text('INSTANCE_NAME', {
    pattern: /^[a-zA-Z0-9_-]{1,64}$/,
    shown: 'random',
    doc: "this replica's name, first part of its engine ids; unique among replicas. The name of a process that died may be taken by its successor",
  }),
  corsOrigins: list('CORS_ORIGINS', { doc: 'origins of web clients; empty: localhost only, unless `NODE_ENV=production`, then none' }),
  nodeEnv: text('NODE_ENV', { default: 'development', doc: '`production` refuses localhost origins that `CORS_ORIGINS` does not name' }),
  trustedProxies: int('TRUSTED_PROXIES', {
    default: 1,
    max: 10,
    doc: 'proxies in front whose `X-Forwarded-For` counts; the gateway is one',
  }),
  socketPath: text('SOCKET_PATH', { default: '/socket.io', pattern: /^\/[\w./-]+$/, doc: 'path of Socket.IO' }),
  supportSees: oneOf('SUPPORT_SEES', ['own', 'all'], {
    default: 'own',
    doc: 'which conversations an agent may read; the same as in conversation',
  }),

  pingIntervalMs: ms('PING_INTERVAL_MS', { default: 25_000, min: 100, doc: 'pause between heartbeats of a connection' }),
  pingTimeoutMs: ms('PING_TIMEOUT_MS', { default: 20_000, min: 100, doc: 'how long a heartbeat may stay unanswered' }),
  probeMs: ms('PROBE_MS', {
    default: 5_000,
    min: 10,
    doc: 'how long a device that seems to have come back already has to answer a ping before its older connection is closed',
  }),
  confirmMs: ms('CONFIRM_MS', {
    default: 250,
    min: 10,
    doc: 'quiet after emits before a ping asks the client to confirm them; under steady traffic every fourth of these',
  }),
  packetBytes: int('SOCKET_PACKET_BYTES', { default: 65_536, min: 1_024, unit: 'bytes', doc: 'largest packet of a client' }),
  slowReaderBytes: int('SLOW_READER_BYTES', {
    default: 1_048_576,
    min: 1_024,
    unit: 'bytes',
    doc: 'unsent bytes at which a reader is too slow and its connection is closed',
  }),
  mostSockets: int('SOCKETS_PER_PERSON', { default: 10, min: 1, doc: "a person's sockets on one replica; the oldest goes" }),
  mostConnections: int('SOCKETS_MOST', { default: 50_000, min: 1, doc: 'connections of this replica; more are refused for now' }),
  mostRooms: int('JOINED_ROOMS_MOST', { default: 100, min: 1, doc: 'conversations one socket may have joined' }),
  mostUnauthenticated: int('UNAUTHENTICATED_PER_ADDRESS', {
    default: 5_000,
    min: 1,
    doc: 'connections of one address that have not shown a token yet (carriers share addresses)',
  }),
  connectTimeoutMs: ms('CONNECT_TIMEOUT_MS', { default: 15_000, min: 100, doc: 'how long a connection may take to show its token' }),

  rateLimitEnabled: bool('RATE_LIMIT_ENABLED', { default: true, doc: 'limit events per person' }),
  rateSend: int('RATE_LIMIT_SEND', { default: 5, min: 1, unit: 'per s', doc: '`message:send` of one person, sustained' }),
  burstSend: int('RATE_LIMIT_SEND_BURST', {
    default: 60,
    min: 1,
    doc: '`message:send` of one person at once: what a client buffered while away',
  }),
  rateJoin: int('RATE_LIMIT_JOIN', { default: 10, min: 1, unit: 'per s', doc: '`conversation:join` of one person, sustained' }),
  burstJoin: int('RATE_LIMIT_JOIN_BURST', { default: 200, min: 1, doc: '`conversation:join` of one person at once' }),
  rateOther: int('RATE_LIMIT_OTHER', {
    default: 20,
    min: 1,
    unit: 'per s',
    doc: 'every other event of one person, sustained, each on its own',
  }),
  burstOther: int('RATE_LIMIT_OTHER_BURST', { default: 200, min: 1, doc: 'every other event of one person at once, each on its own' }),

  joinMessages: int('JOIN_MESSAGES', { default: 200, min: 1, max: 500, doc: 'missed messages one `conversation:join` answers with' }),
  laneEvents: int('LANE_EVENTS', {
    default: 500,
    min: 1,
    doc: 'events that wait in one conversation; more and a snapshot is fetched instead',
  }),
  prefetch: int('PREFETCH', { default: 500, min: 1, max: 65_535, doc: 'broker deliveries taken ahead' }),
  fetches: int('FETCHES_AT_ONCE', { default: 64, min: 1, doc: 'snapshots fetched at once' }),
  fetchTimeoutMs: ms('FETCH_TIMEOUT_MS', { default: 4_000, min: 10, doc: 'deadline of one fetch from conversation' }),
  fetchPauseMs: ms('FETCH_PAUSE_MS', { default: 200, min: 1, doc: 'first pause after a failed fetch; it doubles up to 25 times' }),
  sendTimeoutMs: ms('SEND_TIMEOUT_MS', { default: 10_000, min: 10, doc: 'how long a `message:send` is tried while conversation is away' }),
  headsEveryMs: ms('HEADS_EVERY_MS', { default: 10_000, min: 50, doc: 'how often all joined conversations are compared with their heads' }),

  rolesEveryMs: ms('ROLES_EVERY_MS', {
    default: 5_000,
    min: 10,
    doc: 'how often conversation is asked whether newer tokens have lowered the roles of connected agents and admins',
  }),
  typingExpiresMs: ms('TYPING_EXPIRES_MS', { default: 5_000, min: 10, doc: 'when typing ends by itself' }),
  typingEveryMs: ms('TYPING_EVERY_MS', { default: 2_000, min: 0, doc: 'at most one `typing:user-typing` in this time per typist' }),
  listUpdatesMs: ms('LIST_UPDATES_MS', {
    default: 1_000,
    min: 1,
    doc: 'at most one `conversation:updated` after messages in this time per conversation, for those who hear nothing else of them',
  }),
  statsEveryMs: ms('STATS_UPDATED_EVERY_MS', { default: 3_000, min: 0, doc: 'at most one `stats:updated` in this time' }),

  presenceGraceMs: ms('PRESENCE_GRACE_MS', { default: 60_000, doc: 'how long a person counts as online after the last socket' }),
  presenceLeaseMs: ms('PRESENCE_LEASE_MS', {
    default: 15_000,
    min: 100,
    doc: 'how long an instance may be silent before its devices have ended',
  }),
  presenceFlushMs: ms('PRESENCE_FLUSH_MS', { default: 30, min: 1, doc: 'pause in which presence writes gather' }),
  cursorFlushMs: ms('CURSOR_FLUSH_MS', { default: 1_000, min: 10, doc: 'how often confirmed cursors are recorded' }),
  takeoverMs: ms('TAKEOVER_MS', {
    default: 2_000,
    min: 10,
    doc: 'how long a new socket has to join of itself before it takes a record over',
  }),
  recordsMs: ms('RECORDS_MS', {
    default: 600_000,
    min: 1_000,
    doc: "how long a device's rooms are kept after its end, up to a tenth longer",
  }),
  drainSpreadMs: ms('DRAIN_SPREAD_MS', { default: 5_000, doc: 'window over which a stop closes its connections' }),
}
export type RealtimeConfig = Config<typeof fields>
