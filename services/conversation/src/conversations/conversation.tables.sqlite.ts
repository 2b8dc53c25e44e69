// The tables of conversations in SQLite, as the steps that made them (docs/migrations.md). Steps are added at the end, never edited.

export const steps = [
  `CREATE TABLE conversations (
    id TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    event_no INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    farmer_id TEXT NOT NULL,
    assigned_id TEXT,
    assigned_at TEXT,
    status TEXT NOT NULL,
    activity_at TEXT NOT NULL,
    waiting_key TEXT NOT NULL,
    resolved_at TEXT,
    state TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX conversations_farmer ON conversations (farmer_id, status, activity_at DESC, id DESC);
  CREATE INDEX conversations_assigned ON conversations (assigned_id, status, activity_at DESC, id DESC);
  CREATE INDEX conversations_activity ON conversations (status, activity_at DESC, id DESC);
  CREATE INDEX conversations_waiting ON conversations (status, waiting_key, id);
  CREATE INDEX conversations_empty ON conversations (assigned_at) WHERE status = 'open' AND last_seq = 0;
  CREATE INDEX conversations_empty_waiting ON conversations (waiting_key) WHERE status = 'waiting' AND last_seq = 0;
  CREATE INDEX conversations_resolved ON conversations (resolved_at) WHERE status = 'resolved';
  CREATE TABLE log (
    conversation_id TEXT NOT NULL,
    event_no INTEGER NOT NULL,
    seq INTEGER,
    side TEXT,
    message_id TEXT,
    assignment INTEGER,
    entry TEXT NOT NULL,
    PRIMARY KEY (conversation_id, event_no)
  ) STRICT, WITHOUT ROWID;
  CREATE UNIQUE INDEX log_messages ON log (conversation_id, seq, side) WHERE seq IS NOT NULL;
  CREATE INDEX log_message ON log (conversation_id, message_id) WHERE message_id IS NOT NULL;
  CREATE INDEX log_assignments ON log (conversation_id, event_no) WHERE assignment = 1;
  CREATE TABLE outbox (
    conversation_id TEXT NOT NULL,
    event_no INTEGER NOT NULL,
    time TEXT NOT NULL,
    PRIMARY KEY (conversation_id, event_no)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX outbox_time ON outbox (time);
  CREATE TABLE keys (hash TEXT PRIMARY KEY, known TEXT NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE INDEX keys_at ON keys (at);
  CREATE TABLE slots (farmer_id TEXT PRIMARY KEY, conversation_id TEXT NOT NULL, previous_id TEXT) STRICT, WITHOUT ROWID;`,
]
