import { describe, expect, it } from 'vitest'
import { compileConstraint } from '#kvasir/constraints/index.js'
import { acceptor, byteTrie } from './vocabularies.js'

describe('grammar', () => {
  it('nests', () => {
    const accepts = acceptor({
      grammar: `
        # sums of products
        sum     ::= product (("+" | "-") product)*
        product ::= factor ([*/] factor)*
        factor  ::= [0-9]+ | "(" sum ")"`,
    })
    for (const text of ['1', '12+3*(4-5)', '((((7))))', '(1)/(2)-3']) expect(accepts(text), text).toBe(true)
    for (const text of ['', '+', '1+', '(1', '1)', '1(2)', '()', ' 1'])
      expect(accepts(text), text).toBe(false)
  })

  it('counts brackets to any depth, without taking room for what is done', () => {
    const accepts = acceptor({ grammar: 'list ::= "[" list "]" | "." rest\nrest ::= "," rest | ""' })
    expect(accepts(`${'['.repeat(5000)}.${','.repeat(5000)}${']'.repeat(5000)}`)).toBe(true)
    expect(accepts(`${'['.repeat(5000)}.${']'.repeat(4999)}`)).toBe(false)
  })

  it('follows several ways at once', () => {
    const palindromes = acceptor({ grammar: 'p ::= "a" p "a" | "b" p "b" | "a" | "b" | ""' })
    for (const text of ['', 'a', 'aa', 'abba', 'abababa', 'bbbbbbbb'])
      expect(palindromes(text), text).toBe(true)
    for (const text of ['ab', 'abb', 'aabb', 'abab']) expect(palindromes(text), text).toBe(false)
  })

  it('has literals, classes, any character and repetition', () => {
    const accepts = acceptor({
      grammar: `top ::= "it's"? "\\"\\u00e9\\x41\\n" [^a-y\\d]{2,3} . end+\nend ::= "!"{2}`,
    })
    for (const text of ['"éA\nzz?!!', 'it\'s"éA\n漢字Z😀!!!!']) expect(accepts(text), text).toBe(true)
    for (const text of ['"éA\nz?!!', '"éA\nzz?!', '"éA\nz1?!!']) expect(accepts(text), text).toBe(false)
  })

  it('repeats rules', () => {
    const accepts = acceptor({ grammar: 'top ::= (word ","){2,40}\nword ::= [a-z]{1,3} | "<" top ">"' })
    expect(accepts('ab,c,')).toBe(true)
    expect(accepts(`${'abc,'.repeat(39)}<a,b,>,`)).toBe(true)
    for (const text of ['ab,', 'abcd,a,', 'abc,'.repeat(41), '<a,>,b,'])
      expect(accepts(text), text).toBe(false)
  })

  it.each([
    ['', 'ERR_INVALID_ARG_VALUE', 'offset 0'],
    ['a = "b"', 'ERR_INVALID_ARG_VALUE', 'offset 0'],
    ['a ::= b', 'ERR_INVALID_ARG_VALUE', 'offset 6'],
    ['a ::= "b', 'ERR_INVALID_ARG_VALUE', 'offset 6'],
    ['a ::= ("b"', 'ERR_INVALID_ARG_VALUE', 'offset 6'],
    ['a ::= "b" | )', 'ERR_INVALID_ARG_VALUE', 'offset 12'],
    ['a ::= "b"\na ::= "c"', 'ERR_INVALID_ARG_VALUE', 'offset 10'],
    ['a ::= "b"{3,1}', 'ERR_INVALID_ARG_VALUE', 'offset 9'],
    ['a ::= "\\q"', 'ERR_INVALID_ARG_VALUE', 'offset 7'],
    ['a ::= a "b" | "c"', 'ERR_UNSUPPORTED', 'rule a'],
    ['a ::= "x" b\nb ::= "y"? c\nc ::= b "z"', 'ERR_UNSATISFIABLE', 'rule a'],
    ['a ::= "x" b\nb ::= "y"? c | "."\nc ::= b "z"', 'ERR_UNSUPPORTED', 'rule '],
    ['a ::= "x" a', 'ERR_UNSATISFIABLE', 'rule a'],
  ])('refuses %j', (grammar, code, place) => {
    expect(() => compileConstraint({ grammar }, byteTrie)).toThrow(expect.objectContaining({ code }))
    expect(() => compileConstraint({ grammar }, byteTrie)).toThrow(place)
  })
})

describe('choices', () => {
  it('are those strings', () => {
    const choices = ['yes', 'no', 'none', 'naïve', '', '"quoted"']
    const accepts = acceptor({ choices })
    for (const text of choices) expect(accepts(text)).toBe(true)
    for (const text of ['y', 'non', 'nona', 'nai', ' ']) expect(accepts(text)).toBe(false)
  })

  it('may be thousands', () => {
    const choices = Array.from({ length: 8000 }, (_, i) => `${i * 7919}`)
    const accepts = acceptor({ choices })
    for (const text of choices.filter((_, i) => i % 500 === 0)) expect(accepts(text)).toBe(true)
    expect(accepts('7918')).toBe(false)
  })
})
