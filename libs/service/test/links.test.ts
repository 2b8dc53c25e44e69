// Links to media: the same for a day, good for a day more, and nobody else's.
import { expect, test } from '@jest/globals'
import { createLinkSigner } from '../src/links.ts'

const noon = Date.UTC(2026, 10, 23, 12)
const day = 86_400_000
const file = { mediaId: '671234567890abcdef123456', name: 'फसल 1.jpg', variant: 'original' as const }
const signer = (now: number, secrets = ['newest-secret']) =>
  createLinkSigner({ publicUrl: 'https://chat.example/', secrets, now: () => now })

function parts(url: string) {
  const [mediaId = '', signature = '', name = ''] = url.slice('https://chat.example/uploads/chat/'.length).split('/')
  return { mediaId, signature, name: decodeURIComponent(name) }
}

test("a link has the seed's path, the name last", () => {
  expect(signer(noon).sign(file)).toMatch(
    /^https:\/\/chat\.example\/uploads\/chat\/671234567890abcdef123456\/[0-9a-z]+-[\w-]{43}\/%E0%A4%AB[^/]*%201\.jpg$/,
  )
})

test('it is the same all day, and good for a day at least when the day ends', () => {
  const morning = Date.UTC(2026, 10, 23)
  expect(signer(morning).sign(file)).toBe(signer(morning + day - 1).sign(file))
  expect(signer(morning + day).sign(file)).not.toBe(signer(morning).sign(file))
  const link = parts(signer(morning + day - 1).sign(file))
  expect(signer(morning + 2 * day - 1).verify(link)).toMatchObject({ valid: true })
  expect(signer(morning + 2 * day).verify(link)).toEqual({ valid: false, variant: 'original', secondsLeft: 0 })
})

test('a thumbnail has a link of its own', () => {
  const link = parts(signer(noon).sign({ ...file, variant: 'thumbnail' }))
  expect(signer(noon).verify(link)).toMatchObject({ valid: true, variant: 'thumbnail', secondsLeft: 129_600 })
  expect(signer(noon).verify({ ...link, signature: link.signature.replace('T-', '-') })).toMatchObject({
    valid: false,
    variant: 'original',
  })
})

test('whatever is changed in it, it is no link any more', () => {
  const link = parts(signer(noon).sign(file))
  const [head = '', mac = ''] = [
    link.signature.slice(0, link.signature.indexOf('-')),
    link.signature.slice(link.signature.indexOf('-') + 1),
  ]
  const other = (text: string, at: number) => text.slice(0, at) + (text[at] === 'A' ? 'B' : 'A') + text.slice(at + 1)
  const later = (Number.parseInt(head, 36) + 86_400).toString(36)
  for (const wrong of [
    { ...link, mediaId: '671234567890abcdef123457' },
    { ...link, name: 'other.jpg' },
    { ...link, signature: `${later}-${mac}` },
    { ...link, signature: `${head}-${other(mac, 0)}` },
    { ...link, signature: `${head}-${other(mac, 20)}` },
    { ...link, signature: `${head}-${mac.slice(1)}` },
    { ...link, signature: head },
    { ...link, signature: '' },
    { ...link, signature: `${head}-` },
  ])
    expect(signer(noon).verify(wrong)).toMatchObject({ valid: false, secondsLeft: 0 })
})

test('another spelling of the same signature is no link', () => {
  const link = parts(signer(noon).sign(file))
  const last = link.signature.at(-1) ?? ''
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  // The last of 43 characters carries two bits that mean nothing.
  const twin = alphabet[alphabet.indexOf(last) ^ 1] ?? ''
  expect(signer(noon).verify({ ...link, signature: link.signature.slice(0, -1) + twin }).valid).toBe(false)
})

test('keys rotate: the newest signs, older ones still verify, removed ones do not', () => {
  const old = parts(signer(noon, ['old']).sign(file))
  expect(signer(noon, ['new', 'old']).verify(old).valid).toBe(true)
  expect(signer(noon, ['new']).verify(old).valid).toBe(false)
  expect(signer(noon, ['new', 'old']).sign(file)).toBe(signer(noon, ['new']).sign(file))
})

test('without a secret nothing is signed', () => {
  expect(() => signer(noon, [])).toThrow('need a secret')
})
