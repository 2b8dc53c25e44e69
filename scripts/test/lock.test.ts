// What the audit finds in a lock file, and what it lets pass.
import { describe, expect, test } from '@jest/globals'
import { inspect, isAllowed, isBelow, type LockEntry, packagesOf } from '../lib/lock.ts'

const good: LockEntry = { version: '9.9.9', integrity: 'sha512-x', license: 'MIT' }
/** A service that needs what stands at the top. */
const found = (entries: Record<string, LockEntry>, permitted: string[] = []) =>
  inspect(
    packagesOf({
      packages: {
        '': {},
        'services/own': { dependencies: Object.fromEntries(Object.keys(entries).map((path) => [path.replace('node_modules/', ''), '*'])) },
        'node_modules/@own/own': { link: true },
        ...entries,
      },
    }),
    permitted,
  )

test('a locked package with a licence of our list is nothing to speak of', () => {
  expect(found({ 'node_modules/a': good, 'node_modules/a/node_modules/@b/c': good })).toEqual({ faults: [], notes: [] })
})

describe('faults', () => {
  test.each<[string, Record<string, LockEntry>, string]>([
    [
      'a version with a known hole, however deep',
      { 'node_modules/a/node_modules/engine.io': { ...good, version: '6.6.9' } },
      'known holes',
    ],
    ['a licence that is not ours to ship', { 'node_modules/a': { ...good, license: 'GPL-3.0' } }, 'GPL-3.0'],
    ['a licence fit for building only, in what is shipped', { 'node_modules/a': { ...good, license: 'CC-BY-4.0' } }, 'CC-BY-4.0'],
    ['no licence', { 'node_modules/a': { version: '1.0.0', integrity: 'sha512-x' } }, 'no licence'],
    ['no integrity', { 'node_modules/a': { version: '1.0.0', license: 'MIT' } }, 'no integrity'],
  ])('%s', (_name, entries, says) => {
    const { faults } = found(entries)
    expect(faults).toHaveLength(1)
    expect(faults[0]).toContain(says)
  })
})

test('what only builds and tests may have a licence that what is shipped may not', () => {
  const cc: LockEntry = { ...good, license: 'CC-BY-4.0' }
  const inLock = (needed: string) =>
    packagesOf({
      packages: {
        '': { dependencies: { b: '*' } },
        'services/a': { dependencies: { '@own/lib': '*' } },
        'libs/lib': { dependencies: { [needed]: '*' } },
        'node_modules/@own/lib': { link: true, resolved: 'libs/lib' },
        'node_modules/b': cc,
        'node_modules/c': good,
      },
    })
  expect(inspect(inLock('c'), []).faults).toEqual([])
  expect(inspect(inLock('b'), []).faults).toHaveLength(1)
})

test('builds of other platforms may lack what this registry did not tell; it is noted', () => {
  const { faults, notes } = found({ 'node_modules/@x/y-win32': { version: '1.0.0', optional: true } })
  expect(faults).toEqual([])
  expect(notes).toEqual([expect.stringContaining('1 builds of other platforms')])
})

test('install scripts that nobody permitted are noted', () => {
  const entries = { 'node_modules/a': { ...good, hasInstallScript: true }, 'node_modules/b': { ...good, hasInstallScript: true } }
  expect(found(entries, ['a']).notes).toEqual(['install scripts that are not run: b'])
})

test('of licences joined by OR one must be allowed, by AND every one', () => {
  expect(['(MIT OR GPL-3.0)', 'GPL-3.0 OR MIT', 'MIT AND ISC', '(MIT AND ISC) OR GPL-3.0'].map((each) => isAllowed(each, false))).toEqual([
    true,
    true,
    true,
    true,
  ])
  expect(['MIT AND GPL-3.0', 'GPL-3.0', '', 'MIT ISC', '(MIT', 'SEE LICENSE IN x'].map((each) => isAllowed(each, false))).toEqual([
    false,
    false,
    false,
    false,
    false,
    false,
  ])
})

test('versions are compared by number', () => {
  expect([isBelow('6.6.9', '6.6.10'), isBelow('6.6.10', '6.6.10'), isBelow('10.0.0', '9.9.2'), isBelow('2.3.0-rc.1', '2.3.0')]).toEqual([
    true,
    false,
    false,
    false,
  ])
})
