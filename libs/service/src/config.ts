// Typed configuration from the environment: field builders, all faults at once, and the table that READMEs show.
import { createPublicKey, type KeyObject } from 'node:crypto'

/** What loading found wrong: every fault, one sentence each, none of them quoting a secret. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly faults: readonly string[]
  constructor(faults: readonly string[]) {
    super(
      `The configuration has ${faults.length === 1 ? 'a fault' : `${faults.length} faults`}:\n${faults.map((fault) => `  ${fault}`).join('\n')}`,
    )
    this.faults = faults
  }
}

export interface Field<T> {
  env: string
  doc: string
  unit?: string | undefined
  /** As the README shows it. */
  shownDefault: string
  secret: boolean
  required: boolean
  /** Required only while none of these is set either. */
  unless: readonly string[]
  fallback: T
  /** @throws Error whose message completes the sentence "ENV must …"; it never quotes a secret. */
  read(raw: string): T
  /** A fault that only shows beside other fields (given by their variables' presence), or undefined. */
  check?(value: T, given: (env: string) => boolean): string | undefined
}

export type Fields = Readonly<Record<string, Field<unknown>>>
export type Config<F extends Fields> = { readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never }

interface Common<T> {
  doc: string
  default?: T
  required?: boolean
  /** With `required`: one of these variables will do instead. */
  unless?: readonly string[]
  unit?: string
  /** How the README names the default, where the value itself says little. */
  shown?: string
  check?: (value: T | undefined, given: (env: string) => boolean) => string | undefined
}
/** Without a default and not required, a field may be absent. */
type Value<T, O> = O extends { default: T }
  ? T
  : O extends { unless: readonly string[] }
    ? T | undefined
    : O extends { required: true }
      ? T
      : T | undefined

function field<T, O extends Common<T>>(env: string, options: O, read: (raw: string) => T, secret = false): Field<Value<T, O>> {
  const { default: fallback } = options
  const shown = Array.isArray(fallback) ? fallback.join(',') : fallback === undefined ? '' : String(fallback)
  return {
    env,
    doc: options.doc,
    unit: options.unit,
    shownDefault: options.shown ?? (secret ? '' : shown),
    secret,
    required: options.required === true,
    unless: options.unless ?? [],
    fallback: fallback as Value<T, O>,
    read: read as (raw: string) => Value<T, O>,
    ...(options.check ? { check: options.check as (value: Value<T, O>, given: (env: string) => boolean) => string | undefined } : {}),
  }
}

type TextOptions = Common<string> & { min?: number; max?: number; pattern?: RegExp }

export function text<const O extends TextOptions>(env: string, options: O): Field<Value<string, O>> {
  return field<string, O>(env, options, (raw) => {
    if (options.min !== undefined && raw.length < options.min) throw new Error(`have at least ${options.min} characters`)
    if (options.max !== undefined && raw.length > options.max) throw new Error(`have at most ${options.max} characters`)
    if (options.pattern && !options.pattern.test(raw)) throw new Error(`match ${options.pattern.source}${quote(raw)}`)
    return raw
  })
}

type NumberOptions = Common<number> & { min?: number; max?: number }

export function int<const O extends NumberOptions>(env: string, options: O): Field<Value<number, Widen<O>>> {
  const min = options.min ?? 0
  const max = options.max ?? Number.MAX_SAFE_INTEGER
  return field<number, Widen<O>>(env, options as Widen<O>, (raw) => {
    const value = /^-?\d{1,16}$/.test(raw) ? Number(raw) : Number.NaN
    if (!(value >= min && value <= max)) {
      throw new Error(`be a whole number ${max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`}${quote(raw)}`)
    }
    return value
  })
}
/** `default: 5` makes a number field, not a field of the number 5. */
type Widen<O> = O extends { default: number } ? Omit<O, 'default'> & { default: number } & Common<number> : O & Common<number>

/** A duration in milliseconds; at most what a timer can hold (24.8 days) unless `max` says more. */
export function ms<const O extends NumberOptions>(env: string, options: O): Field<Value<number, Widen<O>>> {
  return int(env, { unit: 'ms', max: 2_147_483_647, ...options })
}

/** A TCP port; 0 takes any free one. */
export function port<const O extends NumberOptions>(env: string, options: O): Field<Value<number, Widen<O>>> {
  return int(env, { max: 65_535, ...options })
}

export function bool(env: string, options: Common<boolean> & { default: boolean }): Field<boolean> {
  return field<boolean, Common<boolean> & { default: boolean }>(env, options, (raw) => {
    if (/^(true|1|yes|on)$/i.test(raw)) return true
    if (/^(false|0|no|off)$/i.test(raw)) return false
    throw new Error(`be true or false${quote(raw)}`)
  })
}

/** Values separated by commas; blanks around and between them do not count. */
export function list<const O extends Omit<Common<readonly string[]>, 'default'> & { default?: readonly string[]; pattern?: RegExp }>(
  env: string,
  options: O,
): Field<readonly string[]> {
  const known = { ...options, default: options.default ?? [] }
  return field<readonly string[], Common<readonly string[]> & { default: readonly string[] }>(env, known, (raw) => {
    const values = split(raw)
    const wrong = options.pattern && values.find((value) => !options.pattern?.test(value))
    if (wrong !== undefined) throw new Error(`hold values that match ${options.pattern?.source}${quote(wrong)}`)
    return values
  })
}

type UrlOptions = Common<string> & { protocols?: readonly string[] }

/** An address; the text itself is kept (`sqlite:./data/x.db` stays relative), without a slash at its end. */
export function url<const O extends UrlOptions>(env: string, options: O): Field<Value<string, O>> {
  return field<string, O>(env, options, (raw) => readUrl(raw, options.protocols))
}

/** Addresses of replicas, separated by commas. */
export function urls(
  env: string,
  options: Common<readonly string[]> & { default?: readonly string[]; protocols?: readonly string[] },
): Field<readonly string[]> {
  const known = { ...options, default: options.default ?? [] }
  return field<readonly string[], Common<readonly string[]> & { default: readonly string[] }>(env, known, (raw) =>
    split(raw).map((one) => readUrl(one, options.protocols)),
  )
}

export function oneOf<const V extends string, const O extends Common<V>>(
  env: string,
  values: readonly V[],
  options: O,
): Field<Value<V, O>> {
  return field<V, O>(env, options, (raw) => {
    const value = values.find((one) => one === raw)
    if (value === undefined) throw new Error(`be one of ${values.join(', ')}${quote(raw)}`)
    return value
  })
}

/** A secret: never printed, never quoted in a fault. */
export function secret<const O extends Common<string> & { min?: number }>(env: string, options: O): Field<Value<string, O>> {
  return field<string, O>(env, options, (raw) => longEnough(raw, options.min), true)
}

/** Secrets for rotation, newest first, separated by commas. Absent: an empty list. */
export function secrets(env: string, options: Omit<Common<readonly string[]>, 'default'> & { min?: number }): Field<readonly string[]> {
  const known = { ...options, default: [] }
  const made = field<readonly string[], Common<readonly string[]> & { default: readonly string[] }>(
    env,
    known,
    (raw) => split(raw).map((one) => longEnough(one, options.min)),
    true,
  )
  return made
}

/** The values of `fields` in `env`; a blank variable is an absent one. @throws ConfigError naming every fault at once */
export function loadConfig<F extends Fields>(fields: F, env: Readonly<Record<string, string | undefined>>): Config<F> {
  const faults: string[] = []
  const values: Record<string, unknown> = {}
  const given = (name: string): boolean => (env[name] ?? '').trim() !== ''
  const production = env.NODE_ENV === 'production'
  for (const [name, one] of Object.entries(fields)) {
    try {
      if (given(one.env)) values[name] = one.read((env[one.env] ?? '').trim())
      else if (one.required && !one.unless.some(given)) faults.push(`${[one.env, ...one.unless].join(' or ')} must be set: ${one.doc}`)
      else values[name] = one.fallback
      if (name in values) {
        const fault = one.check?.(values[name], given)
        if (fault) faults.push(`${one.env} ${fault}`)
        if (production && one.secret && weak(values[name]))
          faults.push(`${one.env} must have at least 32 bytes in production (RFC 7518, 3.2)`)
      }
    } catch (error) {
      faults.push(`${one.env} must ${Error.isError(error) ? error.message : 'be readable'}`)
    }
  }
  if (faults.length > 0) throw new ConfigError(faults)
  return values as Config<F>
}

/** Rows of the README's table: variable, default, unit, meaning. */
export function describeConfig(fields: Fields): string {
  const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ')
  const rows = Object.values(fields).map((one) => {
    const initial = one.shownDefault === '' ? (one.required ? '(required)' : '') : `\`${one.shownDefault}\``
    return `| \`${one.env}\` | ${cell(initial)} | ${one.unit ?? ''} | ${cell(one.doc)} |`
  })
  return ['| variable | default | unit | meaning |', '|---|---|---|---|', ...rows].join('\n')
}

function split(raw: string): string[] {
  return raw
    .split(',')
    .map((value) => value.trim())
    .filter((value) => value !== '')
}

function quote(raw: string): string {
  return `, not ${JSON.stringify(raw.length > 60 ? `${raw.slice(0, 60)}…` : raw)}`
}

/** A URL may hold a password, so a fault names its protocol at most. */
function readUrl(raw: string, protocols: readonly string[] | undefined): string {
  const parsed = URL.canParse(raw) ? new URL(raw) : undefined
  const allowed = protocols?.map((one) => `${one.replace(/:$/, '')}:`)
  if (!parsed) throw new Error(`be a URL${allowed ? ` (${allowed.join(' or ')})` : ''}`)
  if (allowed && !allowed.includes(parsed.protocol)) throw new Error(`begin with ${allowed.join(' or ')}, not ${parsed.protocol}`)
  return raw.replace(/\/+$/, '')
}

function longEnough(raw: string, min = 1): string {
  if (Buffer.byteLength(raw) < min) throw new Error(`have at least ${min} bytes`)
  return raw
}

function weak(value: unknown): boolean {
  return (Array.isArray(value) ? value : [value]).some((one) => typeof one === 'string' && Buffer.byteLength(one) < 32)
}

/** A PEM in a variable often has its line ends written as `\n`. */
function readPem(raw: string): string {
  const pem = raw.replaceAll('\\n', '\n')
  let keys: KeyObject[]
  try {
    keys = pemBlocks(pem).map((block) => createPublicKey(block))
  } catch {
    throw new Error('be a public key in PEM')
  }
  // Every token would be refused by it, one by one (RFC 7518, 3.3).
  if (keys.some(({ asymmetricKeyDetails }) => (asymmetricKeyDetails?.modulusLength ?? 2_048) < 2_048))
    throw new Error('be an RSA key of at least 2,048 bits')
  if (pemBlocks(pem).length === 0 || /PRIVATE KEY/.test(pem)) throw new Error('be a public key in PEM, and never a private one')
  return pem
}

/** The keys of a PEM text: several during a rotation. */
export function pemBlocks(pem: string): string[] {
  return pem.match(/-----BEGIN [A-Z ]+-----[\s\S]+?-----END [A-Z ]+-----/g) ?? []
}

export const jwtAlgorithms = [
  'HS256',
  'HS384',
  'HS512',
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
] as const

function algorithmFault(algorithms: readonly string[] | undefined, given: (env: string) => boolean): string | undefined {
  const byKey = given('JWT_PUBLIC_KEY') || given('JWT_JWKS_URL')
  for (const algorithm of algorithms ?? []) {
    if (!jwtAlgorithms.some((known) => known === algorithm))
      return `must hold algorithms out of ${jwtAlgorithms.join(', ')}${quote(algorithm)}`
    if (algorithm.startsWith('HS') && !given('JWT_SECRET')) return `allows ${algorithm}, which needs JWT_SECRET`
    if (!algorithm.startsWith('HS') && !byKey) return `allows ${algorithm}, which needs JWT_PUBLIC_KEY or JWT_JWKS_URL`
  }
  return undefined
}

const renames = /^[^=,\s]+=[^=,\s]+$/

/** What every service reads; a service's own fields stand beside it: `{ ...commonFields, ...own }`. */
export const commonFields = {
  host: text('HOST', { default: '127.0.0.1', doc: 'address to listen on; images set 0.0.0.0' }),
  port: port('PORT', { default: 0, doc: 'port to listen on; 0 takes a free one' }),
  adminPort: port('ADMIN_PORT', { doc: 'port of health and metrics; unset: they are on `PORT`' }),
  jwtSecrets: secrets('JWT_SECRET', {
    required: true,
    unless: ['JWT_PUBLIC_KEY', 'JWT_JWKS_URL'],
    doc: 'secrets of HS* tokens, newest first',
  }),
  jwtPublicKey: {
    ...text('JWT_PUBLIC_KEY', { doc: 'public key (PEM) of RS*, PS*, ES* or EdDSA tokens; several one after the other for rotation' }),
    read: readPem,
  },
  jwtJwksUrl: url('JWT_JWKS_URL', { protocols: ['https', 'http'], doc: "where the identity provider's public keys are (JWKS)" }),
  jwtAlgorithms: list('JWT_ALGORITHMS', {
    shown: 'what the keys fit',
    check: algorithmFault,
    doc: 'accepted signature algorithms; never read from the token',
  }),
  jwtIssuer: text('JWT_ISSUER', { doc: 'the `iss` a token must have' }),
  jwtAudience: list('JWT_AUDIENCE', { doc: 'the `aud` a token must have (one of these)' }),
  jwtRequireExp: bool('JWT_REQUIRE_EXP', { default: true, doc: 'refuse tokens without `exp`' }),
  jwtClaims: list('JWT_CLAIMS', {
    pattern: renames,
    doc: 'other names of claims, as `sub=uid,role=roles,first_name=given_name`; a dot reaches into an object',
  }),
  jwtRoles: list('JWT_ROLES', { pattern: renames, doc: 'other names of roles, as `User=farmer|customer,Support=agent`' }),
  internalSecrets: secrets('INTERNAL_SECRET', { required: true, doc: 'secrets of the tokens services show each other, newest first' }),
  brokerUrl: url('BROKER_URL', { default: 'amqp://127.0.0.1:5672', protocols: ['amqp', 'amqps', 'memory'], doc: 'the broker' }),
  namespace: text('NAMESPACE', { default: '', pattern: /^[a-z0-9_-]{0,32}$/, doc: 'prefix of database, exchange, queue and bucket names' }),
  publicUrl: url('PUBLIC_URL', { default: 'http://localhost:5000', protocols: ['http', 'https'], doc: 'where clients reach the gateway' }),
  logLevel: oneOf('LOG_LEVEL', ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
    default: 'info',
    doc: 'least severe log line to write',
  }),
  drainMs: ms('DRAIN_MS', { default: 25_000, min: 0, doc: 'how long a stop may take to finish what runs' }),
  readyLine: bool('READY_LINE', {
    default: false,
    doc: 'print one JSON line `{service, pid, url}` on stdout when listening; logs go to stderr then',
  }),
}
export type CommonConfig = Config<typeof commonFields>
