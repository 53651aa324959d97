import * as tokenizers from '@huggingface/tokenizers'
import { invalidValue } from '../errors.js'
import { fieldError, type JsonObject } from './json-object.js'

interface SplitOptions {
  type: 'Split'
  pattern: { Regex: string }
  behavior: 'Isolated'
  invert: boolean
}

// What is used of the package. Its own declarations have imports without file extensions, which do not
// resolve in ES modules.
const { SplitPreTokenizer } = tokenizers as unknown as {
  SplitPreTokenizer: new (options: SplitOptions) => { pattern: RegExp | null }
}

/** Real patterns have up to 500 characters; the translation takes quadratic time. */
const maxPatternLength = 8192

/** The characters that `\w` stands for in the Rust library's patterns. */
export const wordClass = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}'

/** Reads `{ "String": ... }` or `{ "Regex": ... }`; null stands for a pattern that never matches. */
export function readPattern(json: JsonObject, name: string): RegExp | null {
  const pattern = json.object(name)
  const regex = pattern.optionalString('Regex')
  if (regex !== null) return translate(regex, json.file, pattern.field('Regex'))
  const literal = pattern.string('String')
  return literal === '' ? null : literalPattern(literal)
}

/** Translates a regular expression of the Oniguruma dialect, in which tokenizer files are written. */
export function translate(regex: string, file: string, field: string): RegExp {
  if (regex.length > maxPatternLength) {
    throw fieldError(file, field, `at most ${maxPatternLength} characters`, `${regex.length} characters`)
  }
  let pattern: RegExp | null = null
  try {
    const options: SplitOptions = {
      type: 'Split',
      pattern: { Regex: regex },
      behavior: 'Isolated',
      invert: false,
    }
    pattern = new SplitPreTokenizer(options).pattern
  } catch {
    // Reported below, with the file's own pattern.
  }
  if (pattern === null) {
    throw fieldError(file, field, 'a supported regular expression', regex, 'ERR_UNSUPPORTED')
  }
  return pattern
}

/** A pattern that matches a text itself. */
export function literalPattern(literal: string): RegExp {
  return new RegExp(literal.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&'), 'gu')
}

/**
 * Calls `onMatch` with start and end of each match, left to right.
 *
 * @throws RangeError where a match is too long for the regular expression engine: with usual patterns,
 *   millions of letters without a space
 */
export function eachMatch(
  text: string,
  pattern: RegExp,
  onMatch: (start: number, end: number) => void,
): void {
  pattern.lastIndex = 0
  const next = () => guarded(text, () => pattern.exec(text))
  for (let match = next(); match !== null; match = next()) {
    const end = match.index + match[0].length
    if (end === match.index) pattern.lastIndex = end + (text.codePointAt(end)! > 0xffff ? 2 : 1)
    onMatch(match.index, end)
  }
}

/** Replaces each match by a text. @throws RangeError as `eachMatch` does */
export function replaceMatches(text: string, pattern: RegExp | null, content: string): string {
  return pattern === null ? text : guarded(text, () => text.replace(pattern, () => content))
}

function guarded<T>(text: string, match: () => T): T {
  try {
    return match()
  } catch (error) {
    // A full backtracking stack is the only failure of a regular expression.
    if (!(error instanceof RangeError)) throw error
    throw invalidValue('tokenizer: text', 'made of shorter words', `${text.length} characters`)
  }
}
