import { unsatisfiable, unsupported } from '../budget.js'
import { choice, empty, type Grammar, literal, nothing, repeat, sequence } from '../grammar.js'
import { anyJson, comma } from './json-text.js'
import { at, below, has, type Leaf, type Place } from './place.js'
import type { SchemaContext } from './schema-grammar.js'

export function arrayGrammar(leaves: readonly Leaf[], context: SchemaContext): Grammar {
  const min = Math.max(0, ...bounds(leaves, 'minItems'))
  const longest = Math.min(Infinity, ...bounds(leaves, 'maxItems'))
  const unique = leaves.find((leaf) => has(leaf, 'uniqueItems') && leaf.schema.uniqueItems)
  if (unique !== undefined && longest > 1)
    throw unsupported(at(`${unique.pointer}/uniqueItems`), 'uniqueItems for more than one item')
  const numPrefix = Math.max(0, ...leaves.map((leaf) => prefixOf(leaf).length))
  const rest = furtherItems(leaves, numPrefix, min, context)
  const max = rest === null ? Math.min(longest, numPrefix) : longest
  if (min > max)
    throw unsatisfiable(at(leaves[0]?.pointer ?? ''), `minItems ${min} is more than there may be, ${max}`)
  const items = Array.from({ length: Math.min(numPrefix, max) }, (_, i) => itemAt(leaves, i, context))
  return sequence(literal('['), itemsFrom(items, rest ?? nothing, min, max), literal(']'))
}

function bounds(leaves: readonly Leaf[], keyword: 'minItems' | 'maxItems'): number[] {
  return leaves.filter((leaf) => has(leaf, keyword)).map(({ schema }) => schema[keyword]!)
}

function prefixOf(leaf: Leaf) {
  return has(leaf, 'prefixItems') ? leaf.schema.prefixItems! : []
}

function itemAt(leaves: readonly Leaf[], index: number, context: SchemaContext): Grammar {
  const places = leaves.flatMap((leaf): Place[] => {
    const own = prefixOf(leaf)[index]
    if (own !== undefined) return [below(leaf, own, 'prefixItems', index)]
    return has(leaf, 'items') ? [below(leaf, leaf.schema.items!, 'items')] : []
  })
  return context.grammarOf(places)
}

/** Items after those with places of their own: without `items` none, unless there is no prefix or too short a one. */
function furtherItems(
  leaves: readonly Leaf[],
  numPrefix: number,
  min: number,
  context: SchemaContext,
): Grammar | null {
  const schemas = leaves.filter((leaf) => has(leaf, 'items'))
  if (schemas.some(({ schema }) => schema.items === false)) return null
  if (schemas.length > 0)
    return context.grammarOf(schemas.map((leaf) => below(leaf, leaf.schema.items!, 'items')))
  return numPrefix === 0 || min > numPrefix ? anyJson.value : null
}

/** Items with the commas between them. */
function itemsFrom(prefix: readonly Grammar[], rest: Grammar, min: number, max: number): Grammar {
  // From the last to the first: what may stand after each of the prefix.
  const more = (done: number) => repeated(sequence(comma, rest), Math.max(0, min - done), max - done)
  let after = more(prefix.length)
  for (let i = prefix.length - 1; i > 0; i--) {
    after = sequence(comma, prefix[i]!, after)
    if (i >= min) after = choice(empty, after)
  }
  if (prefix.length > 0) return choice(min === 0 ? empty : nothing, sequence(prefix[0]!, after))
  const some = max === 0 ? nothing : sequence(rest, more(1))
  return choice(min === 0 ? empty : nothing, some)
}

function repeated(item: Grammar, min: number, max: number): Grammar {
  return repeat(item, min, max, { isDelimited: true })
}
