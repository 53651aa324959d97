import { malformed, unsupported } from '../budget.js'
import { type CodePointRange, complement, maxCodePoint, normalised } from '../utf8.js'
import type { Scanner } from './syntax.js'

const char = (text: string): CodePointRange => [text.codePointAt(0)!, text.codePointAt(0)!]
const range = (first: string, last: string): CodePointRange => [first.codePointAt(0)!, last.codePointAt(0)!]

const digits = [range('0', '9')]
const wordCharacters = [range('0', '9'), range('A', 'Z'), char('_'), range('a', 'z')]
/** WhiteSpace and LineTerminator of ECMA-262. */
const spaces: CodePointRange[] = [
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
]
const lineTerminators: CodePointRange[] = [char('\n'), char('\r'), [0x2028, 0x2029]]

/** What "." is. */
export const dot = complement(lineTerminators)

const classEscapes: Record<string, readonly CodePointRange[]> = {
  d: digits,
  D: complement(digits),
  w: wordCharacters,
  W: complement(wordCharacters),
  s: spaces,
  S: complement(spaces),
}

const controlEscapes: Record<string, string> = { t: '\t', n: '\n', v: '\v', f: '\f', r: '\r' }

/** A set after its "[". */
export function readSet(scanner: Scanner): readonly CodePointRange[] {
  const start = scanner.index - 1
  const isNegated = scanner.take('^')
  const ranges: CodePointRange[] = []
  while (!scanner.take(']')) {
    if (scanner.isAtEnd) throw malformed(scanner.at(start), 'a character class that ends with "]"', 'none')
    const first = readMember(scanner)
    const isRange = scanner.peek() === '-' && scanner.peek(1) !== ']' && scanner.peek(1) !== ''
    if (!isRange) {
      ranges.push(...first)
      continue
    }
    scanner.next()
    const at = scanner.at()
    const last = readMember(scanner)
    const bounds = [...first, ...last]
    if (first.length !== 1 || last.length !== 1 || bounds.some(([from, to]) => from !== to))
      throw malformed(at, 'a range between two characters', 'a class')
    if (first[0]![0] > last[0]![0])
      throw malformed(at, 'a range in ascending order', 'the larger character first')
    ranges.push([first[0]![0], last[0]![0]])
  }
  return isNegated ? complement(ranges) : normalised(ranges)
}

function readMember(scanner: Scanner): readonly CodePointRange[] {
  if (!scanner.take('\\')) return [char(scanner.next())]
  if (scanner.take('b')) return [char('\b')]
  if (scanner.take('-')) return [char('-')]
  return readEscape(scanner)
}

/** What an escape stands for, after its backslash. */
export function readEscape(scanner: Scanner): readonly CodePointRange[] {
  const at = scanner.at(scanner.index - 1)
  const letter = scanner.next()
  const ranges = Object.hasOwn(classEscapes, letter) ? classEscapes[letter] : undefined
  if (ranges !== undefined) return ranges
  if (Object.hasOwn(controlEscapes, letter)) return [char(controlEscapes[letter]!)]
  if (letter === 'p' || letter === 'P') return readProperty(scanner, at, letter === 'P')
  if (letter === 'x') return single(readHex(scanner, 2, at))
  if (letter === 'u') return readUnicodeEscape(scanner, at)
  if (letter === 'c' && /[A-Za-z]/.test(scanner.peek())) return single(scanner.next().charCodeAt(0) % 32)
  if (letter === '0' && !/[0-9]/.test(scanner.peek())) return single(0)
  if (/[\^$\\.*+?()[\]{}|/]/.test(letter)) return [char(letter)]
  if (/[1-9k]/.test(letter)) throw unsupported(at, 'a back reference')
  throw malformed(at, 'an escape of ECMAScript with the flag u', JSON.stringify(`\\${letter}`))
}

function single(codePoint: number): readonly CodePointRange[] {
  return [[codePoint, codePoint]]
}

function readHex(scanner: Scanner, length: number, at: string): number {
  const hex = scanner.takeWhile(/[0-9A-Fa-f]/, length)
  if (hex.length !== length)
    throw malformed(at, `an escape with ${length} hexadecimal digits`, `${hex.length}`)
  return Number.parseInt(hex, 16)
}

function readUnicodeEscape(scanner: Scanner, at: string): readonly CodePointRange[] {
  if (scanner.take('{')) {
    const codePoint = Number.parseInt(scanner.takeWhile(/[0-9A-Fa-f]/, 8), 16)
    if (!(codePoint <= maxCodePoint) || !scanner.take('}'))
      throw malformed(at, 'an escape of a code point', 'none')
    return wellFormed(codePoint, at)
  }
  const unit = readHex(scanner, 4, at)
  if (unit >= 0xd800 && unit <= 0xdbff && scanner.take('\\u')) {
    const low = readHex(scanner, 4, at)
    return wellFormed(0x10000 + ((unit & 0x3ff) << 10) + (low & 0x3ff), at)
  }
  return wellFormed(unit, at)
}

function wellFormed(codePoint: number, at: string): readonly CodePointRange[] {
  if (codePoint >= 0xd800 && codePoint <= 0xdfff) throw unsupported(at, 'half of a surrogate pair')
  return single(codePoint)
}

const properties = new Map<string, readonly CodePointRange[]>()
/** Each takes tens of kilobytes, and a text can name many. */
const maxProperties = 64

function readProperty(scanner: Scanner, at: string, isNegated: boolean): readonly CodePointRange[] {
  const name = scanner.take('{') ? scanner.takeWhile(/[A-Za-z0-9_=]/) : ''
  if (name === '' || !scanner.take('}')) throw malformed(at, 'a property such as \\p{L}', 'none')
  let ranges = properties.get(name)
  if (ranges === undefined) {
    ranges = rangesOf(name, at)
    if (properties.size < maxProperties) properties.set(name, ranges)
  }
  return isNegated ? complement(ranges) : ranges
}

/** The characters with a property, as this JavaScript engine knows them; takes some tens of milliseconds. */
function rangesOf(name: string, at: string): readonly CodePointRange[] {
  let pattern: RegExp
  try {
    pattern = new RegExp(`^\\p{${name}}$`, 'u')
  } catch {
    throw malformed(at, 'a property of Unicode', JSON.stringify(name))
  }
  const ranges: CodePointRange[] = []
  let first = -1
  for (let codePoint = 0; codePoint <= maxCodePoint + 1; codePoint++) {
    const isIn = codePoint <= maxCodePoint && pattern.test(String.fromCodePoint(codePoint))
    if (isIn && first < 0) first = codePoint
    if (!isIn && first >= 0) {
      ranges.push([first, codePoint - 1])
      first = -1
    }
  }
  return normalised(ranges)
}
