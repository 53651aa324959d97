import { malformed, maxDepth, overBudget, unsupported } from '../budget.js'
import { dot, readEscape, readSet } from './character-classes.js'
import { type Regex, Scanner } from './syntax.js'

/**
 * Reads a regular expression of ECMAScript with the flag u, but for what is not regular or looks around: back
 * references, lookahead, lookbehind, `\b`.
 *
 * @param place what the expression is, in the words of an error message
 */
export function parseRegex(place: string, source: string): Regex {
  const scanner = new Scanner(place, source)
  const regex = readChoice(scanner, 0)
  if (!scanner.isAtEnd) throw malformed(scanner.at(), 'the end of the expression', scanner.found)
  return regex
}

function readChoice(scanner: Scanner, depth: number): Regex {
  if (depth > maxDepth) throw overBudget(scanner.at(), `nested at most ${maxDepth} deep`)
  const options = [readSequence(scanner, depth)]
  while (scanner.take('|')) options.push(readSequence(scanner, depth))
  return options.length === 1 ? options[0]! : { kind: 'choice', options }
}

function readSequence(scanner: Scanner, depth: number): Regex {
  const parts: Regex[] = []
  while (!scanner.isAtEnd && scanner.peek() !== '|' && scanner.peek() !== ')')
    parts.push(readQuantified(scanner, depth))
  return { kind: 'sequence', parts }
}

function readQuantified(scanner: Scanner, depth: number): Regex {
  const body = readAtom(scanner, depth)
  const at = scanner.at()
  const bounds = readQuantifier(scanner)
  if (bounds === null) return body
  if (body.kind === 'anchor')
    throw malformed(at, 'a quantifier after something to repeat', 'one after an anchor')
  const [min, max] = bounds
  if (min > max) throw malformed(at, 'a quantifier with bounds in ascending order', `{${min},${max}}`)
  return { kind: 'repeat', body, min, max }
}

/** Repetitions in one quantifier, far beyond what an automaton could hold. */
const maxRepetitions = 1e9

function readQuantifier(scanner: Scanner): [min: number, max: number] | null {
  const bounds = readBounds(scanner)
  // Which of several ways a lazy quantifier prefers makes no difference to what matches.
  if (bounds !== null) scanner.take('?')
  return bounds
}

function readBounds(scanner: Scanner): [min: number, max: number] | null {
  if (scanner.take('*')) return [0, Infinity]
  if (scanner.take('+')) return [1, Infinity]
  if (scanner.take('?')) return [0, 1]
  if (!scanner.take('{')) return null
  const at = scanner.at(scanner.index - 1)
  const min = scanner.takeWhile(/[0-9]/)
  const hasMax = scanner.take(',')
  const max = hasMax ? scanner.takeWhile(/[0-9]/) : min
  if (min === '' || !scanner.take('}')) throw malformed(at, 'a quantifier such as {2,5}', scanner.found)
  if (Number(min) > maxRepetitions || Number(max) > maxRepetitions)
    throw overBudget(at, `at most ${maxRepetitions} repetitions`)
  return [Number(min), max === '' ? Infinity : Number(max)]
}

function readAtom(scanner: Scanner, depth: number): Regex {
  const offset = scanner.index
  const found = scanner.found
  const char = scanner.next()
  switch (char) {
    case '^':
      return { kind: 'anchor', at: 'start', offset }
    case '$':
      return { kind: 'anchor', at: 'end', offset }
    case '.':
      return { kind: 'set', ranges: dot }
    case '[':
      return { kind: 'set', ranges: readSet(scanner) }
    case '(':
      return readGroup(scanner, depth, offset)
    case '\\':
      if (/[bB]/.test(scanner.peek())) throw unsupported(scanner.at(offset), 'a word boundary')
      return { kind: 'set', ranges: readEscape(scanner) }
    case '*':
    case '+':
    case '?':
    case '{':
    case '}':
    case ']':
      throw malformed(scanner.at(offset), 'something to match', found)
    default:
      return { kind: 'set', ranges: [[char.codePointAt(0)!, char.codePointAt(0)!]] }
  }
}

function readGroup(scanner: Scanner, depth: number, offset: number): Regex {
  if (scanner.take('?')) {
    const isNamed = scanner.peek() === '<' && !/[=!]/.test(scanner.peek(1))
    if (isNamed) scanner.takeWhile(/[^>]/)
    if (isNamed ? !scanner.take('>') : !scanner.take(':'))
      throw unsupported(scanner.at(offset), 'a group that looks ahead, looks behind or sets flags')
  }
  const body = readChoice(scanner, depth + 1)
  if (!scanner.take(')')) throw malformed(scanner.at(offset), 'a group that ends with ")"', 'none')
  return body
}
