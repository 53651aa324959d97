import { unsupported } from '../budget.js'
import { choice, type Grammar, repeat, sequence } from '../grammar.js'
import { anyCharacter, type CodePointRange, character } from '../utf8.js'
import { parseRegex } from './parse.js'
import type { Regex } from './syntax.js'

/** How a character of some ranges is written. */
export type CharacterEncoding = (ranges: readonly CodePointRange[]) => Grammar

/** As UTF-8. The same set is the same object, so that loops over it share their states. */
export const asUtf8 = remembered(character)

const anyText: Regex = { kind: 'repeat', body: { kind: 'set', ranges: anyCharacter }, min: 0, max: Infinity }

/** The texts that match from their start to their end. */
export function wholeMatch(place: string, source: string, encoding = asUtf8): Grammar {
  const regex = parseRegex(place, source)
  const nothingAround: Regex = { kind: 'sequence', parts: [] }
  return toGrammar(place, delimit(delimit(regex, 'start', nothingAround), 'end', nothingAround), encoding)
}

/** The texts in which there is a match, as JSON Schema's `pattern` wants it. */
export function search(place: string, source: string, encoding = asUtf8): Grammar {
  const regex = parseRegex(place, source)
  return toGrammar(place, delimit(delimit(regex, 'start', anyText), 'end', anyText), encoding)
}

/** Makes an encoding give the same object for the same ranges. */
export function remembered(encoding: CharacterEncoding): CharacterEncoding {
  const known = new WeakMap<readonly CodePointRange[], Grammar>()
  const byKey = new Map<string, Grammar>()
  return (ranges) => {
    let grammar = known.get(ranges)
    if (grammar === undefined) {
      const key = ranges.join()
      grammar = byKey.get(key) ?? encoding(ranges)
      known.set(ranges, grammar)
      if (byKey.size < maxRemembered) byKey.set(key, grammar)
    }
    return grammar
  }
}

const maxRemembered = 256

/** Puts `around` before (or after) every way through that does not begin (or end) with an anchor. */
function delimit(regex: Regex, at: 'start' | 'end', around: Regex): Regex {
  if (regex.kind === 'choice')
    return { kind: 'choice', options: regex.options.map((option) => delimit(option, at, around)) }
  const parts = regex.kind === 'sequence' ? regex.parts : [regex]
  const outer = parts.at(at === 'start' ? 0 : -1)
  const inner = at === 'start' ? parts.slice(1) : parts.slice(0, -1)
  const join = (outside: Regex, rest: readonly Regex[]): Regex => ({
    kind: 'sequence',
    parts: at === 'start' ? [outside, ...rest] : [...rest, outside],
  })
  if (outer?.kind === 'anchor' && outer.at === at) return { kind: 'sequence', parts: inner }
  const isGroup = outer?.kind === 'choice' || outer?.kind === 'sequence'
  if (isGroup && hasAnchor(outer)) return join(delimit(outer, at, around), inner)
  return join(around, parts)
}

function hasAnchor(regex: Regex): boolean {
  switch (regex.kind) {
    case 'anchor':
      return true
    case 'sequence':
      return regex.parts.some(hasAnchor)
    case 'choice':
      return regex.options.some(hasAnchor)
    case 'repeat':
      return hasAnchor(regex.body)
    case 'set':
      return false
  }
}

function toGrammar(place: string, regex: Regex, encoding: CharacterEncoding): Grammar {
  const convert = (part: Regex): Grammar => {
    switch (part.kind) {
      case 'set':
        return encoding(part.ranges)
      case 'sequence':
        return sequence(...part.parts.map(convert))
      case 'choice':
        return choice(...part.options.map(convert))
      case 'repeat':
        return repeat(convert(part.body), part.min, part.max)
      case 'anchor':
        throw unsupported(
          `${place}, offset ${part.offset}`,
          'an anchor that is not at the beginning or the end of the expression',
        )
    }
  }
  return convert(regex)
}
