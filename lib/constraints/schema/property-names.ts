import { type Dfa, subtract, toDfa } from '../automaton/dfa.js'
import type { Budget } from '../budget.js'
import { anyOf, type Grammar, nothing, repeat, sequence } from '../grammar.js'
import { search } from '../regex/to-grammar.js'
import { asJson, canonicalCharacter, jsonLiteral, quote } from './json-text.js'
import { at, below, has, type Leaf, type Place } from './place.js'

/** The names that a pattern of `patternProperties` matches. */
export interface PatternKeys {
  readonly leaf: Leaf
  readonly place: Place
  readonly dfa: Dfa
  has(name: string): boolean
}

/** States of an automaton for the names of properties. */
const maxNameStates = 20_000

export function patternKeys(leaves: readonly Leaf[], budget: Budget): PatternKeys[] {
  return leaves
    .filter((leaf) => has(leaf, 'patternProperties'))
    .flatMap((leaf) =>
      Object.entries(leaf.schema.patternProperties!).map(([pattern, schema]) => {
        const place = below(leaf, schema, 'patternProperties', pattern)
        const where = at(place.pointer)
        const dfa = toDfa(search(where, pattern, asJson), budget.part(maxNameStates), where)
        return { leaf, place, dfa, has: (name) => dfa.accepts(jsonLiteral(name).slice(1, -1)) }
      }),
    )
}

const anyName = repeat(canonicalCharacter, 0, Infinity)

/**
 * Names that match a pattern (or any), but none of other patterns and none of some names: these have schemas of their
 * own. Only one way of writing each name is generated, so that none is there in disguise.
 */
export function keysOutside(
  keys: PatternKeys | null,
  others: readonly PatternKeys[],
  names: readonly string[],
  budget: Budget,
): Grammar {
  const where = at(keys?.place.pointer ?? others[0]?.leaf.pointer ?? '')
  const part = budget.part(maxNameStates)
  const excluded = others.map(({ dfa }) => dfa)
  const literals = names.map((name) => jsonLiteral(name).slice(1, -1))
  if (names.length > 0) excluded.push(toDfa(anyOf(literals), part, where))
  const all = keys?.dfa ?? toDfa(anyName, part, where)
  const dfa = excluded.reduce((left, taken) => subtract(left, taken, part, where), all)
  return dfa.live()[0] ? sequence(quote, { kind: 'automaton', dfa }, quote) : nothing
}
