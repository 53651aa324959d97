/**
 * The bytes in at most 32 groups of those that automata mostly treat alike, so that a word tells which kinds of
 * bytes are anywhere below a node of a trie.
 */
const kinds = [
  '0123456789',
  'ABCDEFGHIJKLMNOPQRSTUVWXYZ',
  'abcdefghijklmnopqrstuvwxyz',
  ' ',
  '"',
  '\\',
  ',',
  ':',
  '{}',
  '[]',
  '()',
  '<>',
  '-',
  '_',
  '.',
  "'",
  '/',
  '!#$%&*+;=?@^`|~',
]

export const numGroups = kinds.length + 2
/** Group of each byte; the last two are control characters, and what is beyond ASCII. */
export const groupOf: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) => {
  if (byte >= 0x80) return kinds.length + 1
  const kind = kinds.findIndex((chars) => chars.includes(String.fromCharCode(byte)))
  return kind < 0 ? kinds.length : kind
})
