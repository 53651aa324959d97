import type { CompiledConstraint, ConstraintMatcher, TokenTrie } from '#kvasir/constraints/index.js'
import type { Random } from './random.js'

export interface Walk {
  text: string
  ids: number[]
  /** Whether it came to an end. */
  isComplete: boolean
}

/**
 * Draws tokens that the masks allow: any for `numFree` of them, and then those of one byte that bring the text to an
 * end.
 */
export function randomWalk(
  compiled: CompiledConstraint,
  trie: TokenTrie,
  random: Random,
  { numFree = 12, most = 400 } = {},
  visit: (matcher: ConstraintMatcher, words: Int32Array) => void = () => {},
): Walk {
  const matcher = compiled.start()
  const words = new Int32Array(Math.ceil(trie.size / 32))
  const ids: number[] = []
  while (ids.length < most && !matcher.mustEnd) {
    if (matcher.mayEnd && (ids.length >= numFree || random.chance(0.2))) break
    matcher.mask(words)
    visit(matcher, words)
    const isFree = ids.length < numFree && !random.chance(0.2)
    const id = isFree ? anyAllowed(words, trie, random) : soonest(words, trie, random)
    matcher.advance(id)
    ids.push(id)
  }
  const bytes = Buffer.concat(ids.map((id) => trie.bytesOf(id)!))
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  return { text: matcher.mayEnd ? text.decode(bytes) : '', ids, isComplete: matcher.mayEnd }
}

export function isAllowed(words: Int32Array, id: number): boolean {
  return ((words[id >> 5] >>> (id & 31)) & 1) === 1
}

function anyAllowed(words: Int32Array, trie: TokenTrie, random: Random): number {
  const start = random.below(trie.size)
  for (let i = 0; i < trie.size; i++) {
    const id = (start + i) % trie.size
    if (isAllowed(words, id)) return id
  }
  throw new Error('no token is allowed')
}

/** Outside of strings, what brings JSON to an end, soonest first; other characters make it longer. */
const closing = [...'}]"WYMDHSZT0123456789ntfulrase:,']

function soonest(words: Int32Array, trie: TokenTrie, random: Random): number {
  const idOf = (char: string) => trie.longestPrefix(Buffer.from(char))
  const isPossible = (char: string) => isAllowed(words, idOf(char))
  const isInString = isPossible('q')
  if (isInString && isPossible('"')) return idOf('"')
  // What a pattern still asks for.
  const wanted = [...'abcdexfo"\\ '].filter(isPossible)
  if (isInString && wanted.length > 0) return idOf(random.pick(wanted))
  const char = closing.find(isPossible)
  return char === undefined ? anyAllowed(words, trie, random) : idOf(char)
}
