import { ByteSet } from '../byte-set.js'
import {
  anyOf,
  bytes,
  call,
  choice,
  type Grammar,
  literal,
  optional,
  Rule,
  repeat,
  sequence,
} from '../grammar.js'
import { type CharacterEncoding, remembered, wholeMatch } from '../regex/to-grammar.js'
import { anyCharacter, character, complement, intersection } from '../utf8.js'

// JSON as it is generated: no white space but one space, or none, after "," and ":".

export const comma = sequence(literal(','), optional(literal(' ')))
export const colon = sequence(literal(':'), optional(literal(' ')))
export const quote = literal('"')

/** Characters that JSON strings must escape. */
const escaped = [
  [0, 0x1f],
  [0x22, 0x22],
  [0x5c, 0x5c],
] as const
const hex = bytes(ByteSet.ascii('0123456789abcdefABCDEF'))

/** A character of a JSON string: itself, or any escape but for those of surrogates. */
const stringCharacter = choice(
  character(complement(escaped)),
  sequence(
    literal('\\'),
    choice(
      bytes(ByteSet.ascii('"\\/bfnrt')),
      sequence(
        literal('u'),
        choice(
          sequence(bytes(ByteSet.ascii('0123456789abcefABCEF')), hex, hex, hex),
          sequence(bytes(ByteSet.ascii('dD')), bytes(ByteSet.ascii('01234567')), hex, hex),
        ),
      ),
    ),
  ),
)

/**
 * Characters as `JSON.stringify` writes them: escaped only where they must be, in one way, so that different texts
 * are different strings.
 */
export const asJson: CharacterEncoding = remembered((ranges) => {
  const plain = intersection(ranges, complement(escaped))
  const others = intersection(ranges, escaped).flatMap(([first, last]) =>
    Array.from({ length: last - first + 1 }, (_, i) => first + i),
  )
  const escapes = others.map((codePoint) => jsonLiteral(String.fromCodePoint(codePoint)).slice(1, -1))
  return choice(character(plain), anyOf(escapes))
})

/** Any character, escaped only where it must be. */
export const canonicalCharacter = asJson(anyCharacter)

/** A string of so many characters; the length of an escape is one. */
export function stringOf(min: number, max: number): Grammar {
  return sequence(quote, repeat(stringCharacter, min, max), quote)
}

/** A value as `JSON.stringify` writes it. */
export function jsonLiteral(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value))
}

/** Integers that doubles hold exactly. */
export const maxIntegerDigits = 15

/** Any integer of up to 15 digits. */
export const anyInteger = wholeMatch('json', `-?(0|[1-9][0-9]{0,${maxIntegerDigits - 1}})`)
/** Any number whose digits and exponent keep it finite. */
export const anyNumber = sequence(
  anyInteger,
  wholeMatch('json', `(\\.[0-9]{1,${maxIntegerDigits}})?([eE][+-]?[0-9]{1,2})?`),
)

const string = new Rule('json', stringOf(0, Infinity))
const number = new Rule('json', anyNumber)
const object = new Rule('json')
const array = new Rule('json')
const value = new Rule('json')

const list = (item: Grammar) => optional(sequence(item, repeat(sequence(comma, item), 0, Infinity)))

value.body = choice(
  ...[string, number, object, array].map(call),
  literal('true'),
  literal('false'),
  literal('null'),
)
object.body = sequence(literal('{'), list(sequence(call(string), colon, call(value))), literal('}'))
array.body = sequence(literal('['), list(call(value)), literal(']'))

/** Any value of each kind; rules that all constraints share. */
export const anyJson = {
  string: call(string),
  number: call(number),
  object: call(object),
  array: call(array),
  value: call(value),
} as const
