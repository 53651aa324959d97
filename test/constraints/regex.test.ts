import { describe, expect, it } from 'vitest'
import { compileConstraint } from '#kvasir/constraints/index.js'
import { ConstraintError } from '#kvasir/errors.js'
import { Random } from './random.js'
import { acceptor, byteTrie } from './vocabularies.js'
import { randomWalk } from './walks.js'

const whole = (source: string) => new RegExp(`^(?:${source})$`, 'u')

/** Random expressions over few characters, so that random strings match now and then. */
function randomRegex(random: Random, depth: number): string {
  const atoms = [
    'a',
    'b',
    'é',
    '漢',
    '😀',
    '.',
    '[ab]',
    '[^a]',
    '[a-cé-ü]',
    '\\d',
    '\\w',
    '\\S',
    '\\u{1f600}',
    '1',
    '\\.',
    '-',
  ]
  const atom = () => (depth > 0 && random.chance(0.4) ? group(random, depth - 1) : random.pick(atoms))
  const quantifiers = ['', '', '', '*', '+', '?', '{2}', '{1,3}', '{2,}', '{0,6}', '*?', '{5,9}']
  const sequence = () =>
    Array.from({ length: random.below(4) }, () => atom() + random.pick(quantifiers)).join('')
  return random.chance(0.3) ? `${sequence()}|${sequence()}` : sequence()
}

function group(random: Random, depth: number): string {
  return `${random.pick(['(', '(?:', '(?<n>'])}${randomRegex(random, depth)})`
}

function randomText(random: Random): string {
  return Array.from({ length: random.below(8) }, () => random.pick([...'aab1c-._é漢😀\n'])).join('')
}

/** Group names may come once only. */
const hasOneName = (source: string) => source.split('(?<n>').length <= 2

describe('regex', () => {
  it('accepts what JavaScript matches, and nothing else', () => {
    const random = new Random(2)
    let numMatches = 0
    for (let i = 0; i < 300; i++) {
      const source = randomRegex(random, 2)
      if (!hasOneName(source)) continue
      const accepts = acceptor({ regex: source })
      for (let j = 0; j < 30; j++) {
        const text = randomText(random)
        const isMatch = whole(source).test(text)
        expect(accepts(text), `${JSON.stringify(text)} under ${source}`).toBe(isMatch)
        numMatches += Number(isMatch)
      }
    }
    expect(numMatches).toBeGreaterThan(500)
  })

  it('generates what JavaScript matches', () => {
    const random = new Random(3)
    for (let i = 0; i < 200; i++) {
      const source = randomRegex(random, 2)
      if (!hasOneName(source)) continue
      const compiled = compileConstraint({ regex: source }, byteTrie)
      for (let j = 0; j < 5; j++) {
        const { text, isComplete } = randomWalk(compiled, byteTrie, random, { numFree: 30, most: 60 })
        if (isComplete) expect(text, source).toMatch(whole(source))
      }
    }
  })

  it('knows classes and escapes as JavaScript does', () => {
    const sources = [
      ...['\\d', '\\D', '\\w', '\\W', '\\s', '\\S', '.', '[^]', '[\\b]', '[\\d-]', '[-a]', '[a-]', '[^\\W_]'],
      ...[
        '\\t|\\n|\\v|\\f|\\r|\\0',
        '\\cJ',
        '\\x41',
        '\\u0041',
        '\\ud83d\\ude00',
        '\\u{41}',
        '\\p{Lu}',
        '\\P{L}',
      ],
      ...['\\p{Script=Greek}', '[\\p{Nd}_]', '\\/', '[\\]\\\\]', '\\$', '[.*+?]'],
    ]
    const codePoints = [
      ...Array(0x250).keys(),
      0x391,
      0x660,
      0x2028,
      0x3000,
      0xd7ff,
      0xe000,
      0xfeff,
      0xffff,
      0x10000,
      0x1f600,
      0x10ffff,
    ]
    for (const source of sources) {
      const accepts = acceptor({ regex: source })
      for (const codePoint of codePoints) {
        const text = String.fromCodePoint(codePoint)
        expect(accepts(text), `U+${codePoint.toString(16)} under ${source}`).toBe(whole(source).test(text))
      }
    }
  })

  it('is never in half a character, nor beyond Unicode', () => {
    const accepts = acceptor({ regex: '[^]*' })
    for (const bytes of [
      [0x80],
      [0xc3],
      [0xc0, 0x80],
      [0xe0, 0x80, 0x80],
      [0xed, 0xa0, 0x80],
      [0xf4, 0x90, 0x80, 0x80],
      [0xff],
    ])
      expect(accepts(Uint8Array.from(bytes)), bytes.join()).toBe(false)
    for (const text of ['', 'é', '\ud7ff\ue000', '\u{10ffff}']) expect(accepts(text)).toBe(true)
  })

  it('takes anchors at both ends', () => {
    for (const source of ['^ab$', '^(?:ab)$', '(^ab$|^ab)', '^(ab|a)(b|)$'])
      expect(acceptor({ regex: source })('ab')).toBe(true)
  })

  it('counts', () => {
    const accepts = acceptor({ regex: '[ab]{3,500}c{2,}(de){4}' })
    const text = (n: number, m: number, k: number) => 'ab'.repeat(n / 2) + 'c'.repeat(m) + 'de'.repeat(k)
    expect(accepts(text(4, 2, 4))).toBe(true)
    expect(accepts(text(500, 9, 4))).toBe(true)
    for (const [n, m, k] of [
      [2, 2, 4],
      [502, 2, 4],
      [4, 1, 4],
      [4, 2, 3],
      [4, 2, 5],
    ])
      expect(accepts(text(n, m, k))).toBe(false)
  })

  it.each([
    ['(?=a)b', 'ERR_UNSUPPORTED', 'offset 0'],
    ['a(?<!b)c', 'ERR_UNSUPPORTED', 'offset 1'],
    ['(a)\\1', 'ERR_UNSUPPORTED', 'offset 3'],
    ['a\\bb', 'ERR_UNSUPPORTED', 'offset 1'],
    ['a^b', 'ERR_UNSUPPORTED', 'offset 1'],
    ['(a$)*', 'ERR_UNSUPPORTED', 'offset 2'],
    ['(a', 'ERR_INVALID_ARG_VALUE', 'offset 0'],
    ['ab)', 'ERR_INVALID_ARG_VALUE', 'offset 2'],
    ['a{2', 'ERR_INVALID_ARG_VALUE', 'offset 1'],
    ['a{3,2}', 'ERR_INVALID_ARG_VALUE', 'offset 1'],
    ['*a', 'ERR_INVALID_ARG_VALUE', 'offset 0'],
    ['[b-a]', 'ERR_INVALID_ARG_VALUE', 'offset 3'],
    ['[a', 'ERR_INVALID_ARG_VALUE', 'offset 0'],
    ['a\\-', 'ERR_INVALID_ARG_VALUE', 'offset 1'],
    ['\\p{Nonsense}', 'ERR_INVALID_ARG_VALUE', 'offset 0'],
    ['\\ud800', 'ERR_UNSUPPORTED', 'offset 0'],
    ['[]', 'ERR_UNSATISFIABLE', 'regex'],
  ])('refuses %s', (regex, code, place) => {
    const failure = catchError(() => compileConstraint({ regex }, byteTrie))
    expect(failure).toBeInstanceOf(ConstraintError)
    expect(failure).toMatchObject({ code })
    expect((failure as Error).message).toContain(place)
  })
})

function catchError(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
}
