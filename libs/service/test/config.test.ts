import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { ConfigError, commonFields, describeConfig, int, list, loadConfig, ms, oneOf, secrets, text, url } from '../src/config.ts'

const enough = { JWT_SECRET: 'j'.repeat(32), INTERNAL_SECRET: 'i'.repeat(32) }

function faultsOf(env: Record<string, string>): readonly string[] {
  try {
    loadConfig(commonFields, env)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
    throw error
  }
}

describe('configuration', () => {
  test('every fault is named at once', () => {
    const faults = faultsOf({
      PORT: '70000',
      LOG_LEVEL: 'loud',
      DRAIN_MS: 'soon',
      PUBLIC_URL: 'nowhere',
      NAMESPACE: 'A B',
      JWT_REQUIRE_EXP: 'perhaps',
    })
    for (const variable of [
      'PORT',
      'LOG_LEVEL',
      'DRAIN_MS',
      'PUBLIC_URL',
      'NAMESPACE',
      'JWT_REQUIRE_EXP',
      'JWT_SECRET',
      'INTERNAL_SECRET',
    ]) {
      expect(faults.filter((fault) => fault.startsWith(variable))).toHaveLength(1)
    }
    expect(faults).toHaveLength(8)
  })

  test('a blank variable is an absent one', () => {
    const config = loadConfig(commonFields, { ...enough, PORT: '  ', JWT_ISSUER: '' })
    expect(config.port).toBe(0)
    expect(config.jwtIssuer).toBeUndefined()
  })

  test('one kind of JWT key is required, and the secret of services', () => {
    expect(faultsOf({ NODE_ENV: 'production' })).toEqual([
      expect.stringContaining('JWT_SECRET or JWT_PUBLIC_KEY or JWT_JWKS_URL'),
      expect.stringContaining('INTERNAL_SECRET'),
    ])
    expect(faultsOf({ INTERNAL_SECRET: enough.INTERNAL_SECRET, JWT_JWKS_URL: 'https://id.example/keys' })).toEqual([])
  })

  test('a guessable secret is refused in production', () => {
    expect(faultsOf({ ...enough, JWT_SECRET: `${'a'.repeat(32)},short`, NODE_ENV: 'production' })).toEqual([
      expect.stringContaining('JWT_SECRET'),
    ])
    expect(faultsOf({ ...enough, JWT_SECRET: 'short' })).toEqual([])
  })

  test('no fault and no table shows a secret', () => {
    const fields = { key: secrets('KEY', { doc: 'the key', min: 99 }), db: url('DB', { doc: 'the database', protocols: ['mongodb'] }) }
    let said = ''
    try {
      loadConfig(fields, { KEY: 'hunter2', DB: 'mysql://root:hunter2@host/' })
    } catch (error) {
      said = String(error)
    }
    expect(said).toContain('KEY')
    expect(said).toContain('DB')
    expect(said + describeConfig(fields)).not.toContain('hunter2')
  })

  test('an algorithm needs a key of its kind', () => {
    expect(faultsOf({ ...enough, JWT_ALGORITHMS: 'RS256' })).toEqual([expect.stringContaining('JWT_PUBLIC_KEY')])
    expect(faultsOf({ ...enough, JWT_ALGORITHMS: 'none' })).toEqual([expect.stringContaining('JWT_ALGORITHMS')])
  })

  test('a PEM may have its line ends escaped, and is never a private key', () => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
    const escaped = loadConfig(commonFields, { ...enough, JWT_PUBLIC_KEY: pem.replaceAll('\n', '\\n') })
    expect(escaped.jwtPublicKey).toBe(pem.trim().concat(escaped.jwtPublicKey?.endsWith('\n') ? '\n' : ''))
    expect(faultsOf({ ...enough, JWT_PUBLIC_KEY: 'no key' })).toHaveLength(1)
    const weak = generateKeyPairSync('rsa', { modulusLength: 1_024 }).publicKey.export({ type: 'spki', format: 'pem' }).toString()
    expect(faultsOf({ ...enough, JWT_PUBLIC_KEY: weak })).toEqual([expect.stringContaining('2,048 bits')])
    expect(faultsOf({ ...enough, JWT_PUBLIC_KEY: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() })).toHaveLength(1)
  })

  test('values have their types, defaults and bounds', () => {
    const fields = {
      name: text('NAME', { default: 'x', doc: '' }),
      much: int('MUCH', { default: 3, min: 1, max: 5, doc: '' }),
      wait: ms('WAIT_MS', { default: 10, doc: '' }),
      some: list('SOME', { doc: '' }),
      colour: oneOf('COLOUR', ['red', 'green'], { default: 'red', doc: '' }),
    }
    expect(loadConfig(fields, {})).toEqual({ name: 'x', much: 3, wait: 10, some: [], colour: 'red' })
    expect(loadConfig(fields, { MUCH: '5', SOME: ' a , b,,c ', COLOUR: 'green' })).toEqual({
      name: 'x',
      much: 5,
      wait: 10,
      some: ['a', 'b', 'c'],
      colour: 'green',
    })
    for (const wrong of ['0', '6', '1.5', '0x3', '1e0', 'NaN']) expect(() => loadConfig(fields, { MUCH: wrong })).toThrow(ConfigError)
  })

  test('the table names variable, default, unit and meaning', () => {
    expect(describeConfig({ drain: commonFields.drainMs })).toContain('| `DRAIN_MS` | `25000` | ms | how long')
    expect(describeConfig({ key: commonFields.internalSecrets })).toContain('(required)')
  })
})
