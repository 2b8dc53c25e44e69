// Topic matching as AMQP 0-9-1 defines it (section 3.1.3.3). Pure.

/** Whether a routing key matches a binding key: `*` is exactly one word, `#` zero or more. */
export function topicMatches(bindingKey: string, routingKey: string): boolean {
  if (bindingKey === routingKey || bindingKey === '#') return true
  return matches(bindingKey.split('.'), 0, routingKey.split('.'), 0)
}

function matches(pattern: readonly string[], p: number, words: readonly string[], w: number): boolean {
  if (p === pattern.length) return w === words.length
  if (pattern[p] === '#') {
    for (let skip = w; skip <= words.length; skip++) if (matches(pattern, p + 1, words, skip)) return true
    return false
  }
  if (w === words.length) return false
  return (pattern[p] === '*' || pattern[p] === words[w]) && matches(pattern, p + 1, words, w + 1)
}
