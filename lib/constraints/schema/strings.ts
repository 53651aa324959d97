import { intersect, ofLength, toDfa } from '../automaton/dfa.js'
import { type Budget, unsatisfiable, unsupported } from '../budget.js'
import { call, type Grammar, Rule, sequence } from '../grammar.js'
import { search, wholeMatch } from '../regex/to-grammar.js'
import { formats } from './formats.js'
import { anyJson, asJson, canonicalCharacter, quote, stringOf } from './json-text.js'
import { at, has, type Leaf } from './place.js'

/** States of an automaton for patterns, formats and lengths together. */
const maxStringStates = 20_000

export function stringGrammar(leaves: readonly Leaf[], budget: Budget): Grammar {
  const min = Math.max(0, ...numbers(leaves, 'minLength'))
  const max = Math.min(Infinity, ...numbers(leaves, 'maxLength'))
  const where = at(leaves[0]?.pointer ?? '')
  if (min > max) throw unsatisfiable(where, `minLength ${min} is above maxLength ${max}`)
  const contents = [...patterns(leaves), ...formatsOf(leaves)]
  if (contents.length === 0)
    return min === 0 && max === Infinity ? anyJson.string : call(new Rule(where, stringOf(min, max)))
  return call(new Rule(where, sequence(quote, contentOf(contents, { min, max }, budget, where), quote)))
}

function numbers(leaves: readonly Leaf[], keyword: 'minLength' | 'maxLength'): number[] {
  return leaves.filter((leaf) => has(leaf, keyword)).map(({ schema }) => schema[keyword]!)
}

function patterns(leaves: readonly Leaf[]): Grammar[] {
  return leaves
    .filter((leaf) => has(leaf, 'pattern'))
    .map(({ schema, pointer }) => search(at(`${pointer}/pattern`), schema.pattern!, asJson))
}

function formatsOf(leaves: readonly Leaf[]): Grammar[] {
  return leaves
    .filter((leaf) => has(leaf, 'format'))
    .map(({ schema, pointer }) => {
      const format = formats.get(schema.format!)
      const where = at(`${pointer}/format`)
      if (format === undefined) throw unsupported(where, `the format ${JSON.stringify(schema.format)}`)
      return wholeMatch(where, format, asJson)
    })
}

/** What all of some regular languages have in common, of so many characters. */
function contentOf(
  languages: readonly Grammar[],
  length: { min: number; max: number },
  budget: Budget,
  where: string,
): Grammar {
  const isBounded = length.min > 0 || length.max < Infinity
  if (languages.length === 1 && !isBounded) return languages[0]!
  const part = budget.part(maxStringStates)
  const common = languages
    .map((language) => toDfa(language, part, where))
    .reduce((a, b) => intersect(a, b, part, where))
  const dfa = isBounded
    ? ofLength(common, toDfa(canonicalCharacter, part, where), length, part, where)
    : common
  if (!dfa.live()[0]) throw unsatisfiable(where, 'no string fulfils its pattern, format and length together')
  return { kind: 'automaton', dfa }
}
