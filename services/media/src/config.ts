// What media can be told by its environment.
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { objectsFault } from '@fieldline/objects/open'
import { bool, type Config, commonFields, int, ms, secret, secrets, text, url } from '@fieldline/service/config'
import { databaseUrl } from '@fieldline/service/database-url'

const day = 86_400_000

export const fields = {
  ...commonFields,
  databaseUrl: databaseUrl('media', { default: 'sqlite:./data/media.db', doc: 'where the rows of files are kept' }),
  objectsUrl: url('OBJECTS_URL', {
    default: 'file:./data/media',
    protocols: ['s3', 'file'],
    check: (value = '', given) => {
      // Which keys fit, only the store knows: here it counts whether there are any.
      const keys = given('S3_ACCESS_KEY') && given('S3_SECRET_KEY') ? { accessKey: 'given', secretKey: 'given' } : {}
      const fault = objectsFault(value, keys)
      return fault && `cannot be used: ${fault}`
    },
    doc: 'where their bytes are: `s3://[key:secret@]host:port/bucket[?tls=true&region=…]` or `file:./folder`',
  }),
  s3AccessKey: text('S3_ACCESS_KEY', { doc: 'access key, where `OBJECTS_URL` names none' }),
  s3SecretKey: secret('S3_SECRET_KEY', { doc: 'its secret' }),
  conversationUrl: url('CONVERSATION_URL', {
    default: 'http://127.0.0.1:5001',
    protocols: ['http', 'https'],
    doc: 'the conversation service',
  }),
  signingSecrets: secrets('MEDIA_SIGNING_SECRET', { required: true, doc: 'secrets that sign links to files, newest first' }),
  spoolDir: text('MEDIA_SPOOL_DIR', {
    default: join(tmpdir(), 'fieldline-media'),
    shown: "the system's temporary folder",
    doc: 'uploads on their way in: a disk, not a memory file system, with room for 50 MiB times `MEDIA_UPLOADS_MAX`',
  }),
  uploadsMax: int('MEDIA_UPLOADS_MAX', { default: 256, min: 1, doc: 'uploads at a time; more get 503' }),
  uploadsPerPerson: int('MEDIA_UPLOADS_PER_PERSON', { default: 20, min: 1, doc: 'those of one person; more get 429' }),
  uploadIdleMs: ms('MEDIA_UPLOAD_IDLE_MS', {
    default: 60_000,
    min: 100,
    doc: 'an upload or download on which nothing moves for so long ends; four times in it the gateway hears of an upload that waits for its turn',
  }),
  answerMs: ms('MEDIA_ANSWER_MS', {
    default: 900_000,
    min: 100,
    doc: 'how long an upload may take from its last byte to its answer, waiting for its turn included; then 503',
  }),
  storing: int('MEDIA_STORING', { default: 4, min: 1, max: 64, doc: 'files being stored at a time; each holds a part of 5 MiB in memory' }),
  decoding: int('MEDIA_DECODING', { default: 2, min: 1, max: 16, doc: 'images being decoded at a time' }),
  imagePixels: int('MEDIA_IMAGE_PIXELS', {
    default: 65_000_000,
    min: 1,
    unit: 'pixels',
    doc: 'most pixels of an image, all frames together',
  }),
  imageKeptPixels: int('MEDIA_IMAGE_KEPT_PIXELS', {
    default: 16_777_216,
    min: 1_024,
    unit: 'pixels',
    doc: 'most pixels of an image (of an animation: of a frame) as it is kept; larger ones are scaled down',
  }),
  imageFrames: int('MEDIA_IMAGE_FRAMES', { default: 500, min: 1, doc: 'most frames of an animation' }),
  thumbnailSize: int('MEDIA_THUMBNAIL_SIZE', { default: 320, min: 16, max: 2_048, unit: 'pixels', doc: 'longer side of a thumbnail' }),
  unusedMs: int('MEDIA_UNUSED_MS', { default: 7 * day, min: 0, unit: 'ms', doc: 'files no message uses within this are removed' }),
  uploadingMs: ms('MEDIA_UPLOADING_MS', {
    default: 3_600_000,
    min: 0,
    doc: 'what an upload stored that did not end within this is removed',
  }),
  sweepMs: ms('MEDIA_SWEEP_MS', { default: 600_000, min: 10, doc: 'pause between two sweeps' }),
  orphansEvery: int('MEDIA_ORPHANS_EVERY', {
    default: 144,
    min: 1,
    unit: 'sweeps',
    doc: 'how often all objects are compared with the rows',
  }),
  singleAsObject: bool('MEDIA_SINGLE_AS_OBJECT', {
    default: false,
    doc: 'answer the upload of one file with an object instead of an array',
  }),
}
export type MediaConfig = Config<typeof fields>
