import { describe, expect, it } from 'vitest'
import {
  type Constraint,
  ConstraintCache,
  checkConstraint,
  compileConstraint,
} from '#kvasir/constraints/index.js'
import { acceptor, byteTrie } from './vocabularies.js'

function nested(depth: number, wrap: (inner: unknown) => unknown): unknown {
  let schema: unknown = { type: 'null' }
  for (let i = 0; i < depth; i++) schema = wrap(schema)
  return schema
}

/** Each part asks for the next one twice. */
function doubling(length: number): unknown {
  const part = (i: number) => ({ allOf: [{ $ref: `#/$defs/d${i + 1}` }, { $ref: `#/$defs/d${i + 1}` }] })
  const parts = Array.from({ length }, (_, i) => [`d${i}`, part(i)])
  return { $ref: '#/$defs/d0', $defs: { ...Object.fromEntries(parts), [`d${length}`]: { type: 'null' } } }
}

function chain(length: number): unknown {
  const parts = Array.from({ length }, (_, i) => [`d${i}`, { $ref: `#/$defs/d${i + 1}` }])
  return { $ref: '#/$defs/d0', $defs: { ...Object.fromEntries(parts), [`d${length}`]: { type: 'null' } } }
}

/** Compiles and takes some steps; what is too much must end with an error of the budget, soon. */
function outcome(constraint: unknown): string {
  const start = performance.now()
  let result = 'compiled'
  try {
    const matcher = compileConstraint(constraint as Constraint, byteTrie).start()
    const words = new Int32Array(8)
    for (let i = 0; i < 200 && !matcher.mustEnd; i++) {
      matcher.mask(words)
      const byte = [...'a"{[x1']
        .map((char) => char.charCodeAt(0))
        .find((each) => (words[each >> 5] >>> (each & 31)) & 1)
      if (byte === undefined) break
      matcher.advance(byte)
    }
  } catch (error) {
    result = (error as { code: string }).code
  }
  // Far above the budget, for machines that do other things beside.
  expect(performance.now() - start).toBeLessThan(30_000)
  return result
}

describe('budgets', () => {
  const expressions: [regex: string, expected: string][] = [
    ['(a{0,1000}){0,1000}', 'ERR_BUDGET'],
    ['((a{0,100}){0,100}){0,100}', 'ERR_BUDGET'],
    ['(((((a+)+)+)+)+)+b', 'compiled'],
    ['(a|a)*(a|aa)*b', 'compiled'],
    ['(a*)*(a?){50}a{50}', 'compiled'],
    ['(x+x+)+y', 'compiled'],
    ['.{1000000}', 'compiled'],
    ['(.{1000}){1000}', 'ERR_BUDGET'],
    ['a{1000000000}', 'compiled'],
    ['a{10000000000}', 'ERR_BUDGET'],
    ['(ab?){99999}', 'ERR_BUDGET'],
    ['.*a.{400}', 'compiled'],
    [`${'('.repeat(70)}a${')'.repeat(70)}`, 'ERR_BUDGET'],
    [`${'('.repeat(60)}a${')'.repeat(60)}`, 'compiled'],
    ['a'.repeat(65536), 'compiled'],
    ['a|'.repeat(32768), 'compiled'],
    ['a'.repeat(65537), 'ERR_INVALID_ARG_VALUE'],
    ['\\p{L}'.repeat(2000), 'ERR_BUDGET'],
  ]
  const titled = expressions.map(([regex, expected]) => [regex.slice(0, 30), regex, expected])
  it.each(titled)('regex %s', (_, regex, expected) => {
    expect(outcome({ regex })).toBe(expected)
  })

  it('long repetitions count right', () => {
    const accepts = acceptor({ regex: 'a{5000,5002}' })
    expect([4999, 5000, 5002, 5003].map((n) => accepts('a'.repeat(n)))).toEqual([false, true, true, false])
  })

  it.each([
    ['deep properties', nested(60, (a) => ({ properties: { a } })), 'compiled'],
    ['deep unions', nested(60, (a) => ({ anyOf: [a, { type: 'integer' }] })), 'compiled'],
    ['too deep', nested(200, (a) => ({ items: a })), 'ERR_INVALID_ARG_VALUE'],
    [
      'unions that multiply',
      { allOf: Array.from({ length: 18 }, (_, i) => ({ anyOf: [{ minLength: i }, { maxLength: 99 - i }] })) },
      'ERR_BUDGET',
    ],
    ['options that contain themselves', { oneOf: [{ $ref: '#' }, { type: 'string' }] }, 'ERR_UNSUPPORTED'],
    ['many options', { oneOf: Array.from({ length: 2500 }, (_, i) => ({ const: i })) }, 'compiled'],
    ['references that multiply', doubling(40), 'compiled'],
    ['a long chain of references', chain(1500), 'compiled'],
    [
      'many properties',
      {
        type: 'object',
        properties: Object.fromEntries(Array.from({ length: 2500 }, (_, i) => [`p${i}`, { type: 'null' }])),
      },
      'compiled',
    ],
    ['a large enum', { enum: Array.from({ length: 6000 }, (_, i) => `e${i * 7}`) }, 'compiled'],
    ['a long string', { const: 'x'.repeat(60_000) }, 'compiled'],
    ['too long', { const: 'x'.repeat(66_000) }, 'ERR_INVALID_ARG_VALUE'],
    [
      'long strings and arrays',
      { type: 'array', items: { type: 'string', maxLength: 1e9 }, maxItems: 1e9 },
      'compiled',
    ],
    [
      'a pattern of much text',
      { type: 'string', pattern: '^(a{0,50}b{0,50}){0,50}$', maxLength: 5000 },
      'ERR_BUDGET',
    ],
    [
      'counts times names',
      {
        type: 'object',
        properties: Object.fromEntries(Array.from({ length: 900 }, (_, i) => [`p${i}`, true])),
        maxProperties: 500,
      },
      'ERR_BUDGET',
    ],
  ])('schema: %s', (_, json, expected) => {
    expect(outcome({ json })).toBe(expected)
  })

  it('grammar: ways that multiply end with an error', () => {
    const grammar = 's ::= a | b\na ::= "x" s s "y" | "x"\nb ::= "x" s s "z" | "x"'
    expect(['compiled', 'ERR_BUDGET']).toContain(outcome({ grammar }))
  })

  it('goes on when its memory is full', () => {
    // Every depth is another configuration, and there may be 100,000.
    const matcher = compileConstraint({ grammar: 'v ::= "a" v "b" | "."' }, byteTrie).start()
    const text = `${'a'.repeat(150_000)}.${'b'.repeat(150_000)}`
    const words = new Int32Array(8)
    let halfway = matcher
    for (let i = 0; i < text.length; i++) {
      if (i === 140_000) halfway = matcher.clone()
      if (i % 50_000 === 0) matcher.mask(words)
      matcher.advance(text.charCodeAt(i))
    }
    expect(matcher.mustEnd).toBe(true)
    for (const char of `.${'b'.repeat(139_999)}`) halfway.advance(char.charCodeAt(0))
    expect(halfway.mayEnd).toBe(false)
    halfway.advance(0x62)
    expect(halfway.mustEnd).toBe(true)
  })
})

describe('checkConstraint', () => {
  it('copies plain data', () => {
    const schema = { type: 'object', properties: { a: { type: 'null' } }, undefined } as const
    const checked = checkConstraint('generate: constraint', { json: schema })
    expect(checked).toEqual({ json: { type: 'object', properties: { a: { type: 'null' } } } })
    expect(structuredClone(checked)).toEqual(checked)
    const named = checkConstraint('x', { json: JSON.parse('{"properties":{"__proto__":{"const":1}}}') })
    expect(JSON.stringify(named)).toBe('{"json":{"properties":{"__proto__":{"const":1}}}}')
  })

  it.each([
    [null, TypeError],
    ['text', TypeError],
    [{}, RangeError],
    [{ json: true, regex: 'a' }, RangeError],
    [{ schema: true }, RangeError],
    [{ regex: 1 }, TypeError],
    [{ regex: '\ud800' }, RangeError],
    [{ json: 'a' }, TypeError],
    [{ json: null }, TypeError],
    [{ json: { const: () => {} } }, TypeError],
    [{ json: { const: Number.NaN } }, TypeError],
    [{ json: { const: 1n } }, TypeError],
    [{ choices: 'ab' }, TypeError],
    [{ choices: [] }, RangeError],
    [{ choices: ['a', 1] }, TypeError],
    [{ choices: Array.from({ length: 70_000 }, () => '') }, RangeError],
    [{ json: { enum: new Array(100_000).fill(1) } }, RangeError],
  ])('refuses another kind or size, case %#', (constraint, kind) => {
    expect(() => checkConstraint('generate: constraint', constraint)).toThrow(kind)
    expect(() => checkConstraint('generate: constraint', constraint)).toThrow('generate: constraint')
  })

  it('refuses what contains itself', () => {
    const schema: Record<string, unknown> = {}
    schema.items = schema
    expect(() => checkConstraint('x', { json: schema })).toThrow(RangeError)
  })
})

describe('ConstraintCache', () => {
  it('keeps what was used last', () => {
    const cache = new ConstraintCache(byteTrie, { maxEntries: 2 })
    const [a, b] = [cache.get({ regex: 'a' }), cache.get({ regex: 'b' })]
    expect(cache.get({ regex: 'a' })).toBe(a)
    cache.get({ regex: 'c' })
    expect(cache.size).toBe(2)
    expect(cache.get({ regex: 'a' })).toBe(a)
    expect(cache.get({ regex: 'b' })).not.toBe(b)
  })

  it('keeps within its bytes', () => {
    const cache = new ConstraintCache(byteTrie, { maxEntries: 100, maxBytes: 30_000 })
    for (let i = 0; i < 30; i++) cache.get({ regex: `[a-z]*${i}` })
    expect(cache.size).toBeLessThan(10)
    expect(cache.size).toBeGreaterThan(0)
  })

  it('does not remember errors', () => {
    const cache = new ConstraintCache(byteTrie)
    expect(() => cache.get({ regex: '(' })).toThrow()
    expect(cache.size).toBe(0)
  })
})
