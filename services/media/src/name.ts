// The name of an uploaded file as people see it: readable in any script, harmless in a path, a header or a terminal, with an ending that tells the truth.

const longest = 120
/** Controls, line separators, and the marks by which a name shows its letters in another order than it has them. Joiners stay: scripts of India need them. */
const controls = /[\p{Cc}\u2028\u2029\ufeff\ufff9-\ufffb\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu
const knownEndings = /\.(?:jpe?g|jfif|png|apng|webp|gif|avif|hei[cf]|mp3|aac|ogg|oga|opus|wav|amr|m4a|mp4|m4v|mov|3gpp?|3g2|webm|weba)$/i
/** Endings that say the same. */
const same: Record<string, RegExp> = {
  jpg: /\.jpe?g$/i,
  ogg: /\.(?:ogg|oga|opus)$/i,
  mp4: /\.m(?:p4|4v)$/i,
  '3gp': /\.3gpp?$/i,
  webm: /\.web[ma]$/i,
}

/**
 * The uploader's name without folders, controls and marks that turn the direction of text, in NFC, at most 120 characters, ending as `extension` says.
 * Letters of every script stay. Where nothing is left, `fallback` is the name.
 */
export function cleanName(given: string, extension: string, fallback: string): string {
  const base = given.split(/[\\/]/).at(-1) ?? ''
  const plain = base.toWellFormed().replace(controls, '').normalize('NFC').replace(/\s+/g, ' ').trim()
  const kept = same[extension]?.test(plain) || plain.toLowerCase().endsWith(`.${extension}`) ? (/\.[^.]+$/.exec(plain)?.[0] ?? '') : ''
  const stem = (kept ? plain.slice(0, -kept.length) : plain.replace(knownEndings, '')).replace(/^\.+/, '').trim()
  const ending = kept || `.${extension}`
  const cut = [...stem].slice(0, longest - ending.length).join('')
  return `${cut || fallback}${ending}`
}
