import { describe, expect, it } from 'vitest'
import { type Constraint, compileConstraint, TokenTrie } from '#kvasir/constraints/index.js'
import { encodeWithin } from '#kvasir/tokenizer/index.js'
import { Random } from './random.js'
import { byteTrie, idsOf, realTokenizer, realTrie, tinyTokenizer, tinyTrie } from './vocabularies.js'
import { isAllowed, randomWalk } from './walks.js'

const person = {
  type: 'object',
  properties: {
    name: { type: 'string', minLength: 1, maxLength: 20 },
    nick: { type: 'string', pattern: '^[a-zé ]{2,9}$' },
    tags: { type: 'array', items: { enum: ['new', 'news', 'newest'] }, minItems: 1, maxItems: 100 },
    size: { type: 'number', minimum: -3, maximum: 12.5 },
    more: { additionalProperties: { $ref: '#' } },
  },
  required: ['name'],
} as const

const constraints: Constraint[] = [
  { json: person },
  { json: true },
  { json: { type: 'array', items: { type: 'string', minLength: 3, maxLength: 5 } } },
  { regex: '[a-z]{3,8}( [A-Z]\\w{1,40}){1,20}' },
  { regex: '"[^"]{2,6}"|"[^"]*!"' },
  { regex: '.{2,5}\\.|[a-f]{3,9}g{0,4}' },
  {
    grammar:
      'v ::= "[" (v ("," " "? v){0,20})? "]" | [0-9]{1,5} | "\\"" [^"]{0,30} "\\"" tail\ntail ::= [a-z ]{4,12} | ""',
  },
  { choices: ['one', 'one more', 'other', 'naïve', '漢字'] },
]

describe.each([
  ['the own vocabulary', tinyTrie],
  ['a large vocabulary', realTrie],
])('masks over %s', (_, trie) => {
  it.each(constraints)('are what each token alone does: %j', (constraint) => {
    const random = new Random(6)
    const compiled = compileConstraint(constraint, trie)
    const numWalks = trie === tinyTrie ? 8 : 1
    for (let i = 0; i < numWalks; i++) {
      randomWalk(compiled, trie, random, { numFree: 20, most: 30 }, (matcher, words) => {
        if (trie !== tinyTrie && random.chance(0.7)) return
        const expected: number[] = []
        for (let id = 0; id < trie.size; id++) {
          try {
            matcher.clone().advance(id)
            expected.push(id)
          } catch {}
        }
        expect(idsOf(words, trie.size)).toEqual(expected)
      })
    }
  })
})

describe('ConstraintMatcher', () => {
  it('clones go their own ways', () => {
    const random = new Random(7)
    const compiled = compileConstraint({ json: true }, tinyTrie)
    const words = new Int32Array(tinyTrie.size / 32)
    randomWalk(compiled, tinyTrie, random, { numFree: 30 }, (matcher, before) => {
      const copy = matcher.clone()
      for (let i = 0; i < 3 && !copy.mustEnd; i++) {
        copy.mask(words)
        copy.advance(random.pick(idsOf(words, tinyTrie.size)))
      }
      matcher.mask(words)
      expect(words).toEqual(before)
    })
  })

  it('tells when the text may and must end', () => {
    const matcher = compileConstraint({ regex: 'ab?' }, byteTrie).start()
    expect([matcher.mayEnd, matcher.mustEnd]).toEqual([false, false])
    matcher.advance(0x61)
    expect([matcher.mayEnd, matcher.mustEnd]).toEqual([true, false])
    matcher.advance(0x62)
    expect([matcher.mayEnd, matcher.mustEnd]).toEqual([true, true])
    const words = new Int32Array(8)
    matcher.mask(words)
    expect(idsOf(words, 256)).toEqual([])
  })

  it('refuses tokens that the mask does not allow, and stays where it was', () => {
    const matcher = compileConstraint({ regex: 'ab' }, byteTrie).start()
    for (const id of [0x62, -1, 256, 1.5])
      expect(() => matcher.advance(id)).toThrow(expect.objectContaining({ code: 'ERR_INTERNAL' }))
    matcher.advance(0x61)
    matcher.advance(0x62)
    expect(matcher.mustEnd).toBe(true)
  })

  it('writes masks that are longer than the vocabulary, and none that are too short', () => {
    const matcher = compileConstraint({ choices: ['a'] }, tinyTrie).start()
    const words = new Int32Array(40).fill(-1)
    matcher.mask(words)
    expect(idsOf(words, 40 * 32)).toEqual([tinyTrie.longestPrefix(Buffer.from('a'))])
    expect(() => matcher.mask(new Int32Array(31))).toThrow(TypeError)
  })

  it('never allows special tokens or ones without text', () => {
    const bytes = [null, new Uint8Array(), Uint8Array.of(0x61), new Uint8Array(5000).fill(0x61)]
    const trie = new TokenTrie({ size: 4, bytes: (id) => bytes[id] })
    const words = new Int32Array(1)
    const matcher = compileConstraint({ regex: 'a*' }, trie).start()
    matcher.mask(words)
    expect(idsOf(words, 4)).toEqual([2])
  })

  it('allows all tokens of the same bytes', () => {
    const trie = new TokenTrie({ size: 40, bytes: (id) => Uint8Array.of(id === 33 ? 0x61 : 0x61 + (id % 3)) })
    const words = new Int32Array(2)
    compileConstraint({ choices: ['a'] }, trie)
      .start()
      .mask(words)
    expect(idsOf(words, 40)).toEqual([0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36, 39])
  })

  it('does not begin what the vocabulary cannot end', () => {
    const letters = new TokenTrie({ size: 3, bytes: (id) => Buffer.from(['a', 'b', 'xy'][id]) })
    const words = new Int32Array(1)
    compileConstraint({ regex: 'a|bx|xyz?' }, letters).start().mask(words)
    expect(idsOf(words, 3)).toEqual([0])
    expect(() => compileConstraint({ regex: 'xy' }, letters)).toThrow(
      expect.objectContaining({ code: 'ERR_UNSATISFIABLE' }),
    )
  })
})

describe.each([
  ['the own vocabulary', tinyTrie, tinyTokenizer],
  ['a large vocabulary', realTrie, realTokenizer],
])('forced tokens over %s', (_, trie, tokenizer) => {
  const encode = (bytes: Uint8Array) => encodeWithin(tokenizer, bytes)

  it('are allowed in turn, and what they spell is all that can follow', () => {
    const random = new Random(8)
    let numForced = 0
    for (const constraint of constraints) {
      const compiled = compileConstraint(constraint, trie)
      randomWalk(compiled, trie, random, { numFree: 25 }, (matcher) => {
        for (const forced of [matcher.forcedTokens(encode), matcher.forcedTokens()]) {
          const follower = matcher.clone()
          const words = new Int32Array(Math.ceil(trie.size / 32))
          for (const id of forced) {
            follower.mask(words)
            expect(isAllowed(words, id)).toBe(true)
            follower.advance(id)
          }
          numForced += forced.length
        }
      })
    }
    expect(numForced).toBeGreaterThan(20)
  })

  it('are the tokenizer’s own, all but the last that could go on', () => {
    const schema = {
      type: 'object',
      properties: { description: { type: 'string' } },
      required: ['description'],
    } as const
    const matcher = compileConstraint({ json: schema }, trie).start()
    const ids = encode(Buffer.from('{"description":'))
    expect(matcher.forcedTokens(encode)).toEqual(ids.slice(0, -1))
  })

  it('are all of them where only the end can follow', () => {
    const matcher = compileConstraint({ choices: ['The end of it.'] }, trie).start()
    expect(matcher.forcedTokens(encode)).toEqual(encode(Buffer.from('The end of it.')))
    for (const id of matcher.forcedTokens()) matcher.advance(id)
    expect(matcher.mustEnd).toBe(true)
    expect(matcher.forcedTokens()).toEqual([])
  })

  it('stay right when a tokenizer writes something else', () => {
    const matcher = compileConstraint({ choices: ['naïve'] }, trie).start()
    const spelled = matcher.forcedTokens(() => [trie.size - 1, 3])
    expect(Buffer.concat(spelled.map((id) => trie.bytesOf(id)!)).toString()).toBe('naïve')
  })
})
