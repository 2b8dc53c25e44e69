// What conversation can be told by its environment.
import { type Config, commonFields, int, ms, oneOf, secrets, url } from '@fieldline/service/config'
import { databaseUrl } from '@fieldline/service/database-url'

export const fields = {
  ...commonFields,
  databaseUrl: databaseUrl('conversation', {
    default: 'sqlite:./data/conversation.db',
    doc: 'where conversations, their log, people and places are kept',
  }),
  mediaUrl: url('MEDIA_URL', { default: 'http://127.0.0.1:5002', protocols: ['http', 'https'], doc: 'the media service' }),
  realtimeUrl: url('REALTIME_URL', { default: 'http://127.0.0.1:5004', protocols: ['http', 'https'], doc: 'the realtime service' }),
  signingSecrets: secrets('MEDIA_SIGNING_SECRET', { required: true, doc: 'secrets that sign links to files, newest first' }),
  supportSees: oneOf('SUPPORT_SEES', ['own', 'all'], {
    default: 'own',
    doc: '`own`: agents see what is theirs and the queue; `all`: every conversation',
  }),
  agentCapacity: int('AGENT_CAPACITY', { default: 5, min: 1, max: 1_000, doc: 'open conversations an agent can hold' }),
  agentGraceMs: ms('AGENT_GRACE_MS', {
    default: 120_000,
    min: 0,
    doc: 'an agent gone for longer gives back what awaits an answer',
  }),
  agentCoolingMs: ms('AGENT_COOLING_MS', {
    default: 300_000,
    min: 0,
    doc: 'who gave a conversation back is not given it again for so long',
  }),
  emptyReleaseMs: ms('EMPTY_RELEASE_MS', {
    default: 900_000,
    min: 0,
    doc: 'a conversation without a message gives its place back after this',
  }),
  resolvedClosesAfterMs: int('RESOLVED_CLOSES_AFTER_MS', {
    default: 0,
    min: 0,
    unit: 'ms',
    doc: 'resolved conversations close by themselves after this; 0: never',
  }),
  assignmentSweepMs: ms('ASSIGNMENT_SWEEP_MS', { default: 5_000, min: 50, doc: 'pause between two sweeps of places and queue' }),
  placeOrphanedAfterMs: ms('PLACE_ORPHANED_AFTER_MS', {
    default: 15_000,
    min: 1_000,
    doc: 'a place that no conversation names is taken back after this; longer than any write takes',
  }),
  outboxLimit: int('OUTBOX_LIMIT', {
    default: 500,
    min: 10,
    max: 600,
    unit: 'events',
    doc: "events that may wait in one conversation's outbox while the broker is away; then its commands get 503",
  }),
  relaySweepMs: ms('RELAY_SWEEP_MS', { default: 1_000, min: 20, doc: 'pause between two looks for events that a dead process left' }),
  relayOrphanedAfterMs: ms('RELAY_ORPHANED_AFTER_MS', {
    default: 5_000,
    min: 100,
    doc: 'an event in an outbox for so long was left by its process',
  }),
}
export type ConversationConfig = Config<typeof fields>
